"""A model JSON of either kind: SDXL (export/model_config.py) or a decoder (export/decoder_config.py)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from export.decoder_config import DecoderConfig
from export.model_config import ModelConfig
from ireeperf import document

Model = ModelConfig | DecoderConfig


def dtypes(model: Model) -> tuple[str, ...]:
    """Element types that its modules compute in."""
    return (model.dtype,) if isinstance(model, DecoderConfig) else (model.unet_dtype, model.clip_dtype, model.vae_dtype)


def read(path: Path) -> Model:
    """Read a model config; its keys say which kind it is. ConfigError names the key and value that is wrong."""
    return cast(Model, document.read_one_of((ModelConfig, DecoderConfig), path))

"""The cache key of an exported module: model config, checkpoint files, our sources, library versions. Without torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from export import precision
from export.checkpoint_files import NO_CHECKPOINT, folder_of, module_files
from export.model_config import ModelConfig
from ireeperf import document

LIBRARIES = ("torch", "diffusers", "transformers", "iree-turbine", "iree-base-compiler")
SOURCES = ("checkpoint.py", "checkpoint_files.py", "matrix_forms.py", "quantized_mlir.py", "quantized_ops.py", "sdxl.py", "sdxl_modules.py",
           "torch_setup.py")
QUANTIZED_SOURCES = ("amd_parameters.py", "precision.py", "quantization.py", "quantized_layers.py", "quantized_unet.py")
# Settings that do not reach the graph: the host passes guidance as an argument and the prompts as ids
NOT_IN_THE_GRAPH = ("schema_version", "model", "guidance_scale", "negative_prompt", "loadgen_model", "target")
QUANTIZED_KEYS = ("unet_quant_dtype", "use_fp8_punet", "unet_precision", "layer_precisions")


def export_key(config: ModelConfig, module: str, checkpoint: str, digest: Callable[[Path], str], architecture: str) -> str:
    """sha256, hexadecimal. `digest` hashes one file; the caller may remember digests of files that have not changed.

    `architecture` (gfx942, ...) says which FP8 a quantized UNet is exported for; nothing else depends on it.
    """
    settings: dict[str, Any] = document.to_dict(config)
    for name in NOT_IN_THE_GRAPH:
        settings.pop(name)
    for name in QUANTIZED_KEYS:
        settings.pop(name)
    if config.quantization is not None and module != "clip":
        settings["quantization"] = [config.quantization, config.layer_precisions, precision.fp8_format(config, architecture)]
    for table in ("batch_sizes", "module_names", "function_names"):
        settings[table] = settings[table][module]
    here, folder = Path(__file__).resolve().parent, folder_of(config, checkpoint)
    content = {
        "module": module, "settings": settings, "weights": checkpoint != NO_CHECKPOINT,
        "checkpoint": {os.path.relpath(file, folder): digest(file) for file in module_files(config, module, checkpoint)},
        "sources": {name: digest(here / name) for name in SOURCES + (QUANTIZED_SOURCES if config.quantization else ())},
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def version(name: str) -> str:
    """Version of an installed package, or "absent"."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"

"""Which precision each layer of a quantized UNet has, and which FP8 a target multiplies. Pure: names in, words out."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from export.model_config import ModelConfig, Precision

Fp8Format = Literal["fn", "fnuz"]
# AMD keeps these in float16 (SHARK-MLPERF v5.1, quant_sdxl.py): time embeddings and projections, first and last convolution
FLOAT_LAYERS = ("time_emb", "conv_in", "conv_out", "add_embedding")
# per ModelConfig.quantization: linear layers and convolutions, then attention (q k^T and probabilities times v)
_KINDS: dict[str, tuple[Precision, Precision]] = {"i8": ("int8", "fp16"), "amd": ("int8", "fp8"), "fp8": ("fp8", "fp8")}
# float8_e4m3fnuz is CDNA 3's; CDNA 4 and NVIDIA have OCP's float8_e4m3fn
_OF_ARCHITECTURE: dict[str, Fp8Format] = {"gfx942": "fnuz", "gfx950": "fn", "sm_89": "fn"}


def of_layer(config: ModelConfig, name: str) -> Precision:
    """Precision of the linear layer or convolution `name` of the UNet. fp16 stands for unet_dtype, whatever that is."""
    return _overridden(config, name, "fp16" if any(part in name for part in FLOAT_LAYERS) else _KINDS[_quantization(config)][0])


def of_attention(config: ModelConfig, name: str) -> Precision:
    """Precision of the two matrix products inside the attention `name`: fp8 or fp16."""
    return _overridden(config, name, _KINDS[_quantization(config)][1])


def fp8_format(config: ModelConfig, architecture: str) -> Fp8Format:
    """The FP8 that `architecture` multiplies; where it multiplies none (a CPU computes either), what the model JSON says."""
    return _OF_ARCHITECTURE.get(architecture, "fn" if config.unet_quant_dtype == "fp8_ocp" else "fnuz")


def _overridden(config: ModelConfig, name: str, precision: Precision) -> Precision:
    """The last pattern of layer_precisions that fits decides."""
    for pattern, given in config.layer_precisions.items():
        if fnmatchcase(name, pattern):
            precision = given
    return precision


def _quantization(config: ModelConfig) -> str:
    assert config.quantization is not None
    return config.quantization

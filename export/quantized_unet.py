"""Put quantized layers into a diffusers UNet: precision by name, ranges and codes from a Quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export import amd_parameters, precision, quantization
from export import quantized_ops as ops
from export.model_config import ModelConfig, Precision
from export.precision import Fp8Format
from export.quantization import INPUT_STEP, INT8_INPUT_STEPS, OUTPUT_SHIFT, UNET_TENSORS, Quantization
from export.quantized_layers import INT8, AttentionScales, Fp8Attention, QuantizedLayer, encode_weight, score_scale
from ireeperf.errors import ConfigError, ExportError

FP8 = {"fn": ops.FN, "fnuz": ops.FNUZ}


def load(folder: Path) -> tuple[Quantization, dict[str, Tensor]]:
    """Ranges and tensors of a folder of ours, or of AMD's published layout."""
    if (folder / quantization.AMD_QUANT_PARAMS).is_file():
        return amd_parameters.read(folder)
    found, tensors = quantization.read(folder), {}
    if UNET_TENSORS in found.tensors_sha256:
        from safetensors.torch import load_file

        tensors = load_file(folder / UNET_TENSORS)
    return found, tensors


@torch.no_grad()
def quantize(unet: nn.Module, config: ModelConfig, fp8: Fp8Format, found: Quantization | None, tensors: dict[str, Tensor]) -> None:
    """Replace layers and attention of `unet` in place. found None: a graph without weights, parameters uninitialized."""
    from diffusers.models.attention_processor import Attention

    _replace_floats(unet, tensors)
    layers = [(name, child) for name, child in unet.named_modules() if isinstance(child, (nn.Linear, nn.Conv2d))]
    unused = set(config.layer_precisions) - _used(config, unet)
    if unused:
        raise ConfigError(f"layer_precisions {min(unused)!r} fits no module of the UNet")
    for name, layer in layers:
        chosen = precision.of_layer(config, name)
        if chosen != "fp16":
            _set(unet, name, _quantized(name, layer, chosen, fp8, found, tensors))
        elif f"{name}.weight_scale" in tensors:  # codes of someone else for a layer that stays float
            codes = tensors[f"{name}.weight"].float() * _column(tensors[f"{name}.weight_scale"], layer.weight)
            premul = tensors.get(f"{name}.premul")
            layer.weight.copy_(codes if premul is None else codes * _row(premul, layer.weight))
    processors = dict(unet.attn_processors)  # type: ignore[arg-type]
    for name, child in unet.named_modules():
        if isinstance(child, Attention) and (chosen := precision.of_attention(config, name)) != "fp16":
            if chosen == "int8":
                raise ConfigError(f"layer_precisions gives attention {name} int8; fp8 or fp16")
            child.scales = AttentionScales(FP8[fp8], None if found is None else found.attention(name), score_scale(child))
            processors[f"{name}.processor"] = Fp8Attention(config.attention == "fused")
    unet.set_attn_processor(processors)  # type: ignore[operator]


def _used(config: ModelConfig, unet: nn.Module) -> set[str]:
    from fnmatch import fnmatchcase

    names = [name for name, _ in unet.named_modules()]
    return {pattern for pattern in config.layer_precisions if any(fnmatchcase(name, pattern) for name in names)}


def _quantized(name: str, layer: Any, chosen: Precision, fp8: Fp8Format, found: Quantization | None, tensors: dict[str, Tensor]) -> QuantizedLayer:
    dtype = INT8 if chosen == "int8" else FP8[fp8]
    quantized = QuantizedLayer(layer, dtype, found.zeros.get(name, 0) if found is not None and dtype == INT8 else 0)
    if found is None:
        return quantized
    premul, bias, amax = tensors.get(f"{name}.premul"), layer.bias, found.input_amax(name)
    weight = tensors.get(f"{name}.weight")
    if dtype == INT8 and f"{name}.{INPUT_STEP}" in tensors:
        premul, amax = 1 / tensors[f"{name}.{INPUT_STEP}"], float(INT8_INPUT_STEPS)
        bias = None if bias is None else bias.float() - tensors[f"{name}.{OUTPUT_SHIFT}"]
    if weight is None:
        divided = layer.weight.float() if premul is None else layer.weight.float() / _row(premul, layer.weight)
        codes, scale = encode_weight(divided, dtype)
    elif dtype == INT8:
        codes, scale = weight, tensors[f"{name}.weight_scale"]
    else:  # int8 codes of someone else, in another precision
        codes, scale = encode_weight(weight.float() * _column(tensors[f"{name}.weight_scale"], weight), dtype)
    quantized.fill(codes, scale, amax, premul, bias)
    return quantized


def _replace_floats(unet: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Float parameters that come with the quantization: biases, norms and layers that stay float."""
    own = dict(unet.named_parameters())
    coded = {name.removesuffix(".weight_scale") for name in tensors if name.endswith(".weight_scale")}
    for name, value in tensors.items():
        layer, _, part = name.rpartition(".")
        if part in ("premul", "weight_scale", INPUT_STEP, OUTPUT_SHIFT) or (part == "weight" and layer in coded):
            continue
        if name not in own or own[name].shape != value.shape:
            raise ExportError(f"the quantization's tensor {name} {list(value.shape)} does not fit the checkpoint's UNet; "
                              "they belong to different models")
        own[name].copy_(value)


def _set(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(root.get_submodule(parent), last, module)


def _row(vector: Tensor, like: Tensor) -> Tensor:
    """[in] beside [out, in, ...]."""
    return vector.float().flatten().view(1, -1, *(1 for _ in like.shape[2:]))


def _column(vector: Tensor, like: Tensor) -> Tensor:
    """[out] beside [out, ...]."""
    return vector.float().flatten().view(-1, *(1 for _ in like.shape[1:]))

"""AMD's published quantized SDXL (amd-shark/sdxl-quant-models, or the output of their quant_sdxl.py) read by key mapping.

A folder holds config.json, params.safetensors (float weights after SmoothQuant and bias correction), quant_params.json and perhaps
vae.safetensors. Layout as in Brevitas' export_quant_params and shark-ai's import_brevitas_dataset.py, both read for this:

    quant_params.json   {layer: {smoothquant_mul, input_scale, input_zp, weight_scale, weight_zp, each with _shape and perhaps _dtype}}
                        {attention.out_q | out_k | out_v | output_softmax_quant: {act_scale, act_zp, act_zp_dtype}}
    to_qkv, to_kv       self attention's three, cross attention's two projections, concatenated by output channel

A layer that has smoothquant_mul alone stays float, and the multiplication is folded into its weight. output_softmax_quant is not
read: probabilities are at most 1, and the whole range of FP8 is theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export import quantization
from export.quantization import AMD_PARAMS as PARAMS
from export.quantization import AMD_QUANT_PARAMS as QUANT_PARAMS
from export.quantization import INT8_INPUT_STEPS, AttentionRange, Quantization
from ireeperf.errors import ConfigError

_FUSED = {"to_qkv": ("to_q", "to_k", "to_v"), "to_kv": ("to_k", "to_v")}
_ATTENTION = ("out_q", "out_k", "out_v")
_LARGEST = {"torch.float8_e4m3fnuz": 240.0, "torch.float8_e4m3fn": 448.0}
# Brevitas writes the zero point of FP8 as a plain float; their attention is FNUZ unless it says otherwise
_DEFAULT_LARGEST = 240.0


def read(folder: Path) -> tuple[Quantization, dict[str, Tensor]]:
    """Ranges and tensors as export.quantization defines them; ConfigError names the layer and key that is wrong."""
    from safetensors.torch import load_file

    quantization.amd_files(folder)
    try:
        layers = json.loads((folder / QUANT_PARAMS).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"cannot read {folder / QUANT_PARAMS}: {error}") from error
    weights = load_file(folder / PARAMS)
    amax: dict[str, float] = {}
    attentions: dict[str, dict[str, float]] = {}
    for name, values in layers.items():
        parent, _, last = name.rpartition(".")
        if last in _ATTENTION:
            largest = _LARGEST.get(values.get("act_zp_dtype", ""), _DEFAULT_LARGEST)
            attentions.setdefault(parent, {})[last] = float(_array(name, values, "act_scale")) * largest
        elif last != "output_softmax_quant":
            amax |= _layer(name, values, weights)
    ranges = {}
    for name, parts in attentions.items():
        if set(parts) != set(_ATTENTION):
            raise ConfigError(f"{QUANT_PARAMS}: attention {name} has {sorted(parts)}; {', '.join(_ATTENTION)} are needed")
        ranges[name] = AttentionRange(query_amax=parts["out_q"], key_amax=parts["out_k"], value_amax=parts["out_v"])
    return Quantization(model="sdxl-base-1.0", source="amd", layers=amax, attentions=ranges), weights


def _layer(name: str, values: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, float]:
    """Put one layer's codes into `weights`, split where AMD fuses; the input ranges of the layers it is."""
    if f"{name}.weight" not in weights:
        raise ConfigError(f"{QUANT_PARAMS} has layer {name!r}, and {PARAMS} lacks {name}.weight")
    weight = weights.pop(f"{name}.weight").float()
    premul = _array(name, values, "smoothquant_mul").flatten() if "smoothquant_mul" in values else None
    if "weight_scale" not in values:
        if premul is not None:
            weight = weight * premul.view(1, -1, *(1 for _ in weight.shape[2:]))
        weights[f"{name}.weight"] = weight
        return {}
    if "input_zp" in values and torch.count_nonzero(_array(name, values, "input_zp")):
        raise ConfigError(f"{QUANT_PARAMS}: {name} has an input_zp that is not 0; only symmetric inputs are read, as AMD's own importer does")
    scale = _array(name, values, "weight_scale").flatten()
    units = (weight / scale.view(-1, *(1 for _ in weight.shape[1:]))).round()
    if "weight_zp" in values:
        _require_symmetric(name, units, _array(name, values, "weight_zp"))
    codes = units.clamp(-128, 127).to(torch.int8)
    bias, found = weights.pop(f"{name}.bias", None), {}
    for part, target in _targets(name, len(scale)):
        weights[f"{target}.weight"], weights[f"{target}.weight_scale"] = codes[part].clone(), scale[part].clone()
        if premul is not None:
            weights[f"{target}.premul"] = premul
        if bias is not None:
            weights[f"{target}.bias"] = bias[part].clone()
        found[target] = float(_array(name, values, "input_scale")) * INT8_INPUT_STEPS
    return found


def _require_symmetric(name: str, units: Tensor, zero: Tensor) -> None:
    """ConfigError unless codes without a zero point are the same weights. units: rounded weights over their scale.

    Two versions of Brevitas' exporter were read. One (072a02b) writes the zero point less 128 whatever it is, so that a symmetric
    layer says -128; the other only where it is not 0. A zero point z, as shark-ai's importer reads it, holds -128 - z to 127 - z.
    """
    if not torch.count_nonzero(zero):
        return
    zero = zero.view(-1, *(1 for _ in units.shape[1:]))
    held = ((units >= -128 - zero) & (units <= 127 - zero)) | (zero == -128)
    if not bool((held & (units.abs() <= 127)).all()):
        raise ConfigError(f"{QUANT_PARAMS}: {name} has weight_zp {float(zero.min()):g} to {float(zero.max()):g} and weights of "
                          f"{float(units.min()):g} to {float(units.max()):g} steps; int8 codes without a zero point hold -127 to 127. "
                          "Quantize the weights symmetrically")


def _targets(name: str, outputs: int) -> Iterator[tuple[slice, str]]:
    """Rows of a layer of theirs, and the diffusers layer they are."""
    parent, _, last = name.rpartition(".")
    parts = _FUSED.get(last, (last,))
    size = outputs // len(parts)
    for index, part in enumerate(parts):
        yield slice(index * size, (index + 1) * size), f"{parent}.{part}" if parent else part


def _array(layer: str, values: dict[str, Any], key: str) -> Tensor:
    try:
        return torch.tensor(values[key], dtype=torch.float32).reshape(values[f"{key}_shape"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{QUANT_PARAMS}: {layer} has no valid {key} with {key}_shape: {error}") from error

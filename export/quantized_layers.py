"""Linear layers, convolutions and attention that multiply narrow codes, as torch modules that export.quantized_mlir can lower.

Codes are made from float32 values by one multiplication, rounding and a clamp; sums become float32 again by one scale an output
channel. All of it are parameters, so that a graph without weights is the graph with them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from export import quantized_ops as ops
from export.quantization import INT8_INPUT_STEPS, INT8_WEIGHT_STEPS, AttentionRange

INT8 = torch.int8


def encode(values: Tensor, dtype: torch.dtype, zero: int = 0) -> Tensor:
    """float32 in units of the scale as codes of `dtype`, ties to even, beyond its range its largest. zero: int8's code of 0.0.

    Below the smallest normal FP8 number values are rounded to the grid there before the cast: IREE's cast on a CPU (3.13) gives
    zero for what should round up to that number.
    """
    if dtype == INT8:
        codes = values.round()
        return (codes + zero if zero else codes).clamp(-128, 127).to(INT8)
    info = torch.finfo(dtype)
    values = values.clamp(-info.max, info.max)
    step = info.smallest_normal / 8
    return torch.where(values.abs() < info.smallest_normal, (values * (1 / step)).round() * step, values).to(dtype)


def input_steps(dtype: torch.dtype) -> float:
    """What the largest magnitude of an input becomes in units of its scale."""
    return INT8_INPUT_STEPS if dtype == INT8 else torch.finfo(dtype).max


def encode_weight(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """weight [out, ...] -> codes int8 of its shape, scale [out] float32 for codes read as int8 or float8_e4m3fn."""
    flat = weight.float().flatten(1)
    steps = INT8_WEIGHT_STEPS if dtype == INT8 else torch.finfo(ops.FN).max
    scale = flat.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny * steps) / steps
    values = flat / scale[:, None]
    codes = encode(values, INT8) if dtype == INT8 else ops.encoded(values)
    return codes.view(weight.shape), scale


class QuantizedLayer(nn.Module):
    """A linear layer or a convolution (square kernel, equal strides and padding) over codes of `dtype`."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, dtype: torch.dtype, zero: int = 0) -> None:
        super().__init__()
        self.dtype, self.convolves, self.zero = dtype, isinstance(layer, nn.Conv2d), zero
        assert not zero or (dtype == INT8 and layer.bias is not None), "the bias takes in what the code of zero adds"
        outputs, inputs = layer.weight.shape[:2]
        if isinstance(layer, nn.Conv2d):
            assert layer.groups == 1 and layer.dilation == (1, 1) and isinstance(layer.padding[0], int)
            self.stride, self.padding = int(layer.stride[0]), int(layer.padding[0])
        self.weight = _parameter(torch.empty(layer.weight.shape, dtype=INT8))
        self.input_multiplier = _parameter(torch.empty(inputs))  # premul / input scale
        self.output_scale = _parameter(torch.empty(outputs))  # input scale x weight scale
        self.bias = None if layer.bias is None else _parameter(torch.empty(outputs))

    def fill(self, codes: Tensor, weight_scale: Tensor, input_amax: float, premul: Tensor | None, bias: Tensor | None) -> None:
        """Set the parameters. codes as encode_weight gives them; premul [in] or None for ones."""
        input_scale = input_amax / input_steps(self.dtype)
        # an FNUZ graph reads FN codes as half of what they are
        weight_scale = weight_scale * 2 if self.dtype == ops.FNUZ else weight_scale
        ones = torch.ones_like(self.input_multiplier)
        self.weight.copy_(codes)
        self.input_multiplier.copy_((ones if premul is None else premul.float().flatten()) / input_scale)
        self.output_scale.copy_(weight_scale.float().flatten() * input_scale)
        if self.bias is not None and bias is not None:
            # sums have zero x weight codes too much at every place, padding included: it is padded with that code
            self.bias.copy_(bias.float() - self.output_scale * self.zero * codes.flatten(1).float().sum(1))

    def forward(self, input: Tensor, *unused: Any) -> Tensor:
        """[..., in] for a linear layer, [B, in, H, W] for a convolution; the dtype goes in and comes out."""
        if self.convolves:
            codes = encode(input.float() * self.input_multiplier.view(-1, 1, 1), self.dtype, self.zero)
            convolve = ops.int8_convolution if self.dtype == INT8 else ops.fp8_convolution
            edge = (self.zero,) if self.zero else ()
            sums = convolve(codes, self.weight, self.stride, self.padding, *edge).float() * self.output_scale.view(-1, 1, 1)
            return (sums if self.bias is None else sums + self.bias.view(-1, 1, 1)).to(input.dtype)
        rows = encode(input.reshape(-1, input.shape[-1]).float() * self.input_multiplier, self.dtype, self.zero)
        multiply = ops.int8_matmul if self.dtype == INT8 else ops.fp8_matmul
        sums = multiply(rows, self.weight).float() * self.output_scale
        out = (sums if self.bias is None else sums + self.bias).to(input.dtype)
        return out.view(*input.shape[:-1], out.shape[-1])


class AttentionScales(nn.Module):
    """The scales of one attention whose two products are of FP8 codes."""

    def __init__(self, dtype: torch.dtype, found: AttentionRange | None, score_scale: float) -> None:
        super().__init__()
        self.dtype = dtype
        top = torch.finfo(dtype).max
        query, key, value = (1.0, 1.0, 1.0) if found is None else (
            amax / top for amax in (found.query_amax, found.key_amax, found.value_amax))
        self.query_multiplier, self.key_multiplier, self.value_multiplier = (_scalar(1 / scale) for scale in (query, key, value))
        self.score_scale, self.value_scale = _scalar(query * key * score_scale), _scalar(value)


class Fp8Attention:
    """A diffusers attention processor for Attention modules that have `scales` (AttentionScales)."""

    def __init__(self, fused: bool) -> None:
        self.fused = fused  # one operation, for GPUs; otherwise product, softmax and product

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
                 attention_mask: Tensor | None = None, *unused: Any, **ignored: Any) -> Tensor:
        """hidden_states [B, M, C] -> [B, M, C]."""
        assert attention_mask is None and not attn.residual_connection and attn.group_norm is None
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        scales, batch = attn.scales, hidden_states.shape[0]
        query, key, value = (
            encode(_heads(states, attn.heads).float() * multiplier, scales.dtype) for states, multiplier in (
                (attn.to_q(hidden_states), scales.query_multiplier), (attn.to_k(context), scales.key_multiplier),
                (attn.to_v(context), scales.value_multiplier)))
        if self.fused:
            out = ops.fp8_attention(query, key, value, scales.score_scale)
        else:
            top = torch.finfo(scales.dtype).max
            scores = ops.wide_batch_matmul(query.flatten(0, 1), key.flatten(0, 1)) * scales.score_scale
            rows = encode(scores.softmax(-1) * top, scales.dtype)
            out = (ops.wide_batch_matmul(rows, value.flatten(0, 1).transpose(1, 2)) * (1 / top)).unflatten(0, (batch, attn.heads))
        out = (out * scales.value_scale).to(hidden_states.dtype).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out))


def _heads(states: Tensor, heads: int) -> Tensor:
    """[B, M, heads x d] -> [B, heads, M, d]."""
    return states.unflatten(-1, (heads, states.shape[-1] // heads)).transpose(1, 2)


def score_scale(attn: Any) -> float:
    """1 / sqrt(d) of a diffusers Attention."""
    return 1 / math.sqrt(attn.inner_dim // attn.heads)


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


def _scalar(value: float) -> nn.Parameter:
    return _parameter(torch.tensor(value, dtype=torch.float32))

"""The six operations of a quantized model that torch has no exportable form of, as custom operators with a CPU reference.

int8 codes multiply exactly into int32; FP8 codes multiply into float32 sums. `export.quantized_mlir` turns each operator
into linalg that keeps the narrow type up to the multiplication, which is what a matrix instruction needs. FP8 weights
travel as int8 codes of float8_e4m3fn; a float8_e4m3fnuz graph reads the same codes as half the value (see `decoded`).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

NAMESPACE = "ireeperf"
FN, FNUZ = torch.float8_e4m3fn, torch.float8_e4m3fnuz
_NEGATIVE_ZERO = -128  # int8 view of 0x80: minus zero in FN, not a number in FNUZ


def decoded(codes: Tensor, dtype: torch.dtype) -> Tensor:
    """int8 codes as float32. A code is in FNUZ half of what it is in FN (exponent bias 8 for 7): the scale makes up for it."""
    return codes.view(dtype).float()


def encoded(values: Tensor) -> Tensor:
    """float32 within +-448 to int8 codes of float8_e4m3fn, without minus zero, so that FNUZ can read them too."""
    codes = values.to(FN).view(torch.int8)
    return torch.where(codes == _NEGATIVE_ZERO, torch.zeros_like(codes), codes)


@torch.library.custom_op(f"{NAMESPACE}::int8_matmul", mutates_args=())
def int8_matmul(rows: Tensor, weight: Tensor) -> Tensor:
    """rows [M, K] int8, weight [N, K] int8 -> [M, N] int32, exact."""
    return torch._int_mm(rows, weight.t())


@int8_matmul.register_fake
def _(rows: Tensor, weight: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[0], dtype=torch.int32)


@torch.library.custom_op(f"{NAMESPACE}::int8_convolution", mutates_args=())
def int8_convolution(image: Tensor, weight: Tensor, stride: int, padding: int, edge: int = 0) -> Tensor:
    """image [B, C, H, W] int8 padded with code `edge`, weight [F, C, k, k] int8 -> [B, F, H', W'] int32, exact.

    By way of float32, whose sums are exact below 2^24: the weight goes in two halves of 4 bits. Where those are too long, float64.
    """
    image = torch.nn.functional.pad(image, (padding,) * 4, value=edge)
    convolve = functools.partial(torch.nn.functional.conv2d, stride=stride)
    if weight[0].numel() * 128 * 15 >= 2**24:
        return convolve(image.double(), weight.double()).to(torch.int32)
    high = weight >> 4  # rounds down: the rest is 0 to 15
    values = image.float()
    return 16 * convolve(values, high.float()).to(torch.int32) + convolve(values, (weight - 16 * high).float()).to(torch.int32)


@int8_convolution.register_fake
def _(image: Tensor, weight: Tensor, stride: int, padding: int, edge: int = 0) -> Tensor:
    return image.new_empty(_convolved(image, weight, stride, padding), dtype=torch.int32)


@torch.library.custom_op(f"{NAMESPACE}::fp8_matmul", mutates_args=())
def fp8_matmul(rows: Tensor, weight: Tensor) -> Tensor:
    """rows [M, K] float8, weight [N, K] codes -> [M, N] float32."""
    return rows.float() @ decoded(weight, rows.dtype).t()


@fp8_matmul.register_fake
def _(rows: Tensor, weight: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[0], dtype=torch.float32)


@torch.library.custom_op(f"{NAMESPACE}::fp8_convolution", mutates_args=())
def fp8_convolution(image: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """image [B, C, H, W] float8, weight [F, C, k, k] codes -> [B, F, H', W'] float32."""
    return torch.nn.functional.conv2d(image.float(), decoded(weight, image.dtype), stride=stride, padding=padding)


@fp8_convolution.register_fake
def _(image: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return image.new_empty(_convolved(image, weight, stride, padding), dtype=torch.float32)


@torch.library.custom_op(f"{NAMESPACE}::wide_batch_matmul", mutates_args=())
def wide_batch_matmul(first: Tensor, second: Tensor) -> Tensor:
    """first [B, M, K], second [B, N, K], both float8 or both float16 -> [B, M, N] float32."""
    return first.float() @ second.float().transpose(1, 2)


@wide_batch_matmul.register_fake
def _(first: Tensor, second: Tensor) -> Tensor:
    return first.new_empty(first.shape[0], first.shape[1], second.shape[1], dtype=torch.float32)


@torch.library.custom_op(f"{NAMESPACE}::fp8_attention", mutates_args=())
def fp8_attention(query: Tensor, key: Tensor, value: Tensor, scale: Tensor) -> Tensor:
    """query [B, h, M, d], key, value [B, h, N, d] float8, scale [] float32 -> softmax(scale q k^T) v, [B, h, M, d] float32.

    The probabilities are rounded to the operands' type over its whole range, as IREE's fused attention rounds them.
    """
    scores = query.float() @ key.float().transpose(-1, -2) * scale
    top = torch.finfo(query.dtype).max
    exponentials = (scores - scores.amax(-1, keepdim=True)).exp()
    rounded = (exponentials * top).to(query.dtype).float()
    return rounded @ value.float() / (exponentials.sum(-1, keepdim=True) * top)


@fp8_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, scale: Tensor) -> Tensor:
    return query.new_empty(query.shape, dtype=torch.float32)


def _convolved(image: Tensor, weight: Tensor, stride: int, padding: int) -> tuple[int, int, int, int]:
    height, width = ((side + 2 * padding - weight.shape[2]) // stride + 1 for side in image.shape[2:])
    return image.shape[0], weight.shape[0], height, width

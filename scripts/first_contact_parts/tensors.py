"""Tensors as bytes with an element type: written by one process, read by the next, compared as numbers.

numpy knows neither bfloat16 nor the 8-bit floats, so an array here is a carrier of the same width (uint16, uint8) and the
element type is MLIR's name; `numbers` gives the values.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

CARRIERS: dict[str, Any] = {
    "f64": np.float64, "f32": np.float32, "f16": np.float16, "bf16": np.uint16, "f8E4M3FN": np.uint8, "f8E4M3FNUZ": np.uint8,
    "f8E5M2": np.uint8, "f8E5M2FNUZ": np.uint8, "i64": np.int64, "i32": np.int32, "i16": np.int16, "i8": np.int8, "i1": np.uint8,
}
# Reductions are summed in another order on a GPU, and each result is rounded once to its type (float16: 5e-4). What IREE 3.13
# computes wrongly on an H100 departs by 0.05 and more (32 operations tried there, caveat of compile/target.py)
TOLERANCE = {"f64": 1e-4, "f32": 1e-4, "f16": 1e-2, "bf16": 5e-2, "i64": 0.0, "i32": 0.0, "i16": 0.0, "i8": 2e-2, "i1": 0.0}
_EIGHT_BITS = {"f8E4M3FN": (4, 7, False), "f8E4M3FNUZ": (4, 8, True), "f8E5M2": (5, 15, False), "f8E5M2FNUZ": (5, 16, True)}
_TENSOR = re.compile(r"tensor<((?:\d+x)*)(\w+)>")


def of(text: str) -> tuple[tuple[int, ...], str]:
    """(shape, element type) of `tensor<4x96xf32>`."""
    match = _TENSOR.fullmatch(text)
    if match is None or match[2] not in CARRIERS:
        raise ValueError(f"{text} is no tensor of {', '.join(CARRIERS)}")
    return tuple(int(side) for side in match[1].split("x") if side), match[2]


def tolerance(kinds: list[str]) -> float:
    """What a dispatch with operands and results of these tensor types may differ by: its coarsest floating type's."""
    elements = [of(kind)[1] for kind in kinds]
    return max(TOLERANCE.get(element, 0.1) for element in elements)


def numbers(array: np.ndarray, element: str) -> np.ndarray:
    """The values of a carrier, float64; int8 as the uint8 that images are."""
    if element == "bf16":
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if element in _EIGHT_BITS:
        return _table(element)[array]
    return (array.view(np.uint8) if element == "i8" else array).astype(np.float64)


def _table(element: str) -> np.ndarray:
    """Values of the 256 codes of an 8-bit float (OCP's; FNUZ: bias one higher, no infinity, 0x80 is NaN)."""
    exponent_bits, bias, unsigned_zero = _EIGHT_BITS[element]
    mantissa_bits = 7 - exponent_bits
    values = np.empty(256)
    for code in range(256):
        exponent, mantissa = (code & 0x7F) >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
        size = math.ldexp(mantissa, 1 - bias - mantissa_bits) if exponent == 0 else \
            math.ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits)
        values[code] = -size if code & 0x80 else size
    if unsigned_zero:
        values[0x80] = np.nan
    elif element == "f8E4M3FN":
        values[[0x7F, 0xFF]] = np.nan
    else:
        values[[0x7C, 0xFC]] = np.inf, -np.inf
        values[[0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF]] = np.nan
    return values


def difference(found: np.ndarray, expected: np.ndarray, element: str) -> tuple[float, float]:
    """(relative error, greatest difference): ||found - expected|| / ||expected||; a value that only one side has as a number
    is an infinite error."""
    ours, theirs = numbers(found.ravel(), element), numbers(expected.ravel(), element)
    finite = np.isfinite(theirs)
    if not (np.isfinite(ours) == finite).all():
        return math.inf, math.inf
    if not finite.any():
        return 0.0, 0.0
    gap = np.abs(ours[finite] - theirs[finite])
    size = float(np.linalg.norm(theirs[finite]))
    error = float(np.linalg.norm(gap))
    return (error / size if size else (0.0 if error == 0 else math.inf)), float(gap.max())


def seeded(kind: str, name: str) -> np.ndarray:
    """Values for a tensor type that nobody supplies: normals, small whole numbers; the same for a name on every machine."""
    shape, element = of(kind)
    random = np.random.default_rng(list(name.encode()))
    if element in ("f64", "f32", "f16"):
        return random.standard_normal(shape, np.float32).astype(CARRIERS[element])
    if element == "bf16":
        return (random.standard_normal(shape, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if element in _EIGHT_BITS:
        return random.integers(0x20, 0x38, shape, np.uint8)  # positive, about 0.06 to 1 in every format
    if element in ("i64", "i32", "i16"):
        return random.integers(1, 400, shape).astype(CARRIERS[element])  # token ids: every vocabulary has 400
    return random.integers(0, 2, shape).astype(CARRIERS[element])


def parameter(name: str, kind: str) -> np.ndarray:
    """A random parameter with which a network keeps its activations near one: scales about 1, biases small, weights by fan-in."""
    shape, element = of(kind)
    array = seeded(kind, name)
    if element not in ("f64", "f32", "f16"):
        return array
    if len(shape) <= 1:
        scaled = 1 + 0.02 * array if name.endswith("weight") else 0.02 * array
    else:
        scaled = array / math.sqrt(math.prod(shape[1:]))
    return np.asarray(scaled).astype(CARRIERS[element])

"""Element types of dispatches for the float64 reference: how they lie in memory, their values, and rounding to them.

8-bit floats after "FP8 formats for deep learning" (arXiv 2209.05433) and its FNUZ variants (arXiv 2206.02915, as LLVM's APFloat has them).
"""

from __future__ import annotations

import functools

import numpy as np

from ireeperf.errors import CompileError

STORAGE = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "bf16": np.uint16, "i64": np.int64, "index": np.int64, "i32": np.int32,
           "i16": np.int16, "i8": np.int8, "i1": np.uint8, "f8E4M3FNUZ": np.uint8, "f8E5M2FNUZ": np.uint8, "f8E4M3FN": np.uint8,
           "f8E5M2": np.uint8}
# relative rounding error: half a unit in the last place
ROUNDOFF = {"f64": 2.0**-53, "f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8, "f8E4M3FNUZ": 2.0**-4, "f8E4M3FN": 2.0**-4,
            "f8E5M2FNUZ": 2.0**-3, "f8E5M2": 2.0**-3}
NARROW = frozenset(name for name, unit in ROUNDOFF.items() if unit > 2.0**-24)


def storage(name: str) -> np.dtype:
    """numpy type that holds an element in memory; CompileError for a type that is not known here."""
    if name not in STORAGE:
        raise CompileError(f"no reference for element type {name}; known: {', '.join(STORAGE)}")
    return np.dtype(STORAGE[name])


def is_float(name: str) -> bool:
    """Whether a type has fractions."""
    return name in ROUNDOFF


def values(stored: np.ndarray, name: str) -> np.ndarray:
    """Stored elements as float64, or int64 for integers."""
    if name.startswith("f8"):
        return table(name)[stored]
    if name == "bf16":
        return (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return stored.astype(np.float64 if is_float(name) else np.int64)


def rounded(array: np.ndarray, name: str) -> np.ndarray:
    """float64 rounded to a float narrower than f32 (f32 stays: its rounding is far below any tolerance); integers wrap at their width."""
    if name == "f16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16).astype(np.float64)
    if name == "bf16":
        bits = array.astype(np.float32).view(np.uint32).astype(np.uint64)
        kept = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
        return np.where(np.isnan(array), np.nan, kept).astype(np.float64)
    if name.startswith("f8"):
        return table(name)[encoded(array, name)]
    if name in ("i8", "i16", "i32"):
        return array.astype(np.int64).astype(STORAGE[name]).astype(np.int64)
    return array


def encoded(array: np.ndarray, name: str) -> np.ndarray:
    """float64 to the codes of an 8-bit float, nearest even, as `arith.truncf` has it: no saturation, overflow is NaN (inf for f8E5M2)."""
    positive = table(name)[:128]
    finite = positive[np.isfinite(positive)]
    middles = (finite[1:] + finite[:-1]) / 2
    size = np.abs(array)
    code = np.searchsorted(middles, size, "left")
    tie = (code < len(middles)) & (size == middles[np.minimum(code, len(middles) - 1)]) & (code & 1 == 1)
    code = code + tie
    limit = finite[-1] + (finite[-1] - finite[-2]) / 2
    fnuz = name.endswith("FNUZ")
    overflow = 0x80 if fnuz else 0x7F if name == "f8E4M3FN" else 0x7C
    code = np.where(np.isnan(array), 0x80 if fnuz else 0x7F, np.where(size >= limit, overflow, code))
    negative = (array < 0) & ((code > 0) if fnuz else True) & (code != 0x80)
    return np.where(negative, code | 0x80, code).astype(np.uint8)


@functools.cache
def table(name: str) -> np.ndarray:
    """Values [256] of an 8-bit float by code."""
    exponent_bits, mantissa_bits = (4, 3) if "E4M3" in name else (5, 2)
    fnuz = name.endswith("FNUZ")
    bias = (1 << (exponent_bits - 1)) - (0 if fnuz else 1)
    code = np.arange(256)
    exponent, mantissa = code >> mantissa_bits & ((1 << exponent_bits) - 1), code & ((1 << mantissa_bits) - 1)
    fraction = mantissa / (1 << mantissa_bits)
    size = np.where(exponent > 0, (1 + fraction) * 2.0**(exponent - bias), fraction * 2.0**(1 - bias))
    found = np.where(code >> 7 == 1, -size, size)
    if fnuz:
        found[0x80] = np.nan
    elif name == "f8E4M3FN":
        found[[0x7F, 0xFF]] = np.nan
    else:
        top = exponent == 31
        found[top] = np.where(mantissa[top] == 0, np.where(code[top] >> 7 == 1, -np.inf, np.inf), np.nan)
    return found

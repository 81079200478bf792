"""Scalar operations of arith and math on float64 and int64 arrays: the bodies of linalg operations, evaluated for many points at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from compile import reference_types
from ireeperf.errors import CompileError

_erf = np.frompyfunc(math.erf, 1, 1)
FLOATS: dict[str, Callable[..., Any]] = {
    "arith.addf": np.add, "arith.subf": np.subtract, "arith.mulf": np.multiply, "arith.divf": np.divide, "arith.negf": np.negative,
    "arith.remf": np.fmod, "arith.maximumf": np.maximum, "arith.minimumf": np.minimum, "arith.maxnumf": np.fmax, "arith.minnumf": np.fmin,
    "math.exp": np.exp, "math.exp2": np.exp2, "math.expm1": np.expm1, "math.log": np.log, "math.log2": np.log2, "math.log1p": np.log1p,
    "math.sqrt": np.sqrt, "math.rsqrt": lambda x: 1 / np.sqrt(x), "math.sin": np.sin, "math.cos": np.cos, "math.tanh": np.tanh,
    "math.absf": np.abs, "math.floor": np.floor, "math.ceil": np.ceil, "math.round": lambda x: np.trunc(x + np.copysign(0.5, x)),
    "math.roundeven": np.rint, "math.trunc": np.trunc, "math.powf": np.power, "math.fpowi": lambda x, n: np.power(x, n * 1.0),
    "math.erf": lambda x: np.asarray(_erf(x), np.float64), "math.fma": lambda x, y, z: x * y + z, "math.copysign": np.copysign,
    "arith.extf": lambda x: x, "arith.truncf": lambda x: x, "arith.sitofp": lambda x: x * 1.0,
}
INTEGERS: dict[str, Callable[..., Any]] = {
    "arith.addi": np.add, "arith.subi": np.subtract, "arith.muli": np.multiply, "arith.andi": np.bitwise_and, "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor, "arith.shli": np.left_shift, "arith.shrsi": np.right_shift, "arith.maxsi": np.maximum,
    "arith.minsi": np.minimum, "arith.divsi": lambda x, y: np.trunc(x / y).astype(np.int64), "arith.remsi": np.fmod,
    "arith.floordivsi": np.floor_divide, "arith.extsi": lambda x: x, "arith.trunci": lambda x: x, "arith.index_cast": lambda x: x,
    "arith.fptosi": lambda x: np.trunc(x).astype(np.int64), "math.absi": np.abs,
}
_UNSIGNED: dict[str, Callable[..., Any]] = {"arith.extui": lambda x: x, "arith.index_castui": lambda x: x, "arith.uitofp": lambda x: x * 1.0,
             "arith.fptoui": lambda x: np.trunc(x).astype(np.int64), "arith.divui": lambda x, y: x // y, "arith.remui": lambda x, y: x % y,
             "arith.maxui": np.maximum, "arith.minui": np.minimum, "arith.shrui": np.right_shift}
_COMPARED = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)  # arith.cmpi predicates 0 to 5, unsigned 6 to 9
_ORDERED = (np.equal, np.greater, np.greater_equal, np.less, np.less_equal, np.not_equal)  # arith.cmpf predicates 1 to 6, unordered 8 to 13


def element(type_text: str) -> str:
    """Element type of a scalar or shaped type: tensor<4x8xf16> gives f16."""
    if "<" not in type_text:
        return type_text
    return type_text[type_text.index("<") + 1:].split(",")[0].rstrip(">").split("x")[-1]


def producer(value: Any) -> Any:
    """The operation that makes a value; CompileError for a block argument."""
    owner = value.owner
    if not hasattr(owner, "operation"):
        raise CompileError("no reference for an argument of the function")
    return owner.operation


def apply(operation: Any, arguments: list[np.ndarray]) -> np.ndarray:
    """Value of one operation with one result; CompileError when it is none of the known ones."""
    name, kind = operation.name, element(str(operation.results[0].type))
    with np.errstate(all="ignore"):
        if name in FLOATS:
            return reference_types.rounded(FLOATS[name](*arguments), kind)
        if name in INTEGERS:
            return reference_types.rounded(INTEGERS[name](*arguments), kind)
        if name in _UNSIGNED:
            width = {"i1": 1, "i8": 8, "i16": 16, "i32": 32}.get(element(str(operation.operands[0].type)), 0)
            parts = [a & ((1 << width) - 1) if width and a.dtype == np.int64 else a for a in arguments]
            return reference_types.rounded(_UNSIGNED[name](*parts), kind)
        if name == "arith.select":
            return np.where(arguments[0] != 0, arguments[1], arguments[2])
        if name == "arith.bitcast":
            return _bitcast(arguments[0], element(str(operation.operands[0].type)), kind)
        if name in ("arith.cmpi", "arith.cmpf"):
            return _compare(name, int(operation.attributes["predicate"]), arguments[0], arguments[1])
    raise CompileError(f"no reference for {name}")


def constant(operation: Any) -> np.ndarray:
    """Value of an arith.constant that is a number (float64 or int64, no dimensions)."""
    value = operation.attributes["value"]
    if not hasattr(value, "value"):
        raise CompileError(f"no reference for the constant {str(value)[:60]}: the dump left its values out")
    kind = element(str(operation.results[0].type))
    return np.asarray(value.value, np.float64 if reference_types.is_float(kind) else np.int64)


def _bitcast(array: np.ndarray, source: str, target: str) -> np.ndarray:
    stored = reference_types.encoded(array, source) if source.startswith("f8") else array.astype(reference_types.storage(source))
    return reference_types.values(stored.view(reference_types.storage(target)), target)


def _compare(name: str, predicate: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    if name == "arith.cmpi":
        return _COMPARED[predicate if predicate < 6 else (predicate - 6) % 4 + 2](left, right).astype(np.int64)
    unordered = np.isnan(left) | np.isnan(right)
    if predicate in (0, 15):
        return np.full(np.broadcast(left, right).shape, int(predicate == 15), np.int64)
    if predicate in (7, 14):
        return (unordered if predicate == 14 else ~unordered).astype(np.int64)
    found = _ORDERED[(predicate - 1) % 7](left, right)
    return (found & ~unordered if predicate < 7 else found | unordered).astype(np.int64)

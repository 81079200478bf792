"""A float64 reference of one dispatch: its own IR, evaluated for the elements that are asked for and no others.

A full-size dispatch is TFLOPs; a workgroup's tile is MFLOPs. So an element is computed from back to front: the indices of a result give
the indices of the operands that it needs (`Indices`, one array per dimension, whose product is meant), down to the bindings.
Arithmetic is float64, rounded where the IR says f16, bf16 or an 8-bit float; f32 is not rounded. Sums run in float64 whatever their type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from compile import reference_generic, reference_scalar, reference_types
from ireeperf.errors import CompileError

Indices = tuple[np.ndarray, ...]
DYNAMIC = -(1 << 63)


class Reference:
    """Values of one function. `read(operation)` gives the tensor [shape] of a load from a binding, as stored; `constants`: push constants."""

    def __init__(self, read: Callable[[Any], np.ndarray], constants: Mapping[int, int] | None = None) -> None:
        self._read = read
        self._constants = constants or {}
        self._scalars: dict[Any, np.ndarray] = {}
        self.roundings: list[float] = []  # one per operation on the way that rounds to a narrow float: its roundoff
        self.sums: list[tuple[int, float]] = []  # reduction length and roundoff of the accumulator
        self.averaged: list[float] = []  # roundoff of the weights of an average, each rounded by itself
        self.quantizes = False  # a float becomes an integer on the way: a borderline value may fall on either side

    def values(self, value: Any, indices: Indices) -> np.ndarray:
        """Elements of a tensor value at the product of `indices`, shape [len(indices[0]), ...]; float64 or int64. CompileError for an
        operation that has no reference."""
        operation = reference_scalar.producer(value)
        handler = _HANDLERS.get(operation.name)
        if handler is None:
            raise CompileError(f"no reference for {operation.name}")
        return handler(self, operation, value, indices)

    def scalar(self, value: Any) -> np.ndarray:
        """A number that the function computes once."""
        if value not in self._scalars:
            operation = reference_scalar.producer(value)
            if operation.name == "arith.constant":
                self._scalars[value] = reference_scalar.constant(operation)
            elif operation.name == "hal.interface.constant.load":
                self._scalars[value] = np.asarray(self._constants.get(int(operation.attributes["ordinal"]), 0), np.uint32).astype(np.int32).astype(np.int64)
            else:
                self._scalars[value] = reference_scalar.apply(operation, [self.scalar(operand) for operand in operation.operands])
        return self._scalars[value]

    def load(self, operation: Any, _: Any, indices: Indices) -> np.ndarray:
        stored = self._read(operation)
        kind = reference_scalar.element(str(operation.results[0].type))
        return reference_types.values(stored[np.ix_(*indices)] if indices else stored, kind)

    def constant(self, operation: Any, _: Any, indices: Indices) -> np.ndarray:
        text = str(operation.attributes["value"])
        if "dense_resource" in text or "__elided__" in text:
            raise CompileError("no reference: the dump left out the values of a constant that lies in the code object")
        array = np.array(operation.attributes["value"])
        return (array.astype(np.float64) if array.dtype.kind == "f" else array.astype(np.int64))[np.ix_(*indices)]

    def empty(self, _: Any, value: Any, indices: Indices) -> np.ndarray:
        kind = reference_scalar.element(str(value.type))
        return np.full([len(part) for part in indices], np.nan if reference_types.is_float(kind) else 0)

    def fill(self, operation: Any, _: Any, indices: Indices) -> np.ndarray:
        return np.broadcast_to(self.scalar(operation.operands[0]), [len(part) for part in indices])

    def extract_slice(self, operation: Any, _: Any, indices: Indices) -> np.ndarray:
        offsets, sizes, strides = (static(operation, name) for name in ("static_offsets", "static_sizes", "static_strides"))
        kept_dims = kept(sizes, shape(operation.results[0]))
        source, at = [], 0
        for offset, stride, keep in zip(offsets, strides, kept_dims, strict=True):
            source.append(offset + stride * (indices[at] if keep else np.zeros(1, np.int64)))
            at += keep
        found = self.values(operation.operands[0], tuple(source))
        return found.reshape([len(part) for part in indices])

    def insert_slice(self, operation: Any, _: Any, indices: Indices) -> np.ndarray:
        offsets, sizes, strides = (static(operation, name) for name in ("static_offsets", "static_sizes", "static_strides"))
        inside = [(i >= o) & (i < o + n * s) & ((i - o) % s == 0) for i, o, n, s in zip(indices, offsets, sizes, strides, strict=True)]
        places = [np.flatnonzero(mask) for mask in inside]
        whole = all(len(place) == len(part) for place, part in zip(places, indices, strict=True))
        found = np.empty([len(part) for part in indices]) if whole else np.array(self.values(operation.operands[1], indices))
        if all(len(place) for place in places):
            kept_dims = kept(sizes, shape(operation.operands[0]))
            source = [(i[p] - o) // s for i, p, o, s in zip(indices, places, offsets, strides, strict=True)]
            part = self.values(operation.operands[0], tuple(s for s, keep in zip(source, kept_dims, strict=True) if keep))
            found = found.astype(part.dtype)
            found[np.ix_(*places)] = part.reshape([len(place) for place in places])
        return found

    def pad(self, operation: Any, _: Any, indices: Indices) -> np.ndarray:
        low, sizes = static(operation, "static_low"), shape(operation.operands[0])
        places = [np.flatnonzero((i >= o) & (i < o + n)) for i, o, n in zip(indices, low, sizes, strict=True)]
        padding = self.scalar(list(operation.regions[0].blocks[0])[-1].operands[0])
        found = np.full([len(part) for part in indices], padding)
        if all(len(place) for place in places):
            found[np.ix_(*places)] = self.values(operation.operands[0], tuple(i[p] - o for i, p, o in zip(indices, places, low, strict=True)))
        return found

    def expand_shape(self, operation: Any, value: Any, indices: Indices) -> np.ndarray:
        """Several dimensions of the result make one of the operand: the product of their indices, flattened."""
        sizes, source = shape(value), []
        for group in reassociation(operation):
            flat = np.zeros(1, np.int64)
            for dim in group:
                flat = (flat[:, None] * sizes[dim] + indices[dim]).ravel()
            source.append(flat)
        return self.values(operation.operands[0], tuple(source)).reshape([len(part) for part in indices])

    def collapse_shape(self, operation: Any, _: Any, indices: Indices) -> np.ndarray:
        """One dimension of the result makes several of the operand: the box around the indices is computed, and they are picked."""
        sizes = shape(operation.operands[0])
        source: list[np.ndarray] = []
        picked = []
        groups = reassociation(operation)
        for group, part in zip(groups, indices, strict=True):
            extents = [sizes[dim] for dim in group]
            split = np.unravel_index(part, extents)
            unique = [np.unique(digit, return_inverse=True) for digit in split]
            source += [digits for digits, _ in unique]
            picked.append(np.ravel_multi_index([at for _, at in unique], [len(digits) for digits, _ in unique]))
        found = self.values(operation.operands[0], tuple(source))
        lengths, at = [], 0
        for group in groups:
            lengths.append(int(np.prod([len(part) for part in source[at:at + len(group)]])))
            at += len(group)
        return found.reshape(lengths)[np.ix_(*picked)]

    def cast(self, operation: Any, _: Any, indices: Indices) -> np.ndarray:
        return self.values(operation.operands[0], indices)

    def generic(self, operation: Any, value: Any, indices: Indices) -> np.ndarray:
        return reference_generic.evaluate(self, operation, value, indices)

    def attention(self, operation: Any, value: Any, indices: Indices) -> np.ndarray:
        return reference_generic.attention(self, operation, value, indices)


def shape(value: Any) -> list[int]:
    """Sizes of a shaped value; CompileError when one is not static."""
    found = list(value.type.shape)
    if any(size < 0 for size in found):
        raise CompileError(f"no reference for the dynamic shape {value.type}")
    return found


def static(operation: Any, name: str) -> list[int]:
    """A static_* attribute of a slicing operation; CompileError when a value is computed."""
    found = [int(part) for part in operation.attributes[name]]
    if DYNAMIC in found:
        raise CompileError(f"no reference for {operation.name} with computed {name.removeprefix('static_')}")
    return found


def reassociation(operation: Any) -> list[list[int]]:
    """Groups of dimensions of an expand_shape or collapse_shape."""
    return [[int(str(dim).split(":")[0]) for dim in group] for group in operation.attributes["reassociation"]]


def kept(sizes: list[int], reduced: list[int]) -> list[bool]:
    """Which dimensions of a slice stay when it has fewer: ones of size 1 are dropped, from the front."""
    drop = len(sizes) - len(reduced)
    stays: list[bool] = []
    for at, size in enumerate(sizes):
        rest = reduced[sum(stays):]
        dropped = drop > 0 and size == 1 and (not rest or rest[0] != 1 or len(sizes) - at > len(rest))
        stays.append(not dropped)
        drop -= dropped
    return stays


_HANDLERS: dict[str, Callable[[Reference, Any, Any, Indices], np.ndarray]] = {
    "iree_codegen.load_from_buffer": Reference.load, "iree_tensor_ext.dispatch.tensor.load": Reference.load,
    "arith.constant": Reference.constant, "tensor.empty": Reference.empty, "linalg.fill": Reference.fill,
    "tensor.extract_slice": Reference.extract_slice, "tensor.insert_slice": Reference.insert_slice, "tensor.pad": Reference.pad,
    "tensor.expand_shape": Reference.expand_shape, "tensor.collapse_shape": Reference.collapse_shape, "tensor.cast": Reference.cast,
    "linalg.generic": Reference.generic, "linalg.matmul": Reference.generic, "linalg.batch_matmul": Reference.generic,
    "linalg.contract": Reference.generic, "iree_linalg_ext.online_attention": Reference.attention,
    "iree_linalg_ext.attention": Reference.attention,
}

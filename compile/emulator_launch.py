"""One launch of one dispatch, read off its configured IR: bindings with the tensors in them, constants, threads, grid, loads and stores."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compile import reference, reference_scalar, reference_types
from ireeperf.errors import CompileError

_THREADS = re.compile(r"workgroup_size = \[(\d+)(?:, (\d+))?(?:, (\d+))?\]")
_GRID = re.compile(r"hal\.executable\.export public @(?:\"[^\"]+\"|[\w$.]+).*?hal\.return ([^:\n]+) :", re.DOTALL)
_NUMBER = re.compile(r"%(\S+) = arith\.constant (\d+) : index")
_SCALAR = 0x3E800000  # 0.25 as f32, for a push constant that is a float: the scale of attention, which the host computes of parameters
_FIXED = re.compile(r"umin = (\d+), umax = (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Part of a binding: element (i, j, ..) lies at byte `offset` + bytes an element * (first + i * strides[0] + ..)."""

    binding: int
    offset: int  # bytes
    elements: int  # of the whole tensor at `offset`, of which this may be a slice
    kind: str  # element type
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements
    first: int = 0

    @property
    def bytes(self) -> int:
        return self.elements * reference_types.storage(self.kind).itemsize

    def array(self, memory: np.ndarray) -> np.ndarray:
        """The elements [shape], not copied, of the bytes of the whole tensor."""
        whole = memory.view(reference_types.storage(self.kind))
        size = whole.itemsize
        return np.lib.stride_tricks.as_strided(whole[self.first:], self.shape, [stride * size for stride in self.strides])

    def locate(self, elements: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Indices of linear elements of the whole tensor, and which of them belong to this slice (the indices of others are void)."""
        left = elements - self.first
        inside = left >= 0
        found = [np.zeros_like(left)] * len(self.shape)
        for dim in sorted(range(len(self.shape)), key=lambda dim: -self.strides[dim]):
            if self.shape[dim] > 1:
                found[dim] = left // self.strides[dim]
                left = left - found[dim] * self.strides[dim]
                inside &= found[dim] < self.shape[dim]
        return tuple(found), inside & (left == 0)


@dataclass(slots=True)
class Launch:
    """What a dispatch reads and writes. Constants are those of its first call site."""

    threads: tuple[int, int, int]
    constants: dict[int, int] = field(default_factory=dict)
    loads: dict[Any, Tensor] = field(default_factory=dict)  # by operation
    stores: list[tuple[Any, Tensor]] = field(default_factory=list)  # value stored, where
    generic_stores: list[Any] = field(default_factory=list)

    def sizes(self) -> list[int]:
        """Bytes of each binding."""
        tensors = [*self.loads.values(), *(tensor for _, tensor in self.stores)]
        return [max([tensor.offset + tensor.bytes for tensor in tensors if tensor.binding == binding], default=64)
                for binding in range(1 + max(tensor.binding for tensor in tensors))]


def read(function: Any, threads: tuple[int, int, int] | None = None, given: dict[int, int] | None = None) -> Launch:
    """The launch of a func.func with hal.interface operations, `threads` as it states them unless given, push constants `given` by ordinal
    or as the function assumes them; CompileError for what cannot be read."""
    operations = [operation.operation for operation in function.regions[0].blocks[0].operations]
    stated = _THREADS.search(str(function.attributes["translation_info"])) if threads is None else None
    if stated is None and threads is None:
        raise CompileError("the dispatch states no workgroup size")
    launch = Launch(threads=threads or tuple(int(part or 1) for part in stated.groups()),  # type: ignore[union-attr, arg-type]
                    constants=dict(given or {}))
    for operation in operations:
        if given is None and operation.name == "util.assume.int":
            for operand, rows in zip(operation.operands, operation.attributes["assumptions"], strict=True):
                if (fixed := _FIXED.search(str(rows))) is not None:
                    _assign(launch, operand, int(fixed[1]))
        elif given is None and operation.name == "arith.bitcast" and str(operation.results[0].type) == "f32":
            _assign(launch, operation.operands[0], _SCALAR)
    for operation in operations:
        if operation.name in ("iree_codegen.load_from_buffer", "iree_tensor_ext.dispatch.tensor.load"):
            launch.loads[operation] = _tensor(launch, operation.operands[0], operation)
        elif operation.name in ("iree_codegen.store_to_buffer", "iree_tensor_ext.dispatch.tensor.store"):
            launch.stores.append((operation.operands[0], _tensor(launch, operation.operands[1], operation)))
    if not launch.stores:
        raise CompileError("no reference for a dispatch that stores no tensor")
    return launch


def constants(launch: Launch) -> list[int]:
    """Push constants in order."""
    return [launch.constants.get(ordinal, 0) for ordinal in range(1 + max(launch.constants, default=-1))]


def grid(compiled: str) -> tuple[int, int, int]:
    """Workgroup counts of the first export in IR after code generation (--compile-to=executable-targets)."""
    found = _GRID.search(compiled)
    numbers = {name: int(value) for name, value in _NUMBER.findall(found[0])} if found else {}
    names = [name.strip().removeprefix("%") for name in found[1].split(",")] if found else []
    if len(names) != 3 or not all(name in numbers for name in names):
        raise CompileError("the workgroup counts of the dispatch depend on its operands")
    return tuple(numbers[name] for name in names)  # type: ignore[return-value]


def _assign(launch: Launch, value: Any, wanted: int) -> None:
    """Choose the constants so that `value` is `wanted`: casts, and two 32-bit halves of one number."""
    operation = reference_scalar.producer(value)
    if operation.name == "hal.interface.constant.load":
        launch.constants[int(operation.attributes["ordinal"])] = wanted & 0xFFFFFFFF
    elif operation.name in ("arith.index_castui", "arith.index_cast", "arith.extui"):
        _assign(launch, operation.operands[0], wanted)
    elif operation.name == "arith.ori":
        for operand in operation.operands:
            shifted = reference_scalar.producer(operand).name == "arith.shli"
            _assign(launch, reference_scalar.producer(operand).operands[0] if shifted else operand, wanted >> 32 if shifted else wanted)


def _number(launch: Launch, value: Any) -> int:
    operation = reference_scalar.producer(value)
    if operation.name == "arith.constant":
        return int(operation.attributes["value"].value)
    if operation.name == "hal.interface.constant.load":
        return launch.constants[int(operation.attributes["ordinal"])]
    if operation.name == "util.assume.int":
        return _number(launch, operation.operands[list(operation.results).index(value)])
    arguments = [np.asarray(_number(launch, operand), np.int64) for operand in operation.operands]
    return int(reference_scalar.apply(operation, arguments))


def _tensor(launch: Launch, value: Any, access: Any) -> Tensor:
    """Where the buffer `value` lies: casts and slices down to hal.interface.binding.subspan, and the slice that `access` itself states."""
    operation = reference_scalar.producer(value)
    if operation.name == "hal.interface.binding.subspan":
        found = _subspan(launch, operation)
        return _slice(found, access) if access.name.startswith("iree_tensor_ext") else found
    if operation.name in ("amdgpu.fat_raw_buffer_cast", "memref.assume_alignment", "memref.cast", "memref.memory_space_cast"):
        return _tensor(launch, operation.operands[0], access)
    if operation.name == "memref.subview":
        return _slice(_tensor(launch, operation.operands[0], access), operation)
    raise CompileError(f"no reference for a buffer made by {operation.name}")


def _subspan(launch: Launch, operation: Any) -> Tensor:
    kind, text = operation.results[0].type, str(operation.results[0].type)
    body = text[text.index("tensor<") + 7:] if text.startswith("!") else text[text.index("<") + 1:]
    dims, _, element = re.split(r"[,>]", body, maxsplit=1)[0].rpartition("x")
    if "?" in dims:
        raise CompileError(f"no reference for the dynamic buffer {kind}")
    shape = tuple(int(part) for part in dims.split("x")) if dims else ()
    strides = tuple(math.prod(shape[at + 1:]) for at in range(len(shape)))
    offset = _number(launch, operation.operands[0]) if len(operation.operands) else 0
    return Tensor(binding=int(operation.attributes["binding"]), offset=offset, elements=math.prod(shape), kind=element, shape=shape,
                  strides=strides)


def _slice(tensor: Tensor, operation: Any) -> Tensor:
    offsets, sizes, strides = (reference.static(operation, name) for name in ("static_offsets", "static_sizes", "static_strides"))
    first = tensor.first + sum(offset * stride for offset, stride in zip(offsets, tensor.strides, strict=True))
    result = operation.results[0].type.shape if len(operation.results) else operation.operands[0].type.shape
    kept = reference.kept(sizes, list(result))
    return Tensor(binding=tensor.binding, offset=tensor.offset, elements=tensor.elements, kind=tensor.kind, first=first,
                  shape=tuple(size for size, keep in zip(sizes, kept, strict=True) if keep),
                  strides=tuple(a * b for a, b, keep in zip(tensor.strides, strides, kept, strict=True) if keep))

"""Sampled elements of what a dispatch must write, in float64 from its own IR: a judge for compile.tune that no compiled program has a say in.

    wanted = reference_sample.samples(one.configured_text, one.name, benchmark, data)
    ...                                                  # `after`: the benchmark's buffer after one call that began with `data`
    worst = max(sample.error(after) / sample.tolerance for sample in wanted)             # at most 1 unless something is wrong

Comparing a candidate with the default's output finds no error that both make, and sets a tolerance by experience. This compares each with
the IR, by a tolerance that follows from its roundings (compile/verify_dispatch.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from compile import dispatch_ops, emulator_launch, reference_types, tune_runner, verify_dispatch, verify_inputs
from compile.reference import Reference
from ireeperf.errors import CompileError

_DISPATCH = re.compile(r"hal\.command_buffer\.dispatch<(.*?)\]\) flags", re.DOTALL)
_CONSTANTS = re.compile(r"constants\(\[([^\]]*)\]\)")
_BINDING = re.compile(r": !hal\.buffer\)\[%(\w+), %(\w+)\]")
_VALUE = re.compile(r"%(\w+) = arith\.constant (-?\d+) : (?:index|i32)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some elements of one result."""

    positions: np.ndarray  # byte of each element in the benchmark's buffer, int64 [elements]
    expected: np.ndarray  # float64 or int64 [elements]
    kind: str  # element type in MLIR's words
    tolerance: float  # of error(), that the IR's roundings explain; 0 for integers

    def error(self, after: np.ndarray) -> float:
        """Largest difference in the bytes `after` [bytes of the buffer], relative to the largest expected value; inf for a NaN."""
        stored = reference_types.storage(self.kind)
        taken = after.view(np.uint8)[self.positions[:, None] + np.arange(stored.itemsize)]
        found = reference_types.values(np.ascontiguousarray(taken).view(stored).ravel(), self.kind)
        return tune_runner.largest(self.expected, found)


def samples(configured_text: str, name: str, benchmark: str, data: np.ndarray, per_result: int = 256) -> tuple[Sample, ...]:
    """About `per_result` elements of each result of the dispatch `name`, ends of every dimension among them.

    `configured_text`: its configured executable (any configuration: only what it computes is read). `benchmark`: its benchmark dump, which
    says where the one buffer has each binding. `data`: that buffer before the call, contiguous. CompileError when an operation has no
    reference, when a result is not finite, or when the benchmark is of another form.
    """
    from iree.compiler import ir
    memory, (constants, starts) = np.ascontiguousarray(data).view(np.uint8).ravel(), layout(benchmark)
    with ir.Context():
        module = ir.Module.parse(configured_text)
        function = next((found for found in dispatch_ops.functions(module.operation) if found.attributes["sym_name"].value == name), None)
        if function is None:
            raise CompileError(f"the configured executable holds no function {name}; compile again with ./compile/precompile.py")
        launch = emulator_launch.read(function, threads=(1, 1, 1), given=constants)

        def read(operation: Any) -> np.ndarray:
            tensor = launch.loads[operation]
            return tensor.array(memory[starts[tensor.binding] + tensor.offset:][:tensor.bytes])
        return tuple(_sample(Reference(read, launch.constants), value, tensor, starts[tensor.binding], per_result) for value, tensor in launch.stores)


def layout(benchmark: str) -> tuple[dict[int, int], list[int]]:
    """Push constants by ordinal, and the byte at which the benchmark's buffer has each binding; CompileError when it has another form."""
    values = {found: int(number) for found, number in _VALUE.findall(benchmark)}
    dispatched = _DISPATCH.findall(benchmark)
    if len(dispatched) != 1:
        raise CompileError(f"the benchmark dump has {len(dispatched)} dispatches, one expected; compile again with ./compile/precompile.py")
    passed = _CONSTANTS.search(dispatched[0])
    names = [part.strip().removeprefix("%") for part in passed[1].split(",")] if passed else []
    places = [start for start, _ in _BINDING.findall(dispatched[0])]
    if missing := [one for one in (*names, *places) if one not in values]:
        raise CompileError(f"the benchmark dump computes {missing[0]}, a number expected; was it made by another compiler?")
    return {ordinal: values[one] & 0xFFFFFFFF for ordinal, one in enumerate(names)}, [values[one] for one in places]


def _sample(reference: Reference, value: Any, tensor: emulator_launch.Tensor, start: int, count: int) -> Sample:
    indices = verify_inputs.spread(tensor.shape, count)
    try:
        expected = reference.values(value, indices)
    except IndexError as error:
        raise CompileError(f"no reference: random numbers as indices lead outside a tensor ({error})") from error
    if not np.isfinite(expected).all():
        raise CompileError("the reference is not finite on this data")
    elements = np.full([len(part) for part in indices], tensor.first, np.int64)
    for dim, (part, stride) in enumerate(zip(indices, tensor.strides, strict=True)):
        elements = elements + (part * stride).reshape([-1 if at == dim else 1 for at in range(len(indices))])
    positions = start + tensor.offset + reference_types.storage(tensor.kind).itemsize * elements.ravel()
    tolerance = verify_dispatch.tolerance_of(reference, tensor.kind, expected)
    return Sample(positions=positions, expected=expected.ravel(), kind=tensor.kind, tolerance=tolerance)

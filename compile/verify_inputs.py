"""Random inputs for a dispatch at a realistic scale, as blocks of 4 MB that fill tensors of any size (compile/emulator_memory.py)."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from compile import emulator_launch, reference_generic, reference_types
from compile.emulator_memory import BLOCK_BYTES, PAGE, Region
from ireeperf.errors import CompileError

_POSITIVE = ("math.sqrt", "math.rsqrt", "math.log", "math.log2")
_PASSING = ("arith.extf", "arith.truncf", "arith.addf", "arith.mulf", "arith.divf", "arith.maximumf")
_POISON = {2: 0x7E5A, 4: 0x7FC5A5A5, 8: 0x7FF85A5A5A5A5A5A, 1: 0x5A}  # a NaN of f16, f32, f64 each; an unlikely integer


def fill(launch: emulator_launch.Launch, folder: Path, seed: int) -> list[Region]:
    """Write the blocks into `folder`; the regions of the launch, outputs last. A tensor that is read and written stays as it is read.
    CompileError when two different tensors of a binding overlap."""
    regions: dict[tuple[int, int], Region] = {}
    for operation, tensor in launch.loads.items():
        place = (tensor.binding, tensor.offset)
        if place not in regions:
            file = folder / f"input_{len(regions)}"
            file.write_bytes(block(tensor.kind, operation.results[0], np.random.default_rng([seed, len(regions)])))
            regions[place] = Region(binding=tensor.binding, offset=tensor.offset, bytes=tensor.bytes, block=str(file))
    for _, tensor in launch.stores:
        place, size = (tensor.binding, tensor.offset), reference_types.storage(tensor.kind).itemsize
        if place not in regions:
            file = folder / f"output_{size}"
            file.write_bytes(np.full(PAGE * 16 // size, _POISON[size], f"u{size}").tobytes())
            regions[place] = Region(binding=tensor.binding, offset=tensor.offset, bytes=tensor.bytes, block=str(file))
    ordered = sorted(regions.values(), key=lambda region: (region.binding, region.offset))
    for one, other in itertools.pairwise(ordered):
        if one.binding == other.binding and one.offset + one.bytes > other.offset:
            raise CompileError(f"two tensors of binding {one.binding} overlap at byte {other.offset}")
    return list(regions.values())


def block(kind: str, value: Any, random: np.random.Generator) -> bytes:
    """BLOCK_BYTES bytes of elements that suit the uses of `value`: normal numbers, scaled so that sums of products come out near 1,
    positive under roots and logarithms, in range as indices."""
    stored = reference_types.storage(kind)
    count = BLOCK_BYTES // stored.itemsize
    if not reference_types.is_float(kind):
        top = 2 if kind == "i1" else 128 if kind == "i8" else min([1000, *_extents(value)])
        return random.integers(-127 if kind == "i8" else 0, top, count).astype(stored).tobytes()
    numbers = random.standard_normal(count, np.float32) * np.float32(_scale(value))
    if _is_positive(value):
        numbers = np.abs(numbers) + np.float32(0.5)
    if kind.startswith("f8"):
        return reference_types.encoded(numbers.astype(np.float64), kind).tobytes()
    if kind == "bf16":
        return (numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return numbers.astype(stored).tobytes()


def _uses(value: Any) -> list[tuple[Any, int]]:
    """Operations that take a tensor, through changes of shape, with the operand's position."""
    found = []
    for use in value.uses:
        operation = use.owner.operation
        if operation.name.startswith("tensor.") and operation.name != "tensor.extract":
            found += [pair for result in operation.results for pair in _uses(result)]
        else:
            found.append((operation, use.operand_number))
    return found


def _scale(value: Any) -> float:
    """K ** -1/4 for both sides of a sum over K products; 1 otherwise."""
    for operation, position in _uses(value):
        if operation.name == "linalg.generic" and "reduction" in str(operation.attributes["iterator_types"]) and position < 2:
            loops = reference_generic.Loops(operation, operation.results[0], _empty(operation))
            lengths = math.prod(len(loops.index[dim]) for dim in loops.reduced)
            if len(loops.inputs) == 2:
                return float(lengths) ** -0.25
    return 1.0


def _empty(operation: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros(1, np.int64) for _ in operation.results[0].type.shape)


def _is_positive(value: Any) -> bool:
    """Whether an element goes under a root or a logarithm, or below a fraction, with at most additions and products on the way."""
    return any(operation.name == "linalg.generic" and _reaches_root(operation.regions[0].blocks[0].arguments[position])
               for operation, position in _uses(value))


def _reaches_root(value: Any) -> bool:
    for use in value.uses:
        operation = use.owner.operation
        if operation.name in _POSITIVE or (operation.name == "arith.divf" and use.operand_number == 1):
            return True
        if operation.name in _PASSING and any(_reaches_root(result) for result in operation.results):
            return True
    return False


def _extents(value: Any) -> list[int]:
    """Sizes of the dimensions that an integer tensor's elements index."""
    found = []
    for operation, position in _uses(value):
        if operation.name == "linalg.generic":
            found += _indexed(operation.regions[0].blocks[0].arguments[position])
    return found


def _indexed(value: Any) -> list[int]:
    found = []
    for use in value.uses:
        operation = use.owner.operation
        if operation.name == "tensor.extract":
            found.append(operation.operands[0].type.shape[use.operand_number - 1])
        else:
            found += [size for result in operation.results for size in _indexed(result)]
    return found


def reader(launch: emulator_launch.Launch, image: Any) -> Any:
    """Gives a Reference the tensor of a load, out of the image that the kernel saw."""
    def read(operation: Any) -> np.ndarray:
        tensor = launch.loads[operation]
        return tensor.array(image.view(tensor.binding, tensor.offset, tensor.bytes))
    return read

"""Random inputs for a dispatch at a realistic scale, as blocks of 4 MB that fill tensors of any size (compile/emulator_memory.py)."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from compile import emulator_launch, reference_generic, reference_types
from compile.emulator_memory import BLOCK_BYTES, PAGE, Image, Region
from compile.reference import Reference
from ireeperf.errors import CompileError

_POSITIVE = ("math.sqrt", "math.rsqrt", "math.log", "math.log2")
_PASSING = ("arith.extf", "arith.truncf", "arith.addf", "arith.mulf", "arith.divf", "arith.maximumf")
_POISON = {2: 0x7E5A, 4: 0x7FC5A5A5, 8: 0x7FF85A5A5A5A5A5A, 1: 0x5A}  # a NaN of f16, f32, f64 each; an unlikely integer
_SAMPLED = 64  # elements of a result that its scale is judged by
_TRIES = 10


def scaled(launch: emulator_launch.Launch, folder: Path, seed: int) -> tuple[list[Region], Image]:
    """Regions of the launch and their memory, with a first multiplier (a scale of a quantized product, say) such that the results tell
    something: finite, not so large that what is added to them drowns, and in 8 bits neither all near 0 nor all at an end. CompileError
    when they cannot be made finite."""
    gain, multiplier = 1.0, next((operation for operation in launch.loads if _multiplies(operation.results[0])), None)
    tried = list[float]()
    while len(tried) < _TRIES:
        regions = fill(launch, folder, seed, {multiplier: gain})
        image = Image(launch.sizes(), regions)
        try:
            changes = [_change(launch, image, value, tensor) for value, tensor in launch.stores]
        except BaseException:
            image.close()
            raise
        tried.append(gain)
        change = next((one for one in changes if one not in (None, 1.0)), None)
        # two results may want opposite things
        if None not in changes and (change is None or multiplier is None or gain * change in tried):
            return regions, image
        image.close()
        gain *= change or 2.0**-6
    raise CompileError("the reference is not finite on random inputs")


def _change(launch: emulator_launch.Launch, image: Image, value: Any, tensor: emulator_launch.Tensor) -> float | None:
    """Power of two by which a result should grow, None when it is not finite."""
    found = Reference(reader(launch, image), launch.constants).values(value, spread(tensor.shape, _SAMPLED))
    if not np.isfinite(found).all():
        return None
    size, spreads, largest = np.abs(found), float(found.std()), float(np.abs(found).max())
    if tensor.kind == "i8" or tensor.kind.startswith("f8"):
        end, wanted = (127, 32) if tensor.kind == "i8" else (np.nanmax(reference_types.table(tensor.kind)), 16)
        return 1 / 4 if float((size >= end).mean()) > 1 / 4 else _power(wanted / max(spreads, 2.0**-6)) if spreads < wanted / 2 else 1.0
    if not reference_types.is_float(tensor.kind) or not largest:
        return 1.0
    high = 16 if any(one.kind == "i8" for one in launch.loads.values()) else 2.0**14
    return _power(high / 2 / largest) if largest > high else _power(1 / largest) if largest < 2.0**-12 else 1.0


def _power(ratio: float) -> float:
    return 2.0 ** round(math.log2(ratio))


def fill(launch: emulator_launch.Launch, folder: Path, seed: int, gains: dict[Any, float] | None = None) -> list[Region]:
    """Write the blocks into `folder`; the regions of the launch, outputs last. A tensor that is read and written stays as it is read.
    `gains`: factors for loads. CompileError when two different tensors of a binding overlap."""
    regions: dict[tuple[int, int], Region] = {}
    for operation, tensor in launch.loads.items():
        place = (tensor.binding, tensor.offset)
        if place not in regions:
            file = folder / f"input_{len(regions)}"
            gain = (gains or {}).get(operation, 1.0)
            file.write_bytes(block(tensor.kind, operation.results[0], np.random.default_rng([seed, len(regions)]), gain))
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


def block(kind: str, value: Any, random: np.random.Generator, gain: float = 1.0) -> bytes:
    """BLOCK_BYTES bytes of elements that suit the uses of `value`: normal numbers, scaled so that sums of products come out near 1,
    positive under roots and logarithms, in range as indices; floats times `gain`."""
    stored = reference_types.storage(kind)
    count = BLOCK_BYTES // stored.itemsize
    if not reference_types.is_float(kind):
        top = 2 if kind == "i1" else 128 if kind == "i8" else min([1000, *_extents(value)])
        return random.integers(-127 if kind == "i8" else 0, top, count).astype(stored).tobytes()
    numbers = random.standard_normal(count, np.float32) * np.float32(_scale(value))
    if _is_positive(value):
        numbers = np.abs(numbers) + np.float32(0.5)
    numbers *= np.float32(gain)
    if kind.startswith("f8"):
        return reference_types.encoded(numbers.astype(np.float64), kind).tobytes()
    if kind == "bf16":
        return (numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return numbers.astype(stored).tobytes()


def spread(shape: tuple[int, ...], count: int) -> tuple[np.ndarray, ...]:
    """Indices of each dimension whose product has about `count` elements: both ends and random ones between."""
    random, left, found = np.random.default_rng(len(shape)), count, {}
    for done, dim in enumerate(sorted(range(len(shape)), key=lambda dim: shape[dim])):
        share = max(2, int(left ** (1 / (len(shape) - done)))) if left > 1 else 1
        inner = random.permutation(np.arange(1, max(1, shape[dim] - 1)))[:max(0, share - 2)]
        found[dim] = np.unique(np.concatenate([np.array([0, shape[dim] - 1][:share]), inner]).astype(np.int64))
        left = max(1, left // len(found[dim]))
    return tuple(found[dim] for dim in range(len(shape)))


def _multiplies(value: Any) -> bool:
    """Whether a float tensor is a factor in an elementwise operation: all that is computed before it can be scaled by it."""
    if not reference_types.is_float(str(value.type.element_type)):
        return False
    return any(operation.name == "linalg.generic" and "reduction" not in str(operation.attributes["iterator_types"]) and
               position < len(operation.operands) - len(operation.results) and
               any(use.owner.operation.name == "arith.mulf" for use in operation.regions[0].blocks[0].arguments[position].uses)
               for operation, position in _uses(value))


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

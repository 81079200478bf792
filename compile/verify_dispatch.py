"""One dispatch against its reference: sampled workgroups on the emulator in both wave orders, what they stored compared element by element.

Tolerance, relative to the largest reference value of the workgroup's tile: 2 roundoffs of the type stored and of every operation on
the way that rounds to a narrower float than f32 (the kernel may round one step elsewhere: one unit either way); 4 sqrt(K) roundoffs of the
accumulator for a sum over K (random walk of K roundings, 4 sigma over the elements of a tile); 2**-18 for approximated roots,
exponentials and fused products of f32. Weights of attention that are rounded to an 8-bit float: 4 sigma of the sum of their errors, which
are independent, with values of random sign: 4 / sqrt(3) roundoffs of the tile's root mean square. Where a float becomes an integer or an
8-bit float on the way: one step of that more.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compile import emulator_launch, reference_types, verify_inputs
from compile.emulator import Emulator
from compile.emulator_memory import Image, Region
from compile.reference import Reference
from ireeperf.errors import CompileError

_SEED = 2026
_BOX = 1 << 22  # elements of a tile computed at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What running one dispatch gave. `problems` empty: right."""

    problems: tuple[str, ...]
    workgroups: int
    wave_orders: int
    max_error: float
    tolerance: float
    coverage: str
    misaligned: int  # LDS accesses below their natural alignment, which gfx942 allows
    seconds: float  # in the emulator


def sample(grid: tuple[int, int, int], count: int) -> list[tuple[int, int, int]]:
    """At most `count` workgroups: the first, the last, the ends of each dimension, then random ones."""
    last = tuple(size - 1 for size in grid)
    ends = [(0, 0, 0), last, *((*(0,) * d, last[d], *(0,) * (2 - d)) for d in range(3)), *itertools.product(*({0, end} for end in last))]
    random = np.random.default_rng(_SEED)
    ends += [tuple(int(random.integers(size)) for size in grid) for _ in range(4 * count)]
    return list(dict.fromkeys(ends))[:count]  # type: ignore[return-value]


def verify(emulator: Emulator, object_path: Path, kernel: str, function: Any, grid: tuple[int, int, int], count: int,
           timeout_s: float) -> Outcome:
    """Run and compare. CompileError when the dispatch has no reference; EmulatorDied when the kernel leaves its memory or does not end."""
    launch = emulator_launch.read(function)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        regions, image = verify_inputs.scaled(launch, folder, _SEED)
        outputs = list(dict.fromkeys((tensor.binding, tensor.offset, tensor.bytes) for _, tensor in launch.stores))
        groups = sample(grid, count)
        try:
            request = {"object": str(object_path), "kernel": kernel, "threads": launch.threads, "grid": grid, "sizes": launch.sizes(),
                       "regions": [_plain(region) for region in regions], "constants": emulator_launch.constants(launch),
                       "outputs": outputs, "workgroups": groups, "answer": str(folder / "answer.npz")}
            compared, expected = list[_Compared](), _Expected(launch, image)
            seconds, misaligned, problems = 0.0, 0, []
            for reverse in (False, True):
                answer = emulator.run(request | {"reverse": reverse}, timeout_s)
                if answer["problem"]:
                    raise CompileError(f"not executed: {answer['problem']}")
                order = "reverse" if reverse else "forward"
                problems += [f"{text} ({times} times, {order} wave order)" for text, times in answer["findings"].items()]
                if answer["elsewhere"]:
                    problems.append(f"{answer['elsewhere']} bytes stored outside every output")
                seconds, misaligned = seconds + answer["seconds"], misaligned + answer["misaligned"]
                with np.load(folder / "answer.npz") as stored:
                    compared.append(_compare(launch, outputs, stored, len(groups), expected))
        finally:
            image.close()
    problems += [text for one in compared for text in one.problems]
    coverage = _coverage(compared[0].boxes, math.prod(grid), len(groups), launch)
    problems += [coverage] if coverage.startswith("unwritten") else []
    return Outcome(problems=tuple(dict.fromkeys(problems)), workgroups=len(groups), wave_orders=2, seconds=seconds, misaligned=misaligned,
                   max_error=max(one.error for one in compared), tolerance=max(one.tolerance for one in compared), coverage=coverage)


def _plain(region: Region) -> dict:
    return {"binding": region.binding, "offset": region.offset, "bytes": region.bytes, "block": region.block}


@dataclass(slots=True)
class _Compared:
    problems: list[str]
    boxes: list[tuple[int, tuple[int, ...], int]]  # store, extents of what one workgroup wrote, elements of it
    error: float = 0.0
    tolerance: float = 0.0


class _Expected:
    """The reference of tiles: both wave orders store the same ones."""

    def __init__(self, launch: emulator_launch.Launch, image: Image) -> None:
        self._launch, self._image = launch, image
        self._known: dict[tuple[int, bytes], tuple[np.ndarray, float]] = {}

    def of(self, at: int, indices: list[np.ndarray]) -> tuple[np.ndarray, float]:
        """Values of result `at` at each of `indices`, and their tolerance; CompileError when one is not finite."""
        key = at, hashlib.sha256(b"".join(index.tobytes() for index in indices)).digest()
        if key not in self._known:
            value, tensor = self._launch.stores[at]
            expected = np.empty(len(indices[0]) if indices else 1)
            for part in _boxes(indices):
                unique = [np.unique(index[part], return_inverse=True) for index in indices]
                reference = Reference(verify_inputs.reader(self._launch, self._image), self._launch.constants)
                computed = reference.values(value, tuple(places for places, _ in unique))
                expected[part] = computed[tuple(picks for _, picks in unique)]
            if not np.isfinite(expected).all():
                raise CompileError("the reference is not finite on random inputs")
            self._known[key] = expected, tolerance_of(reference, tensor.kind, expected)
        return self._known[key]


def _compare(launch: emulator_launch.Launch, outputs: list, stored: Any, groups: int, expected: _Expected) -> _Compared:
    """All workgroups of one run."""
    found = _Compared(problems=[], boxes=[])
    for number, (binding, offset, _) in enumerate(outputs):
        stores = [(at, value, tensor) for at, (value, tensor) in enumerate(launch.stores) if (tensor.binding, tensor.offset) == (binding, offset)]
        every = [stored[f"stored_{number}_{group}"] for group in range(groups)]
        union = np.unique(np.concatenate(every))
        if sum(len(part) for part in every) != len(union):
            found.problems.append("two workgroups stored the same element")
        if len(np.setdiff1d(stored[f"changed_{number}"], union)):
            found.problems.append("bytes of an output changed that no buffer store wrote")
        for group, positions in enumerate(every):
            size = reference_types.storage(stores[0][2].kind).itemsize
            elements = positions[::size] // size
            if len(elements) * size != len(positions):
                found.problems.append("part of an element was stored")
                continue
            values = reference_types.values(stored[f"values_{number}_{group}"].view(reference_types.storage(stores[0][2].kind)), stores[0][2].kind)
            left = np.ones(len(elements), bool)
            for at, _, tensor in stores:
                indices, inside = tensor.locate(elements)
                inside &= left
                left &= ~inside
                if inside.any():
                    _compare_tile(found, at, [index[inside] for index in indices], values[inside], *expected.of(at, [index[inside] for index in indices]))
            if left.any():
                found.problems.append(f"{int(left.sum())} elements stored that belong to no result")
    return found


def _compare_tile(found: _Compared, at: int, indices: list[np.ndarray], values: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    found.boxes.append((at, tuple(len(np.unique(index)) for index in indices), len(values)))
    largest = float(np.abs(expected).max()) or 1.0
    error = np.abs(values - expected) / largest
    found.tolerance = max(found.tolerance, tolerance)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    found.error = max(found.error, float(error[worst]) if not np.isnan(error[worst]) else math.inf)
    if not error[worst] <= tolerance:
        place = tuple(int(index[worst]) for index in indices)
        wrong = int((~(error <= tolerance)).sum())
        found.problems.append(f"{wrong} of {len(values)} elements off: {values[worst]:.6g} at {place}, reference {expected[worst]:.6g}, "
                              f"largest {largest:.4g}")


def tolerance_of(reference: Reference, kind: str, expected: np.ndarray) -> float:
    """See the top of this module; relative to the largest of `expected`."""
    largest = float(np.abs(expected).max()) or 1.0
    if not (reference.roundings or reference.sums) and not reference_types.is_float(kind):
        return 0.0
    short = kind.startswith("f8")  # its rounding is the step that is allowed below, and no more
    found = 2 * sum(unit for unit in reference.roundings if not (short and unit == reference_types.ROUNDOFF[kind]))
    found += 0.0 if short else 2 * reference_types.ROUNDOFF.get(kind, 0.0)
    found += sum(4 * math.sqrt(length) * unit for length, unit in reference.sums)
    found += sum(4 * unit / math.sqrt(3) for unit in reference.averaged) * float(np.sqrt(np.mean(np.square(expected)))) / largest
    if not found and not short:
        return 0.0
    step = 2 * reference_types.ROUNDOFF[kind] if short else 0.0 if reference_types.is_float(kind) else 1 / largest
    return found + 2.0**-18 + (step if reference.quantizes or short else 0.0)


def _boxes(indices: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Positions of the elements, in parts whose indices nearly fill the product that the reference computes."""
    pending = [np.arange(len(indices[0]) if indices else 1)]
    while pending:
        part = pending.pop()
        lengths = [len(np.unique(index[part])) for index in indices]
        volume = math.prod(lengths)
        if volume <= max(4 * len(part), 4096) and volume <= _BOX:
            yield part
            continue
        dim = int(np.argmax(lengths))
        middle = np.median(np.unique(indices[dim][part]))
        pending += [part[indices[dim][part] <= middle], part[indices[dim][part] > middle]]


def _coverage(boxes: list[tuple[int, tuple[int, ...], int]], total: int, run: int, launch: emulator_launch.Launch) -> str:
    """Whether workgroups that store what the sampled ones do can have stored the whole of each result."""
    said = []
    for at, (_, tensor) in enumerate(launch.stores):
        mine = [(extents, count) for store, extents, count in boxes if store == at]
        if not mine:
            return f"unwritten: no sampled workgroup stored any of result {at}"
        tile = [max(extents[dim] for extents, _ in mine) for dim in range(len(tensor.shape))]
        needed, elements = math.prod(-(-size // part) for size, part in zip(tensor.shape, tile, strict=True)), math.prod(tensor.shape)
        if run == total:
            stored = sum(count for _, count in mine)
            if stored != elements:
                return f"unwritten: {elements - stored} of {elements} elements of result {at} after all workgroups"
            said.append("all workgroups ran")
        elif all(count == math.prod(extents) for extents, count in mine) and needed <= total:
            said.append("tiles fill the result")
        elif max(count for _, count in mine) * total >= elements:
            said.append("as many elements as the result has")
        else:
            return f"unwritten: {total} workgroups of at most {max(count for _, count in mine)} elements leave a rest of {elements}"
    return "; ".join(dict.fromkeys(said))

"""What a sweep may set for a dispatch on llvm-cpu: tile sizes that divide its loops. A point is a choice per parameter.

A reduction is tiled by rows, its innermost parallel loop, and steps along the innermost reduced one, which are its vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compile.compiler import compiler_version
from specs.match import Match
from specs.record import Setting, TuningRecord

PIPELINES = ("DoubleTilingExpert", "ConvTileAndDecomposeExpert")
ROWS, COLUMNS, STEPS = (1, 2, 4, 6, 8, 12, 16), (8, 16, 32, 48, 64), (1, 2, 4, 8, 16)
REDUCED_STEPS = (4, 8, 16, 32, 64, 128)
DISTRIBUTED = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 512)
# roles of the loops that are vectorized: rows, columns, steps
ROLES = {"contraction": ("m", "n", "k"), "convolution": ("image", "output_channel", "input_channel"), "reduction": ("parallel", "none", "reduced")}
Point = Mapping[str, int]


def as_record(match: Match, setting: Setting, target: str) -> TuningRecord:
    """What the checks of records take; it is never written."""
    return TuningRecord(target=target, match=match, set=setting, evidence="ported", source="compile.tune", compiler=compiler_version(), date="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """Vector registers of a CPU: how many, and how many float32 each holds."""

    count: int
    lanes: int

    @property
    def accumulators(self) -> int:
        """The most that a tile may take: one that leaves none for operands spills."""
        return self.count - 2


AVX512, AVX2 = Registers(count=32, lanes=16), Registers(count=16, lanes=8)


def registers(target: str, machine: str) -> Registers:
    """Of a target; of the target `cpu` by the instruction sets that `machine` names (compile.tune_runner.machine)."""
    words = machine.split()
    return AVX2 if target == "cpu-avx2" or (target == "cpu" and "avx2" in words and "avx512f" not in words) else AVX512


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Parameters of one dispatch and their values: `distribution_2`: loop d2 over workgroups; `row`, `column`, `step`: vector tiles."""

    match: Match
    pipeline: str
    parameters: dict[str, tuple[int, ...]]
    registers: Registers = AVX512

    def invalid(self, point: Point) -> str | None:
        """Why `point` cannot be a configuration, or None."""
        row, column = self.loops()[:2]
        for name, loop in (("row", row), ("column", column)):
            if loop is not None and point[f"distribution_{loop}"] % point[name]:
                return f"distribution {point[f'distribution_{loop}']} of loop {loop} is no multiple of its vector tile {point[name]}"
        across = "step" if self.match.kind == "reduction" else "column"
        if (used := point["row"] * -(-point[across] // self.registers.lanes)) > self.registers.accumulators:
            return f"{used} accumulators, at most {self.registers.accumulators} of the {self.registers.count} vector registers"
        return None

    def setting(self, point: Point) -> Setting:
        """`point` as what a record sets."""
        row, column, step = self.loops()
        size = len(self.match.dims)
        distribution, parallel, reduction = [0] * size, [0] * size, [0] * size
        for loop in range(size):
            if loop in _reduced(self.match):
                reduction[loop] = point["step"] if loop == step else 1
            else:
                distribution[loop] = point[f"distribution_{loop}"]
                parallel[loop] = point["row"] if loop == row else point["column"] if loop == column else 1
        return Setting(pipeline=self.pipeline, lowering_config={
            "distribution": distribution, "vector_common_parallel": parallel, "vector_reduction": reduction})

    def loops(self) -> tuple[int | None, int | None, int | None]:
        """The loops that are vectorized: rows, columns, reduction; each the innermost of its role."""
        return _vectorized(self.match)


def space(match: Match | None, pipeline: str, vectors: Registers = AVX512) -> Space | str:
    """The space of a dispatch whose root is `match`, or why there is none."""
    if match is None or match.kind not in ROLES:
        return f"its root is {match.kind if match else 'no operation that records match'}; {', '.join(ROLES)} are generated for"
    if pipeline not in PIPELINES:
        return f"its pipeline is {pipeline or 'not known'}; tiles are generated for {' and '.join(PIPELINES)}"
    if min(match.dims) < 1:
        return f"its loops {match.dims} are not all of known size"
    row, column, step = _vectorized(match)
    parameters = {f"distribution_{loop}": _dividing(DISTRIBUTED, size) for loop, size in enumerate(match.dims)
                  if loop not in _reduced(match)}
    steps = REDUCED_STEPS if match.kind == "reduction" else STEPS
    for name, values, loop in (("row", ROWS, row), ("column", COLUMNS, column), ("step", steps, step)):
        parameters[name] = (1,) if loop is None else _dividing(values, match.dims[loop])
    return Space(match=match, pipeline=pipeline, parameters=parameters, registers=vectors)


def _vectorized(match: Match) -> tuple[int | None, int | None, int | None]:
    last = [(match.roles.get(name) or (None,))[-1] for name in ROLES[match.kind]]
    return last[0], last[1], last[2]


def _reduced(match: Match) -> tuple[int, ...]:
    return tuple(loop for name in ("k", "filter", "input_channel", "reduced") for loop in match.roles.get(name, ()))


def _dividing(values: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Those of `values` that divide `size` (tiles that do not are ten times slower than the default), and `size` up to 64; else 1."""
    return tuple(sorted({value for value in values if size % value == 0} | ({size} if size <= 64 else set()))) or (1,)

"""What a match report says in all: per batch of a build, by evidence, and what falls short of the bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compile import kernel_figures
from compile.dispatch_ops import MATRIX
from compile.manifest import Manifest
from compile.match_report import DispatchMatch, MatchReport
from compile.roofline import AMD_SECONDS

MATRIX_BAR = 0.005  # of all FLOPs may be in matrix operations without matrix instructions
CLASSES = ("measured", "ported", "static", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Sums are over one batch of images: the encoders once, the UNet's step as often as there are steps, the decoder per image group."""

    batch_size: int
    dispatches: int
    launches: int
    flops: int
    flops_by_class: dict[str, int]  # by evidence; a record that has none (a hand-written spec's), and a static one that gains nothing, count as default
    static: dict[str, dict[str, str]]  # static records that were applied: the figures that each improves; none: it does not count
    by_instruction: dict[str, tuple[int, float]]  # matrix operations by what their matrix instructions multiply: dispatches, share of all FLOPs
    without_matrix: tuple[DispatchMatch, ...]  # matrix operations whose kernel has no matrix instruction
    without_matrix_share: float  # of all FLOPs
    unread: int  # matrix operations of whose kernel nothing is known: no assembly (llvm-cpu)
    spilling: tuple[DispatchMatch, ...]
    roofline_seconds: float | None  # None: some dispatch has no roofline
    measured_seconds: float | None  # AMD's own measurement of this partition and batch size, int8/FP8: a mark, not ours
    fill: float | None  # FLOP-weighted


def times(report: MatchReport, manifest: Manifest, batch_size: int) -> dict[tuple[str, str], int]:
    """How often a batch of `batch_size` runs each (executable, dispatch)."""
    weights: dict[str, dict[str, int]] = {}
    for executable in manifest.executables:
        share = batch_size // executable.batch_size if executable.module == "vae" else 1 if executable.batch_size == batch_size else 0
        weights[executable.path] = {name: share * (manifest.images.num_inference_steps if name == "run_forward" else 1)
                                    for name in executable.entry_points}
    return {(one.executable, one.dispatch): sum(weights[one.executable].get(name, 0) * count
                                                for name, count in one.calls_by_entry_point.items())
            for one in report.dispatches if one.executable in weights}


def summarize(report: MatchReport, manifest: Manifest, batch_size: int) -> Summary:
    """The summary for batches of `batch_size`."""
    runs = times(report, manifest, batch_size)
    rows = [(one, runs[one.executable, one.dispatch]) for one in report.dispatches if runs.get((one.executable, one.dispatch))]
    flops = sum(one.flops * count for one, count in rows)
    bare = [(one, count) for one, count in rows if one.kind in MATRIX and one.static and not one.static.matrix_instructions]
    filled = [(one.static.fill, one.flops * count) for one, count in rows if one.static and one.static.fill is not None]
    bounds = [None if one.roofline_us is None else one.roofline_us * count for one, count in rows]
    return Summary(
        batch_size=batch_size, dispatches=len(rows), launches=sum(count for _, count in rows), flops=flops,
        flops_by_class={name: sum(one.flops * count for one, count in rows if class_of(one) == name) for name in CLASSES},
        static=_static(one for one, _ in rows),
        by_instruction=_by_instruction(rows, flops),
        without_matrix=tuple(one for one, _ in bare), without_matrix_share=sum(one.flops * count for one, count in bare) / (flops or 1),
        unread=sum(one.kind in MATRIX and one.static is None for one, _ in rows),
        spilling=tuple(one for one, _ in rows if one.static and (one.static.vgpr_spills or one.static.sgpr_spills)),
        roofline_seconds=_total(bounds), measured_seconds=AMD_SECONDS.get((report.target, batch_size)),
        fill=sum(share * weight for share, weight in filled) / (sum(weight for _, weight in filled) or 1) if filled else None)


def _by_instruction(rows: Sequence[tuple[DispatchMatch, int]], flops: int) -> dict[str, tuple[int, float]]:
    """i8, fp8, f16, f32, several joined by +, or none; the largest share first. Without those of whose kernel nothing is known."""
    found: dict[str, tuple[int, float]] = {}
    for one, count in rows:
        if one.kind in MATRIX and one.static is not None:
            name = "+".join(sorted({kernel_figures.operand_type(mnemonic) for mnemonic in one.static.matrix_mnemonics})) or "none"
            kernels, share = found.get(name, (0, 0.0))
            found[name] = kernels + 1, share + one.flops * count / (flops or 1)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def class_of(one: DispatchMatch) -> str:
    """The class of CLASSES that a dispatch's FLOPs count for."""
    return "default" if one.evidence is None or (one.evidence == "static" and not one.gains) else one.evidence


def _static(rows: Iterable[DispatchMatch]) -> dict[str, dict[str, str]]:
    """By record; one that tunes several dispatches gains what it gains in all of them, and nothing where one of them does not gain."""
    found: dict[str, dict[str, str]] = {}
    for one in rows:
        if one.evidence == "static" and one.record is not None:
            gains = one.gains or {}
            before = found.setdefault(one.record, gains)
            found[one.record] = {name: text if before[name] == text else f"{before[name]}, {text}" for name, text in gains.items() if name in before}
    return found


def _total(bounds: Iterable[float | None]) -> float | None:
    found = list(bounds)
    return None if not found or None in found else sum(value for value in found if value is not None) / 1e6

"""The match report of a build: every dispatch with its record, its kernel's static figures and its roofline time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from compile import cuda_layout, default_twin, kernel_figures, match_report, record_check, target
from compile.dispatch_ir import Dispatch, dispatches
from compile.kernel_figures import Kernel
from compile.manifest import Executable, Manifest
from compile.match_report import DispatchMatch, MatchReport
from compile.roofline import roofline_us
from compile.target import Target
from ireeperf import document
from ireeperf.errors import CompileError
from specs.record import TuningRecord


def write_report(folder: Path, manifest: Manifest, records: Sequence[TuningRecord] = ()) -> MatchReport:
    """Write match_report.json into the build `folder`; `records` are those that its spec was rendered from.

    Dispatches that a static record tuned are compiled once more without it. CompileError when a record tuned no dispatch of any
    executable: it names the nearest dispatch and the field that differs. CompileError too when IREE computes a dispatch wrongly.
    """
    report, found = build_report(folder, manifest, records)
    cuda_layout.refuse(found)
    if wrong := record_check.unmatched(records, found):
        raise CompileError(f"{len(wrong)} of {len(records)} tuning records were not applied:\n  " + "\n  ".join(wrong))
    zips = {one.path: folder / one.dispatches for one in manifest.executables if one.dispatches is not None}
    report = dataclasses.replace(report, dispatches=tuple(default_twin.judged(report.dispatches, zips, target.find(manifest.target))))
    document.write(report, folder / match_report.NAME)
    return report


def build_report(folder: Path, manifest: Manifest, records: Sequence[TuningRecord]) -> tuple[MatchReport, list[Dispatch]]:
    """The report of the build in `folder`, and the dispatches that it is of. Executables without dumps have no part in it."""
    chosen, by_name = target.find(manifest.target), {record.name: record for record in records}
    rows: list[DispatchMatch] = []
    all_found: list[Dispatch] = []
    for executable in manifest.executables:
        if executable.dispatches is None:
            continue
        found, kernels = dispatches(folder / executable.dispatches), kernel_figures.read(folder / executable.dispatches)
        rows += [row(executable, one, kernel_figures.of_dispatch(kernels, one.name), chosen, by_name) for one in found]
        all_found += found
    return MatchReport(manifest_key=manifest.key, target=manifest.target, dispatches=tuple(rows)), all_found


def row(executable: Executable, found: Dispatch, kernel: Kernel | None, chosen: Target, records: dict[str, TuningRecord]) -> DispatchMatch:
    """One dispatch as the report has it. A record that is not among `records` (a hand-written spec's) has no evidence."""
    units = chosen.chip.compute_units if chosen.chip else None
    record = records.get(found.tuned_by or "")
    return DispatchMatch(
        executable=executable.path, dispatch=found.name, kind=found.kind, name=found.match.name if found.match else _name(found),
        shape=found.shape, types=found.types, flops=found.flops, matrix_flops=found.matrix_flops, bytes=found.bytes, calls=found.calls,
        calls_by_entry_point=found.calls_by_entry_point, dynamic=found.dynamic, record=found.tuned_by,
        evidence=record.evidence if record else None, configuration=found.configuration,
        static=kernel_figures.static_figures(kernel, chosen.architecture, found.workgroups, units) if kernel else None,
        roofline_us=roofline_us(found, chosen.chip), source_sha256=found.source_sha256)


def _name(found: Dispatch) -> str:
    return "_".join(part for part in (found.kind, "x".join(map(str, found.shape)), "x".join(found.types[:3])) if part)

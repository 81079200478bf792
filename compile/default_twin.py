"""The kernel that a dispatch would have without its record: compiled alone, so that a static record is judged by two builds of one compiler."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from compile import compiler, dumps, kernel_figures, record_check, tune_program
from compile.compiler import Task
from compile.dispatch_ir import dispatches
from compile.flags import flags
from compile.match_report import DispatchMatch
from compile.target import Target


def judged(rows: Sequence[DispatchMatch], zips: dict[str, Path], chosen: Target) -> list[DispatchMatch]:
    """`rows` with `gains` of those that a static record tuned; `zips` holds the dumps by executable. A few seconds for each record.

    CompileError when a dispatch does not compile by itself.
    """
    found: dict[str, dict[str, str]] = {}  # equal dispatches are compiled once
    for one in rows:
        if one.evidence == "static" and one.source_sha256 not in found:
            found[one.source_sha256] = record_check.static_gain(twin(one, zips[one.executable], chosen), one)
    return [dataclasses.replace(one, gains=found[one.source_sha256]) if one.evidence == "static" else one for one in rows]


def twin(one: DispatchMatch, zip_path: Path, chosen: Target) -> DispatchMatch:
    """`one` as the compiler configures it by itself."""
    text = tune_program.stripped(dumps.read(zip_path, f"benchmark/{one.dispatch}.mlir").decode())
    with tempfile.TemporaryDirectory(prefix="ireeperf-twin-") as place:
        folder = Path(place)
        (folder / "program.mlir").write_text(text)
        # the chip of the partition stands in the dump: no second phase
        task = Task(label=f"{one.dispatch} without its record", mlir=folder / "program.mlir", flags=tuple(flags(chosen, None)),
                    folder=folder / "twin", name="twin", log=folder / "failed.log", dispatches=True)
        for done, _ in compiler.compile_all([task], 1):
            [made] = dispatches(done.folder / f"twin{dumps.SUFFIX}")
            kernel = kernel_figures.of_dispatch(kernel_figures.read(done.folder / f"twin{dumps.SUFFIX}"), made.name)
            static = kernel_figures.static_figures(kernel, chosen.architecture, made.workgroups,
                                                   chosen.chip.compute_units if chosen.chip else None) if kernel else None
            return dataclasses.replace(one, configuration=made.configuration, static=static, record=None, evidence=None)
    raise AssertionError("compile_all yields its task or raises")

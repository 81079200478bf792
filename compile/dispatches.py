"""What a build's dispatches are, and how well their kernels use the target: python -m compile.dispatches MANIFEST

Sorted by share of the roofline time of a batch: what a tuned kernel can gain most from comes first. Reads the build's
match_report.json, or makes it from the dumps beside the executables; --against lists what another build chose differently.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compile import dispatch_page, manifest, match_report, match_summary, reporting
from compile.dispatch_table import COLUMNS, cells, differing, order
from compile.manifest import Manifest
from compile.match_report import MatchReport
from compile.match_summary import MATRIX_BAR, Summary
from ireeperf import document
from ireeperf.errors import ConfigError, exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchesSettings:
    """The command line."""

    manifest: Path
    html: Path | None
    top: int
    against: Path | None


def parse(argv: Sequence[str] | None = None) -> DispatchesSettings:
    parser = argparse.ArgumentParser(prog="compile.dispatches", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path, help="manifest.json, or the build folder that holds it")
    parser.add_argument("--html", type=Path, help="write a page with every dispatch to this file")
    parser.add_argument("--top", type=int, default=20, help="rows of the table (default 20)")
    parser.add_argument("--against", type=Path, metavar="MANIFEST", help="another build: list the dispatches it configured differently")
    settings = DispatchesSettings(**vars(parser.parse_args(argv)))
    if settings.top < 1:
        raise ConfigError(f"--top is {settings.top}; at least 1")
    return settings


def load(path: Path) -> tuple[Manifest, MatchReport]:
    """A build's manifest and match report; ConfigError when it has neither a report nor dumps to make one from."""
    build, folder = manifest.read(path), path if path.is_dir() else path.parent
    if (folder / match_report.NAME).is_file():
        report = match_report.read(folder / match_report.NAME)
        if report.manifest_key == build.key:
            return build, report
    report, _ = reporting.build_report(folder, build, ())
    if not report.dispatches:
        raise ConfigError(f"{folder} has no {match_report.NAME} and no dumps of its dispatches; compile again with ./compile/precompile.py")
    return build, report


def lines(summary: Summary) -> list[str]:
    """The summary in words."""
    shares = ", ".join(f"{name} {100 * flops / (summary.flops or 1):.1f} %" for name, flops in summary.flops_by_class.items())
    told = [f"batch of {summary.batch_size}: {summary.dispatches} dispatches, {summary.launches} launches, {summary.flops / 1e12:.1f} TFLOP ({shares})"]
    for name, gains in summary.static.items():
        improved = ", ".join(f"{figure} {text}" for figure, text in gains.items())
        told.append(f"static record {name} " + (f"improves {improved}" if gains else "does not count: it gains nothing over the default"))
    if summary.fill is not None:
        told.append(f"fill of the compute units, weighted by FLOPs: {summary.fill:.3f}")
    if summary.by_instruction:
        told.append("matrix operations by what their instructions multiply: " + ", ".join(
            f"{name} {100 * share:.2f} % of FLOPs ({kernels} dispatches)" for name, (kernels, share) in summary.by_instruction.items()))
    told.append(f"matrix operations without matrix instructions: {len(summary.without_matrix)}, {100 * summary.without_matrix_share:.3f} % of FLOPs "
                f"(bar {100 * MATRIX_BAR:.1f} %){_names(summary.without_matrix)}")
    if summary.unread:
        told.append(f"matrix operations without assembly to read, so not among those: {summary.unread}")
    told.append(f"kernels that spill: {len(summary.spilling)}{_names(summary.spilling)}")
    if summary.roofline_seconds is not None:
        beside = f"; AMD measured {summary.measured_seconds:.2f} s there with int8 and FP8" if summary.measured_seconds else ""
        told.append(f"roofline sum: {summary.roofline_seconds:.2f} s a batch, an estimate of the least it can take, not a measurement{beside}")
    return told


def _names(rows: Sequence[match_report.DispatchMatch]) -> str:
    return "".join(f"\n    {one.name} ({one.executable}, {one.flops / 1e9:.3g} GFLOP)" for one in rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows under their headings, columns as wide as they need."""
    shown = [COLUMNS, *rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in shown)


def main() -> int:
    settings = parse()
    build, report = load(settings.manifest)
    sizes = [executable.batch_size for executable in build.executables if executable.module != "vae"]
    batch_size = max(sizes, default=1)
    print(f"dispatches of {settings.manifest} target {report.target} compiler {build.compiler_version} batch size {batch_size} "
          f"top {settings.top}", flush=True)
    ordered = order(report, match_summary.times(report, build, batch_size))
    print(table([cells(one, share, runs) for one, share, runs in ordered[:settings.top]]))
    summary = match_summary.summarize(report, build, batch_size)
    print("\n".join(lines(summary)))
    changed = []
    if settings.against is not None:
        other, other_report = load(settings.against)
        changed = differing(report, other_report)
        print(f"against {settings.against} ({other.target}): {len(changed)} of {len(report.dispatches)} dispatches differ")
        print("\n".join(text for text, _ in changed[:settings.top]))
    if settings.html is not None:
        document.write_text(settings.html, dispatch_page.render(report, ordered, lines(summary), [text for text, _ in changed]))
    result = {"target": report.target, "batch_size": batch_size, "dispatches": summary.dispatches, "launches": summary.launches,
              "flops": summary.flops, "flops_by_class": summary.flops_by_class, "without_matrix_share": summary.without_matrix_share,
              "spilling": len(summary.spilling), "roofline_seconds": summary.roofline_seconds, "differ": len(changed)}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

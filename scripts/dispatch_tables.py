"""Tables of docs/dispatches, one file per config and target, and their overview: python -m scripts.dispatch_tables MANIFEST...

Nothing is timed: everything is read off what the compiler left beside the executables. Seconds are wall time of each compile, as the
manifest has them; "cached" where this build did not compile. In the overview the rows of other builds stay as they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compile import dispatches, match_summary, memory_plan
from compile.dispatch_table import COLUMNS, cells, order
from compile.manifest import Manifest
from compile.match_report import DispatchMatch
from ireeperf import document
from ireeperf.errors import ConfigError, exit_code

ROOT = Path(__file__).resolve().parents[1]
OVERVIEW = ROOT / "docs" / "DISPATCHES.md"
OVERVIEW_COLUMNS = ("", "TFLOP", "matrix instructions: dispatches, of FLOPs", "without, of FLOPs", "spill", "tuned by records, of FLOPs", "fill",
                    "roofline sum", "AMD", "memory of partition", "compile s: CLIP, UNet, VAE")
_INSTRUCTIONS = {"i8": "int8", "fp8": "FP8", "f16": "FP16", "f32": "FP32"}
_KINDS = ("attention", "convolution", "contraction", "reduction", "elementwise", "copy", "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """The command line."""

    manifests: list[Path]
    output: Path
    overview: Path


def parse(argv: Sequence[str] | None = None) -> TableSettings:
    parser = argparse.ArgumentParser(prog="scripts.dispatch_tables", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("manifests", type=Path, nargs="+", metavar="MANIFEST", help="builds of compile/precompile.py")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "dispatches", help="folder (default docs/dispatches)")
    parser.add_argument("--overview", type=Path, default=OVERVIEW, help="file whose table of builds gets a row for each (default docs/DISPATCHES.md)")
    return TableSettings(**vars(parser.parse_args(argv)))


def markdown(path: Path) -> tuple[str, str]:
    """File name and text for one build."""
    build, report = dispatches.load(path)
    folder = path if path.is_dir() else path.parent
    batch_size = max((one.batch_size for one in build.executables if one.module != "vae"), default=1)
    summary = match_summary.summarize(report, build, batch_size)
    ordered = order(report, match_summary.times(report, build, batch_size))
    config = Path(build.model_json).stem
    text = [f"# Dispatches of {config} on {report.target}", "",
            f"Compiler {build.compiler_version}, {build.created_utc[:10]}. Written by `scripts/dispatch_tables.py`; nothing here was timed.", "",
            *(f"- {line.replace(chr(10) + '    ', chr(10) + '  - ')}" for line in dispatches.lines(summary)), "",
            "## By kind", "", *by_kind(ordered), "", "## Executables", "", *by_executable(build, folder), "",
            "## All dispatches", "", *rows(COLUMNS, [cells(*row) for row in ordered])]
    return f"{config}-{report.target}.md", "\n".join(text) + "\n"


def overview_row(path: Path) -> str:
    """One build in a line: what its table file says in all."""
    build, report = dispatches.load(path)
    folder = path if path.is_dir() else path.parent
    batch_size = max((one.batch_size for one in build.executables if one.module != "vae"), default=1)
    found, config = match_summary.summarize(report, build, batch_size), Path(build.model_json).stem
    made = memory_plan.read(folder) if (folder / memory_plan.NAME).is_file() else None
    instructions = [f"{_INSTRUCTIONS.get(name, name)} {kernels}, {100 * share:.1f} %" for name, (kernels, share) in found.by_instruction.items()
                    if name != "none"]
    tuned = [f"{name} {100 * flops / found.flops:.1f} %" for name, flops in found.flops_by_class.items() if flops and name != "default"]
    seconds = ", ".join(f"{one.seconds:.0f}" if one.seconds else "cached" for one in build.executables)
    memory = "-" if made is None else f"{memory_plan.gib(made.bytes)} GiB"
    if made is not None and made.partition_bytes:
        memory = memory.replace(" GiB", f" of {memory_plan.gib(made.partition_bytes)} GiB")
    return rows([], [[
        f"[{config.removeprefix('sdxl_')} {report.target}](dispatches/{config}-{report.target}.md)", f"{found.flops / 1e12:,.0f}",
        ", ".join(instructions) or "none", f"{len(found.without_matrix)}, {100 * found.without_matrix_share:.3f} %", str(len(found.spilling)),
        ", ".join(tuned) or "none", "-" if found.fill is None else f"{found.fill:.3f}", _told(found.roofline_seconds), _told(found.measured_seconds),
        memory, seconds]])[2]


def _told(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"


def with_rows(text: str, fresh: Sequence[str]) -> str:
    """`text` whose table of OVERVIEW_COLUMNS has the rows `fresh`, each instead of the one that begins alike; ConfigError without such a table."""
    head = rows(OVERVIEW_COLUMNS, [])[0]
    before, found, rest = text.partition(head + "\n")
    if not found:
        raise ConfigError(f"the overview has no table that begins with {head!r}; put that line where the table is to stand")
    table, after = [], rest.splitlines(keepends=True)
    while after and after[0].startswith("|"):
        table.append(after.pop(0).rstrip("\n"))
    kept = {line.split("|")[1]: line for line in [*table[1:], *fresh]}
    return before + "\n".join(rows(OVERVIEW_COLUMNS, []) + [kept[name] for name in sorted(kept, key=_place)]) + "\n" + "".join(after)


def _place(name: str) -> tuple[str, str, int]:
    """By target, precision and batch size."""
    config, target = name.split("](")[0].strip(" [").split()
    precision, _, size = config.rpartition("_bs")
    return target, precision, int(size) if size.isdigit() else 0


def by_kind(ordered: Sequence[tuple[DispatchMatch, float, int]]) -> list[str]:
    """Dispatches, launches, FLOPs and share of the roofline sum by kind."""
    table = []
    for kind in _KINDS:
        found = [row for row in ordered if row[0].kind == kind]
        if found:
            table.append([kind, str(len(found)), str(sum(runs for _, _, runs in found)), f"{sum(one.flops * runs for one, _, runs in found) / 1e12:.2f}",
                          f"{100 * sum(share for _, share, _ in found):.1f}"])
    return rows(("kind", "dispatches", "launches", "TFLOP", "roofline %"), table)


def by_executable(build: Manifest, folder: Path) -> list[str]:
    """Memory of each executable, of all of them on the partition, and compile time."""
    made = memory_plan.read(folder) if (folder / memory_plan.NAME).is_file() else None
    resident = {(one.module, one.batch_size): one for one in made.executables} if made else {}
    table = []
    for one in build.executables:
        takes = resident.get((one.module, one.batch_size))
        memory = [memory_plan.gib(takes.weight_bytes), f"{takes.transient_bytes / 2**20:.0f}"] if takes else ["-", "-"]
        table.append([one.path, str(one.batch_size), *memory, f"{one.seconds:.0f}" if one.seconds else "cached"])
    told = rows(("executable", "batch size", "weights GiB", "transient MiB", "compile s"), table)
    return [*told, "", f"M{made.line().removeprefix('m')}."] if made else told


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in body)]


def main() -> int:
    settings = parse()
    print(f"dispatch tables of {', '.join(map(str, settings.manifests))} to {settings.output}", flush=True)
    written, overview = [], settings.overview.read_text()
    for path in settings.manifests:
        name, text = markdown(path)
        document.write_text(settings.output / name, text)
        overview = with_rows(overview, [overview_row(path)])
        written.append(name)
    document.write_text(settings.overview, overview)
    print(json.dumps({"written": written}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

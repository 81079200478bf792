"""AMD's tuning specs of MLPerf v5.1 held against our graphs: python -m scripts.amd_specs OLD.mlir... --build STEM CONFIGURED ASSEMBLY

Ports every matcher (specs/port.py), fits it to the dispatches of each build, keeps what compiles without spills as records in
specs/<target>/STEM/, and writes docs/AMD_SPECS.md: one row a matcher. CONFIGURED is a folder of configured_*.mlir of a compile that
took all fitting records; ASSEMBLY has a folder with the .rocmasm of each tuned dispatch (dispatch_12), as `iree-compile
--compile-mode=hal-executable --iree-hal-dump-executable-intermediates-to` leaves it of one configured dump. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compile import dispatch_ir, kernel_figures
from ireeperf import document
from ireeperf.errors import ConfigError, exit_code
from specs import port, toml_text
from specs.match import Match
from specs.port import Ported
from specs.record import TuningRecord

ROOT = Path(__file__).resolve().parents[1]
_EXPORT = re.compile(r"hal\.executable\.export public @\"?([\w$.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdSpecsSettings:
    """The command line."""

    old: list[Path]
    build: list[list[str]]
    target: str
    date: str
    records: Path
    page: Path


@dataclass(slots=True)
class Build:
    """One build's operations, what the compiler made of each record, and who has which operation."""

    stem: str
    operations: tuple[Match, ...]
    faults: dict[str, str]  # record name: what its kernels do that they should not; absent: tuned nothing; empty: nothing
    taken: dict[Match, TuningRecord] = field(default_factory=dict)


def parse(argv: Sequence[str] | None = None) -> AmdSpecsSettings:
    parser = argparse.ArgumentParser(prog="scripts.amd_specs", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, nargs="+", metavar="OLD.mlir", help="AMD's files; of two matchers for one dispatch the first one stays")
    parser.add_argument("--build", nargs=3, action="append", required=True, metavar=("STEM", "CONFIGURED", "ASSEMBLY"), help="a build; repeatable")
    parser.add_argument("--target", default="mi325x-cpx", help="of the builds (default mi325x-cpx)")
    parser.add_argument("--date", required=True, help="YYYY-MM-DD, for the records")
    parser.add_argument("--records", type=Path, default=ROOT / "specs", help="where records go (default specs)")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "AMD_SPECS.md", help="the table (default docs/AMD_SPECS.md)")
    return AmdSpecsSettings(**vars(parser.parse_args(argv)))


def read_build(stem: str, configured: Path, assembly: Path) -> Build:
    """Operations and figures of a build; ConfigError when the folder holds no dumps."""
    operations: dict[Match, None] = {}
    faults: dict[str, str] = {}
    for path in sorted(configured.glob("*.mlir")):
        text = path.read_text()
        found = dispatch_ir.read(text, _EXPORT.search(text)[1])  # type: ignore[index]
        operations |= dict.fromkeys(one for one in found.matches if one.kind != "reduction")
        if found.tuned_by:
            fault = _fault(assembly / path.stem.split("async_")[-1])
            faults[found.tuned_by] = "; ".join(filter(None, (faults.get(found.tuned_by, ""), fault)))
    if not operations:
        raise ConfigError(f"{configured} holds no configured dispatches; compile with --iree-hal-dump-executable-configurations-to")
    return Build(stem, tuple(operations), faults)


def _fault(folder: Path) -> str:
    kernels = [kernel for path in folder.glob("*.rocmasm") for kernel in kernel_figures.read_rocmasm(path.read_text()).values()]
    if not kernels:
        return f"{folder.name} does not pass code generation"
    spills, scratch = sum(one.vgpr_spills or 0 for one in kernels), sum(one.scratch_bytes or 0 for one in kernels)
    return f"{folder.name} spills {spills} VGPRs, {scratch} bytes of scratch" if spills or scratch else ""


def settle(one: Ported, build: Build) -> str:
    """What becomes of a matcher in a build, taking the operations that it is the first to fit."""
    if one.record is None:
        return f"not carried: {one.reason}"
    fitting = [(match, fitted) for match in build.operations if (fitted := port.fit(one.record, match))]
    new = [(match, fitted) for match, fitted in fitting if match not in build.taken]
    build.taken |= dict(new)
    if not fitting:
        return "no such dispatch"
    if not new:
        return f"covered by `{build.taken[fitting[0][0]].name}` ({build.taken[fitting[0][0]].source.rpartition(' ')[2]})"
    name = new[0][1].name
    if name not in build.faults:
        return f"dropped: `{name}` is not applied"
    moved = "" if new[0][1].match.maps == one.record.match.maps else ", loops reordered to our operand layout"
    return f"dropped: {build.faults[name]}" if build.faults[name] else f"`{name}`{moved}"


def page(files: dict[str, list[tuple[Ported, list[str]]]], builds: Sequence[Build], settings: AmdSpecsSettings) -> str:
    """docs/AMD_SPECS.md."""
    lines = ["# AMD's v5.1 tuning specs in our graphs", "",
             f"Written by `scripts/amd_specs.py` on {settings.date} for {settings.target}, IREE {port.COMPILER}: every matcher of the "
             f"{len(files)} files in nod-ai/SHARK-MLPERF, branch v5.1, `code/stable-diffusion-xl/SDXL_inference/specs/`. **Nothing here was timed**: "
             "a record is kept when it is applied and its kernels pass code generation with neither spills nor scratch. AMD tuned these tiles "
             "for the IREE of 2025 and for its own graphs; on another compiler they are a start for `python -m compile.tune`, not a result.", ""]
    for build in builds:
        kept = sum(name in build.faults and not build.faults[name] for name in {one.name for one in build.taken.values()})
        lines.append(f"- `{build.stem}`: {len(build.operations)} different contractions, convolutions and attentions, {len(build.taken)} fitted by a "
                     f"matcher, records kept: {kept}, in `specs/{settings.target}/{build.stem}/`")
    for name, rows in files.items():
        lines += ["", f"## {name}", "", "| matcher | line | " + " | ".join(build.stem for build in builds) + " |", "|---|---|" + "---|" * len(builds)]
        lines += [f"| `{one.matcher.name}` | {one.matcher.line} | {' | '.join(told)} |" for one, told in rows]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    print(f"scripts.amd_specs {settings}")
    builds = [read_build(stem, Path(configured), Path(assembly)) for stem, configured, assembly in settings.build]
    files: dict[str, list[tuple[Ported, list[str]]]] = {}
    for path in settings.old:
        found = port.port(path.read_text(), settings.target, f"SHARK-MLPERF v5.1 {path.name}", settings.date)
        files[path.name] = [(one, [settle(one, build) for build in builds]) for one in found]
    written = [toml_text.save(record, settings.records / settings.target / build.stem) for build in builds
               for record in build.taken.values() if build.faults.get(record.name) == ""]
    document.write_text(settings.page, page(files, builds, settings))
    print(json.dumps({"matchers": sum(map(len, files.values())), "records": len(set(written)), "page": str(settings.page)}))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))

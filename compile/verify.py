"""Execute the gfx942 kernels of a build on an ISA emulator and compare them with a float64 reference of the same IR.

    python -m compile.verify build/<key> --emulator PATH
    python -m compile.verify build/<key> --emulator PATH --dispatch 'attention|conv' --workgroups 4 --budget 20m
    python -m compile.verify build/<key> --emulator PATH --records specs/mi325x-cpx/sdxl_fp16_bs2

Every distinct dispatch runs on sampled workgroups (first, last, ends of the grid, random) in both wave orders. The verdicts go into
match_report.json, and into verification.json, from which a second run continues; with --records also into the records that tuned them.
docs/EMULATOR.md: what PATH is, and what this cannot see: timing, hazards beyond s_waitcnt, orders of waves other than two.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compile import dispatch_ir, dumps, manifest, match_report, verify_build, verify_records
from ireeperf import document
from ireeperf.errors import ConfigError, exit_code

_BLIND = "not seen: timing, hazards other than missing waits, wave orders other than two, workgroups other than the sampled, other inputs"
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """What to verify, how thoroughly, how long."""

    manifest: Path
    emulator: Path
    dispatch: str
    executable: str
    workgroups: int
    budget: float  # seconds
    jobs: int
    timeout: float  # seconds
    records: Path | None


def parse(argv: Sequence[str] | None = None) -> VerifySettings:
    """Command line to settings."""
    parser = argparse.ArgumentParser(prog="compile.verify", allow_abbrev=False, description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("manifest", type=Path, help="a build folder, its manifest.json, or a .dispatches.zip alone")
    parser.add_argument("--emulator", type=Path, required=True, help="the outside emulator's folder (docs/EMULATOR.md)")
    parser.add_argument("--dispatch", default="", help="regular expression: only dispatches whose name has a match")
    parser.add_argument("--executable", default="", help="regular expression: only executables whose path has a match")
    parser.add_argument("--workgroups", type=int, default=6, help="of each dispatch, in each wave order (default 6)")
    parser.add_argument("--budget", type=seconds, default=3600.0, help="stop starting dispatches after this long: 90s, 30m, 2h (default 1h)")
    parser.add_argument("--jobs", type=int, default=2, help="dispatches at a time (default 2)")
    parser.add_argument("--timeout", type=seconds, default=600.0, help="of one dispatch in one wave order (default 10m)")
    parser.add_argument("--records", type=Path, metavar="FOLDER",
                        help="only dispatches that a record of this folder tuned; the verdicts go into the records")
    settings = VerifySettings(**vars(parser.parse_args(argv)))
    if settings.workgroups < 1 or settings.jobs < 1:
        raise ConfigError(f"--workgroups {settings.workgroups} --jobs {settings.jobs}: both are at least 1")
    return settings


def seconds(text: str) -> float:
    """90s, 30m, 2h or a plain number of seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90s, 30m or 2h")
    return float(found[1]) * _UNITS[found[2] or "s"]


def zips(path: Path, wanted: str) -> dict[str, Path]:
    """Dumps by executable path; ConfigError when there are none."""
    if path.name.endswith(dumps.SUFFIX):
        return {path.name: path}
    build, folder = manifest.read(path), path if path.is_dir() else path.parent
    found = {one.path: folder / one.dispatches for one in build.executables if one.dispatches and re.search(wanted, one.path)}
    if not found:
        raise ConfigError(f"{path} has no dumps of its dispatches for {wanted or 'any executable'}; compile again with ./compile/precompile.py")
    return found


def main() -> int:
    settings = parse()
    print(json.dumps({"settings": document.to_dict(settings)}))
    found = {name: verify_build.items(path, dispatch_ir.dispatches(path)) for name, path in zips(settings.manifest, settings.executable).items()}
    every = [item for items in found.values() for item in items]
    tuned = verify_records.read(settings.records, settings.manifest, every) if settings.records else {}
    folder = settings.manifest if settings.manifest.is_dir() else settings.manifest.parent
    verifier = verify_build.Verifier(settings.emulator, folder / verify_build.NAME, settings.workgroups, settings.timeout)
    pattern = re.compile(settings.dispatch)
    wanted = sorted((item for item in every if pattern.search(item.dispatch.name) and (not tuned or item.dispatch.tuned_by in tuned)),
                    key=lambda item: -item.dispatch.flops * max(1, item.dispatch.calls))
    verifier.run(wanted, settings.jobs, time.monotonic() + settings.budget, lambda text: print(text, flush=True))
    report(folder, found, verifier)
    if settings.records:
        print("\n".join(verify_records.keep(settings.records, tuned, verifier, manifest.read(settings.manifest))))
    table([summary(name, items, verifier) for name, items in found.items()])
    verdicts = [verdict.verification.verdict for item in wanted if (verdict := verifier.of(item)) is not None]
    counts = {kind: verdicts.count(kind) for kind in ("right", "wrong", "not run")}
    print(json.dumps({"dispatches": len(wanted), **counts, "not reached": len(wanted) - len(verdicts),
                      "flops_right": round(share(every, verifier), 4)}))
    return 1 if counts["wrong"] else 0


def table(rows: list[list[str]]) -> None:
    """Print one row for each executable, and what no verdict says."""
    head = ["executable", "dispatches", "right", "wrong", "not run", "% of FLOPs right", "largest error / tolerance"]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print(_BLIND)


def share(items: list[verify_build.Item], verifier: verify_build.Verifier) -> float:
    """Share of the FLOPs of one call of every entry point that lies in dispatches found right."""
    flops = [(item.dispatch.flops * item.dispatch.calls, verifier.of(item)) for item in items]
    right = sum(count for count, verdict in flops if verdict is not None and verdict.verification.verdict == "right")
    return right / max(1, sum(count for count, _ in flops))


def summary(name: str, items: list[verify_build.Item], verifier: verify_build.Verifier) -> list[str]:
    """One row of the table."""
    verdicts = [verdict for item in items if (verdict := verifier.of(item)) is not None]
    kinds = [verdict.verification.verdict for verdict in verdicts]
    errors = [one.verification.max_error / one.verification.tolerance for one in verdicts
              if one.verification.verdict == "right" and one.verification.max_error is not None and one.verification.tolerance]
    return [name, str(len(items)), *(str(kinds.count(kind)) for kind in ("right", "wrong", "not run")), f"{100 * share(items, verifier):.2f}",
            f"{max(errors):.2f}" if errors else ""]


def report(folder: Path, found: dict[str, list[verify_build.Item]], verifier: verify_build.Verifier) -> None:
    """Put the verdicts into match_report.json where the build has one."""
    path = folder / match_report.NAME
    if not path.is_file():
        return
    verdicts = {(name, item.dispatch.name): verdict for name, items in found.items() for item in items
                if (verdict := verifier.of(item)) is not None}
    read = match_report.read(path)
    rows = tuple(replace(row, verification=verdicts[row.executable, row.dispatch].verification)
                 if (row.executable, row.dispatch) in verdicts else row for row in read.dispatches)
    document.write(replace(read, dispatches=rows), path)


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

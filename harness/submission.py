"""Build and check a submission tree.

    python -m harness.submission --runs RUN... --output TREE --division closed --submitter ORG --system ID \\
        --implementation NAME --system-file FILE.toml --mlcommons PATH
    python -m harness.submission --check TREE --checker PATH [--runs RUN...]

Building ends with our pre-flight, and with MLCommons' checker where --checker names it. Exit code 0: nothing found; 1: findings,
one a line; 2: the tree was not built. Runs that failed or are invalid are refused, and so are null
devices' unless --rehearsal builds a tree of submitter REHEARSAL.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import submission_check, submission_official, submission_origin, submission_tree
from harness.submission_finding import Finding
from harness.submission_limits import DIVISIONS, REHEARSER, TESTS
from harness.submission_official import OfficialVerdict
from harness.submission_tree import Submission
from ireeperf import document
from ireeperf.errors import ConfigError, exit_code

NEEDED = ("output", "submitter", "system", "implementation")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionSettings:
    """The command line."""

    check: Path | None
    runs: tuple[Path, ...]
    output: Path | None
    division: str
    submitter: str | None
    system: str | None
    implementation: str | None
    system_file: Path | None
    mlcommons: Path | None
    calibration: Path | None
    measurement: dict[str, str]
    checker: Path | None
    rehearsal: bool

    def __post_init__(self) -> None:
        building = [name for name in (*NEEDED, "system_file", "mlcommons", "calibration") if getattr(self, name) is not None]
        if self.check is not None and building:
            raise ConfigError(f"--check {self.check} builds nothing; leave --{building[0].replace('_', '-')} away")
        if self.check is None:
            absent = [name for name in NEEDED if getattr(self, name) is None] + ([] if self.runs else ["runs"])
            if absent:
                raise ConfigError(f"--{absent[0]} is missing; building a tree needs --runs, --{', --'.join(NEEDED)}")

    def submission(self) -> Submission:
        """What to build."""
        given = {name: getattr(self, name) for name in NEEDED}
        return Submission(division=self.division, runs=self.runs, system_file=self.system_file, mlcommons=self.mlcommons,
                          calibration=self.calibration, measurement=self.measurement, **given)


def parse(argv: Sequence[str] | None = None) -> SubmissionSettings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.submission", allow_abbrev=False,
                                     description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--check", type=Path, metavar="TREE", help="only check this tree")
    add("--runs", type=Path, nargs="+", default=[], metavar="RUN",
        help="run folders, or folders of them: of each scenario performance, accuracy and (closed) TEST01, TEST04; with --check: "
             "compare the tree with them")
    add("--output", type=Path, help="the tree, new or empty")
    add("--division", choices=DIVISIONS, default="open", help="default %(default)s")
    add("--submitter", help="organization: folder name, no spaces")
    add("--system", help="name of the system's folders and files")
    add("--implementation", help="name of the code's folder")
    add("--system-file", type=Path, help="TOML with what the machine cannot say of itself (harness/systems/)")
    add("--mlcommons", type=Path, help="checkout of mlcommons/inference at tag v5.1.1: judges the compliance runs")
    add("--calibration", type=Path, metavar="FILE.md", help="how a quantized build was calibrated")
    add("--measurement", action="append", default=[], metavar="KEY=VALUE",
        help="a key of the measurements file that the build does not say")
    add("--checker", type=Path, help="MLCommons' submission_checker.py, or the checkout: judges the tree after our "
                                     "pre-flight")
    add("--rehearsal", action="store_true",
        help=f"no submission: null devices and small pictures are accepted; builds for submitter {REHEARSER} in the open "
             "division only")
    given = vars(parser.parse_args(argv))
    pairs = [entry.partition("=") for entry in given["measurement"]]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise ConfigError(f"--measurement {wrong[0]!r} is not KEY=VALUE")
    return SubmissionSettings(**given | {"runs": tuple(given["runs"]),
                                         "measurement": {key: value for key, _, value in pairs}})


def build(settings: SubmissionSettings) -> Path:
    """The tree; says when compliance runs stay out of it."""
    submission = settings.submission()
    if not submission_tree.judged(submission):
        print(f"no --mlcommons: {' and '.join(TESTS)} are not judged and stay out of the tree, which the open division "
              "allows")
    return submission_tree.build(submission, null_runs=settings.rehearsal)


def report(tree: Path, findings: Sequence[Finding], official: OfficialVerdict | None) -> int:
    """Print findings and verdicts, one JSON line last; 0 when nothing was found."""
    for finding in findings:
        print(f"{finding.code}: {finding}")
    if official is not None:
        for error in official.errors:
            print(f"checker: {error}")
        print(f"MLCommons' checker: {official.summary}")
    accepted = not findings and (official is None or official.accepted)
    short = bool(findings) and all(finding.code in submission_check.SHORT for finding in findings)
    print(json.dumps({"tree": str(tree), "accepted": accepted, "only_too_short": short,
                      "findings": [document.to_dict(finding) for finding in findings],
                      "checker": None if official is None else official.summary}))
    return 0 if accepted else 1


def main() -> int:
    """0: accepted; 1: findings, or refused by MLCommons' checker."""
    settings = parse()
    print(f"harness.submission: {json.dumps(document.to_dict(settings))}", flush=True)
    tree = settings.check if settings.check is not None else build(settings)
    findings = submission_check.check(tree, rehearsal=settings.rehearsal)
    if settings.check is not None and settings.runs:
        findings += tuple(submission_origin.check(tree, settings.runs))
    official = submission_official.run(settings.checker, tree) if settings.checker else None
    return report(tree, findings, official)


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

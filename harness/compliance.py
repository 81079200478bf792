"""TEST01 and TEST04 judged by MLCommons' own scripts, unchanged, from a checkout of mlcommons/inference (tag v5.1.1).

    python -m harness.compliance --mlcommons PATH --performance RUN --accuracy RUN --test RUN [--unixmode]

The scripts lie in compliance/TEST01 and compliance/TEST04 and read log_parser.py from tools/submission. They start a shell
with unquoted paths, so they are run from a scratch folder, on links whose names hold no space.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import run_result
from harness.run_result import LOADGEN
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError, RunError, exit_code

TAG = "v5.1.1"
SECONDS = 4 * 3600.0  # --unixmode reads the whole accuracy log once for each of 128 answers
ACCURACY_LOG, DETAIL, SUMMARY = "mlperf_log_accuracy.json", "mlperf_log_detail.txt", "mlperf_log_summary.txt"
UNIXMODE_ANSWERS = 98  # --unixmode divides by (lines // 100): with fewer answers in the test's log it ends in ZeroDivisionError


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceSettings:
    """The command line."""

    mlcommons: Path
    performance: Path
    accuracy: Path | None
    test: Path
    unixmode: bool
    output: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the scripts said of one test run."""

    test: str
    accuracy_pass: bool | None  # None: TEST04 has no accuracy part
    performance_pass: bool
    files: dict[str, str]  # verify_accuracy.txt, verify_performance.txt

    @property
    def accepted(self) -> bool:
        """Whether nothing failed."""
        return self.performance_pass and self.accuracy_pass is not False


def script(mlcommons: Path, *parts: str) -> Path:
    """A file of the checkout; MissingFileError says where it comes from."""
    path = mlcommons.joinpath(*parts)
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; --mlcommons is a checkout of github.com/mlcommons/inference at tag "
                               f"{TAG}")
    return path


def judge(mlcommons: Path, test: str, *, performance: Path, run: Path, accuracy: Path | None = None,
          unixmode: bool = False) -> Verdict:
    """Run the scripts of `test` on LoadGen's logs: folders of the performance run, the test run and, for TEST01, the accuracy run.

    RunError when the scripts do not come to a verdict; a verdict of "failed" is returned, not raised.
    """
    verifier = script(mlcommons, "compliance", test, "run_verification.py")
    script(mlcommons, "tools", "submission", "log_parser.py")
    if test == "TEST01" and accuracy is None:
        raise ConfigError("TEST01 is judged against an accuracy run; name one")
    if " " in sys.executable:
        raise ConfigError(f"MLCommons' scripts start {sys.executable!r} through a shell, unquoted; use a path without spaces")
    with tempfile.TemporaryDirectory(prefix="ireeperf-compliance-") as name:
        scratch = Path(name)
        _link(performance / DETAIL, scratch / "results/performance/run_1" / DETAIL)
        _link(performance / SUMMARY, scratch / "results/performance/run_1" / SUMMARY)
        if accuracy is not None:
            _link(accuracy / ACCURACY_LOG, scratch / "results/accuracy" / ACCURACY_LOG)
        for log in (ACCURACY_LOG, DETAIL, SUMMARY):
            _link(run / log, scratch / "test" / log)
        _link(verifier.parent, scratch / "scripts")
        command = [sys.executable, "scripts/run_verification.py", "-r", "results", "-c", "test", "-o", "output"]
        said = _run(command + ["--unixmode"] * unixmode, scratch, mlcommons)
        files = {path.name: path.read_text() for path in sorted(scratch.glob("verify_*.txt"))}
    if f"{test} verification complete" not in said or not files:
        raise RunError(f"MLCommons' {test} scripts did not finish: {said[-500:]}")
    accuracy_said = files.get("verify_accuracy.txt")
    if accuracy_said is not None and "TEST PASS" not in accuracy_said and "TEST FAIL" not in accuracy_said:
        raise RunError(f"MLCommons' {test} accuracy script came to no verdict: {accuracy_said[-500:]}")
    return Verdict(test=test, files=files, performance_pass="TEST PASS" in files["verify_performance.txt"],
                   accuracy_pass=None if accuracy_said is None else "TEST PASS" in accuracy_said)


def _link(source: Path, target: Path) -> None:
    if not source.exists():
        raise RunError(f"{source} does not exist; give folders of runs that ended")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())


def _run(command: list[str], scratch: Path, mlcommons: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str((mlcommons / "tools" / "submission").resolve()),
                                "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=scratch, env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise RunError(f"{' '.join(command)} did not end in {SECONDS / 3600:g} h") from error
    return done.stdout


def parse(argv: Sequence[str] | None = None) -> ComplianceSettings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.compliance", allow_abbrev=False,
                                     description="Judge a TEST01 or TEST04 run by MLCommons' own scripts.")
    add = parser.add_argument
    add("--mlcommons", type=Path, required=True, help=f"checkout of mlcommons/inference at tag {TAG}")
    add("--performance", type=Path, required=True, help="folder of the performance run")
    add("--accuracy", type=Path, help="folder of the accuracy run (TEST01)")
    add("--test", type=Path, required=True, help="folder of the TEST01 or TEST04 run")
    add("--unixmode", action="store_true", help="TEST01: compare whole answers; without it only their first byte is compared")
    add("--output", type=Path, help="folder for verify_accuracy.txt and verify_performance.txt (default: only print)")
    return ComplianceSettings(**vars(parser.parse_args(argv)))


def main() -> int:
    """0 when the test passes, 1 when it fails."""
    settings = parse()
    print(f"harness.compliance: {json.dumps(document.to_dict(settings))}")
    result = run_result.read(settings.test)
    for folder in filter(None, (settings.performance, settings.accuracy, settings.test)):
        if (found := run_result.read(folder)).status != "valid" or found.scenario != result.scenario:
            raise RunError(f"{folder} is a {found.status} {found.scenario} run; {result.mode} of {result.scenario} needs "
                           "valid ones")
    if result.mode not in ("TEST01", "TEST04"):
        raise ConfigError(f"{settings.test} is a {result.mode} run; --test needs a run with --mode TEST01 or TEST04")
    verdict = judge(settings.mlcommons, result.mode, performance=settings.performance / LOADGEN, run=settings.test / LOADGEN,
                    accuracy=settings.accuracy / LOADGEN if settings.accuracy else None, unixmode=settings.unixmode)
    for name, text in verdict.files.items():
        print(f"--- {name}\n{text.rstrip()}")
        if settings.output:
            document.write_text(settings.output / name, text)
    print(json.dumps({"test": verdict.test, "scenario": result.scenario, "accuracy_pass": verdict.accuracy_pass,
                      "performance_pass": verdict.performance_pass, "passed": verdict.accepted, "null": result.is_null}))
    return 0 if verdict.accepted else 1


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

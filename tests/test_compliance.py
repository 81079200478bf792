"""harness.compliance: MLCommons' scripts on real LoadGen logs, and what TEST01's two modes see."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from harness import compliance
from harness.compliance import ACCURACY_LOG, DETAIL, SUMMARY
from harness.run_result import LOADGEN
from ireeperf.errors import ConfigError, MissingFileError, RunError
from tests import closed_fixture, mlcommons

ROOT = Path(__file__).resolve().parents[1]
FILES = mlcommons.FILES or Path("absent")


@pytest.fixture(scope="module")
def runs() -> Path:
    return closed_fixture.shared()[1]


def judge(runs: Path, test: str, *, scenario: str = "offline", run: Path | None = None, unixmode: bool = False) -> compliance.Verdict:
    return compliance.judge(FILES, test, performance=runs / f"{scenario}-performance" / LOADGEN,
                            run=run or runs / f"{scenario}-{test}" / LOADGEN, unixmode=unixmode,
                            accuracy=runs / f"{scenario}-accuracy" / LOADGEN if test == "TEST01" else None)


def changed(runs: Path, folder: Path, pixel: int) -> Path:
    """The TEST01 run with one byte of one answer changed."""
    target = shutil.copytree(runs / "offline-TEST01" / LOADGEN, folder / "test 01")  # a space: the scripts' shells must not see it
    lines = (target / ACCURACY_LOG).read_text().splitlines(keepends=True)
    head, digits = re.fullmatch(r'(.*"data" : ")(.*)', lines[40], re.DOTALL).groups()  # type: ignore[union-attr]
    byte = int(digits[2 * pixel:2 * pixel + 2], 16) ^ 1
    lines[40] = f"{head}{digits[:2 * pixel]}{byte:02X}{digits[2 * pixel + 2:]}"
    (target / ACCURACY_LOG).write_text("".join(lines))
    return target


@mlcommons.needed
@pytest.mark.parametrize("scenario", ["offline", "server"])
@pytest.mark.parametrize("test", ["TEST01", "TEST04"])
def test_the_recorded_runs_pass_and_the_recorded_verdicts_are_those_of_the_scripts(runs: Path, scenario: str, test: str) -> None:
    verdict = judge(runs, test, scenario=scenario)
    assert verdict.accepted and verdict.performance_pass and verdict.accuracy_pass is (True if test == "TEST01" else None)
    said = json.loads(closed_fixture.VERDICTS.read_text())[f"{scenario}-{test}"]

    def without_times(values: dict[str, object]) -> str:
        return re.sub(r"\[\d{4}-\d\d-\d\d [\d:,]+", "[", json.dumps(values))
    assert without_times(asdict(verdict)) == without_times(said)


@mlcommons.needed
@pytest.mark.parametrize("unixmode", [False, True])
def test_the_same_answers_pass_in_both_modes(runs: Path, unixmode: bool) -> None:
    verdict = judge(runs, "TEST01", unixmode=unixmode)
    assert verdict.accuracy_pass and "num_perf_log_data_mismatch = 0" in verdict.files["verify_accuracy.txt"]


@mlcommons.needed
@pytest.mark.parametrize(("pixel", "unixmode", "passes"), [(300, False, True), (300, True, False), (0, False, False)])
def test_a_pixel_away_from_the_corner_is_seen_in_unixmode_only(runs: Path, tmp_path: Path, pixel: int, unixmode: bool, passes: bool) -> None:
    """The default mode compares data[0], the red of the first pixel, and nothing else."""
    verdict = judge(runs, "TEST01", run=changed(runs, tmp_path, pixel), unixmode=unixmode)
    assert verdict.accuracy_pass is passes and verdict.performance_pass and verdict.accepted is passes
    assert f"num_perf_log_data_mismatch = {0 if passes else 1}\n" in verdict.files["verify_accuracy.txt"]


@mlcommons.needed
def test_a_slower_test01_and_a_faster_test04_fail(runs: Path, tmp_path: Path) -> None:
    for test, factor in (("TEST01", 0.85), ("TEST04", 1.2)):
        target = shutil.copytree(runs / f"offline-{test}" / LOADGEN, tmp_path / test)
        for name, pattern in ((DETAIL, r'("result_samples_per_second", "value": )([\d.]+)'), (SUMMARY, r"(Samples per second: )([\d.]+)")):
            content = (target / name).read_text()
            (target / name).write_text(re.sub(pattern, lambda m, f=factor: f"{m[1]}{float(m[2]) * f:.6g}", content))  # type: ignore[misc]
        verdict = judge(runs, test, run=target)
        assert not verdict.performance_pass and not verdict.accepted, test


@mlcommons.needed
def test_scripts_that_come_to_no_verdict_are_an_error(runs: Path, tmp_path: Path) -> None:
    """--unixmode divides by lines // 100: a log of a few answers ends in its traceback, which is no verdict."""
    target = shutil.copytree(runs / "offline-TEST01" / LOADGEN, tmp_path / "short")
    lines = (target / ACCURACY_LOG).read_text().splitlines(keepends=True)
    (target / ACCURACY_LOG).write_text("".join(lines[:3] + lines[-1:]))
    with pytest.raises(RunError, match=r"(?s)no verdict.*ZeroDivisionError"):
        judge(runs, "TEST01", run=target, unixmode=True)


def test_what_is_missing_is_named(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"--mlcommons is a checkout of github.com/mlcommons/inference at tag v5\.1\.1"):
        compliance.judge(tmp_path, "TEST01", performance=runs, run=runs)
    for name in ("compliance/TEST01/run_verification.py", "tools/submission/log_parser.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="judged against an accuracy run"):
        compliance.judge(tmp_path, "TEST01", performance=runs, run=runs)
    with pytest.raises(RunError, match="does not exist; give folders of runs that ended"):
        compliance.judge(tmp_path, "TEST01", performance=tmp_path / "no", run=runs, accuracy=runs)


@mlcommons.needed
def test_the_command(runs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.compliance", "--mlcommons", str(FILES), "--performance", str(runs / "server-performance"),
               "--accuracy", str(runs / "server-accuracy"), "--test", str(runs / "server-TEST01"), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"test": "TEST01", "scenario": "Server", "accuracy_pass": True,
                                                        "performance_pass": True, "passed": True, "null": True}
    assert "TEST PASS" in (tmp_path / "out/verify_accuracy.txt").read_text()
    done = subprocess.run([*command, "--test", str(runs / "server-performance")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "is a performance run" in done.stderr

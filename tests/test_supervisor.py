"""harness.supervisor: whatever ends a run's process, its folder gets a result that says so, and nothing of it lives on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness import run_result, unfinished
from harness.run_result import Interpreter, RunResult, Timing
from ireeperf import document
from tests.process_run import BOUND_S, gone, wait_until

ROOT = Path(__file__).resolve().parents[1]
RESULT = RunResult(
    run="run", scenario="Offline", mode="performance", status="failed", cause="nobody said why",
    started_utc="2026-11-24T00:00:00Z", model="sdxl-nano", manifest="m", manifest_key="0" * 64, sample_set="s",
    sample_set_digest="0" * 64, samples_issued=0, samples_completed=0, devices=("null://0",), batch_size=2, loadgen={},
    interpreter=Interpreter(version="3.11", free_threaded=False, gil_enabled=True),
    timing=Timing(wall=0.0, cpu=0.0, device_busy=0.0, host=0.0), versions={}, host={})

# A run in little: it begins its folder, says who it is, and ends as it was told to. `before`: before there is a folder.
PROGRAM = """
import os, signal, sys, time
from harness import supervisor

supervisor.PATIENCE_SECONDS, supervisor.AGAIN_SECONDS = 1, 0.2
how, when = sys.argv[1:]

def main():
    from pathlib import Path
    from harness import run_result, unfinished
    from ireeperf import document
    from ireeperf.errors import RunError
    folder, result = Path("run"), document.read(run_result.RunResult, Path("as_begun.json"))
    if when != "before":
        folder.mkdir()
        unfinished.begin(folder, result)
        supervisor.announce(folder)
    if when == "after":
        document.write(result, folder / "result.json")
        unfinished.end(folder)
    if how == "deaf":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    print(os.getpid(), os.getsid(0), flush=True)
    if how.isdigit():
        return int(how)
    if how == "error":
        raise RunError("the disk is full")
    if how in ("wait", "deaf"):
        time.sleep(60)
    from tests.faulty_engine import misbehave
    misbehave(how)

code = supervisor.supervised(main)
heavy = sorted(sys.modules.keys() & {"numpy", "mlperf_loadgen", "iree", "dataclasses", "json", "ctypes", "subprocess"})
print("parent of a run that ended well", *heavy) if code == 0 else None
raise SystemExit(code)
"""


def start(folder: Path, how: str, when: str = "during") -> subprocess.Popen[str]:
    document.write(RESULT, folder / "as_begun.json")
    return subprocess.Popen([sys.executable, "-W", "error", "-c", PROGRAM, how, when], cwd=folder,
                            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(folder: Path, how: str, when: str = "during") -> tuple[int, list[str], str]:
    """Exit code, error lines and stdout."""
    process = start(folder, how, when)
    out, err = process.communicate(timeout=BOUND_S)
    return process.returncode, [line for line in err.splitlines() if line.startswith("error: ")], out


@contextmanager
def waiting(folder: Path, how: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A run that goes on, and its process id."""
    process = start(folder, how)
    assert process.stdout is not None
    try:
        run, session = map(int, process.stdout.readline().split())
        assert run == session != process.pid  # a terminal's Ctrl-C reaches the parent only
        yield process, run
        wait_until(lambda: gone(run))
    finally:
        process.kill()
        process.communicate(timeout=BOUND_S)


@pytest.mark.parametrize("code", [0, 1])
def test_a_run_that_ends_well_has_its_own_exit_code(tmp_path: Path, code: int) -> None:
    found, errors, out = ended(tmp_path, str(code), "after")
    assert (found, errors) == (code, [])
    if code == 0:
        assert out.splitlines()[-1] == "parent of a run that ended well", "the parent imported what it does not need"


def test_an_error_is_the_run_s_own_to_tell(tmp_path: Path) -> None:
    assert ended(tmp_path, "error", "after")[:2] == (2, ["error: the disk is full"])
    assert ended(tmp_path, "error", "before")[:2] == (2, ["error: the disk is full"])


@pytest.mark.parametrize(("how", "words"), [
    ("kill", "was killed by SIGKILL (kill -9, or the kernel when memory ran out)"), ("segfault", "was killed by SIGSEGV"),
    ("abort", "was killed by SIGABRT"), ("exit", "exited with code 137: killed when memory ran out? without a result"),
    ("3", "exited with code 3 without a result")])
def test_a_run_that_dies_gets_a_failed_result_with_the_cause(tmp_path: Path, how: str, words: str) -> None:
    code, errors, _ = ended(tmp_path, how)
    assert (code, errors) == (2, [f"error: the run's process {words}; see {tmp_path}/run/result.json"])
    result = run_result.read(tmp_path / "run")
    assert (result.status, result.cause) == ("failed", f"the run's process {words}")
    assert result.timing.wall > 0 and result.timing.cpu > 0
    assert os.listdir(tmp_path / "run") == ["result.json"]


def test_a_run_that_dies_before_it_has_a_folder_is_an_error_line(tmp_path: Path) -> None:
    assert ended(tmp_path, "kill", "before")[:2] == (2, [
        "error: the run's process was killed by SIGKILL (kill -9, or the kernel when memory ran out), before it had a run folder"])
    assert not (tmp_path / "run").exists()


def test_a_result_that_was_written_before_the_death_stands(tmp_path: Path) -> None:
    code, errors, _ = ended(tmp_path, "segfault", "after")
    line = f"error: the run's process was killed by SIGSEGV, after it had written {tmp_path}/run/result.json, which stands"
    assert (code, errors) == (2, [line])
    assert run_result.read(tmp_path / "run").cause == "nobody said why"


@pytest.mark.parametrize(("number", "code", "cause"), [
    (signal.SIGINT, 130, None), (signal.SIGTERM, 2, "terminated (SIGTERM); the run's process was killed by SIGTERM"),
    (signal.SIGHUP, 2, "terminated (SIGHUP); the run's process was killed by SIGTERM")])
def test_signals_are_passed_on(tmp_path: Path, number: int, code: int, cause: str | None) -> None:
    with waiting(tmp_path, "wait") as (process, _):
        process.send_signal(number)
        assert process.wait(BOUND_S) == code
    assert cause is None or run_result.read(tmp_path / "run").cause == cause


@pytest.mark.parametrize("again", [True, False])
def test_a_run_that_does_not_heed_a_signal_is_killed(tmp_path: Path, again: bool) -> None:
    """At the second signal, or after PATIENCE_SECONDS."""
    with waiting(tmp_path, "deaf") as (process, _):
        process.send_signal(signal.SIGINT)
        if again:
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
        assert process.wait(BOUND_S) == 130
    assert "interrupted (Ctrl-C); the run's process was killed by SIGKILL" in str(run_result.read(tmp_path / "run").cause)


def test_a_signal_that_comes_twice_at_once_is_one(tmp_path: Path) -> None:
    """As from `timeout`, which signals its child and then its group."""
    with waiting(tmp_path, "wait") as (process, _):
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND_S) == 2
    assert str(run_result.read(tmp_path / "run").cause).endswith("was killed by SIGTERM")


def test_a_run_ends_with_its_parent_and_running_json_tells(tmp_path: Path) -> None:
    with waiting(tmp_path, "deaf") as (process, run):
        process.kill()
        process.wait(BOUND_S)
        wait_until(lambda: gone(run))
    assert unfinished.read(tmp_path / "run") == RESULT and not (tmp_path / "run" / run_result.NAME).exists()


def test_a_process_with_threads_is_not_forked(tmp_path: Path) -> None:
    program = ("import threading, time\nthreading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n"
               "from harness.supervisor import supervised\nsupervised(lambda: 0)")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          text=True, capture_output=True, check=False, timeout=BOUND_S)
    assert done.returncode == 1 and "supervised() was called with 2 threads running" in done.stderr


def test_the_last_word_takes_no_room_on_the_disk(tmp_path: Path) -> None:
    """It is written over running.json, so it also fits when the disk is full."""
    unfinished.begin(tmp_path, RESULT)
    before = (tmp_path / unfinished.RUNNING).stat()
    lost = {f"hip://{i}": "its process, which drives 7 other devices, was killed by SIGSEGV" for i in range(64)}
    unfinished.fail(tmp_path, replace(RESULT, lost=lost, devices=tuple(lost)))
    after = (tmp_path / run_result.NAME).stat()
    assert after.st_ino == before.st_ino and after.st_size < before.st_size and os.listdir(tmp_path) == [run_result.NAME]
    assert run_result.read(tmp_path).lost == lost

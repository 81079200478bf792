"""Real LoadGen runs with `--isolation process`, under their supervisor: each fault from outside ends as it should, in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import run_result, unfinished
from harness.run_result import LOADGEN
from runtime.null_device import tags
from tests import tiny_build
from tests.process_run import BOUND_S, gone, wait_until

pytestmark = pytest.mark.loadgen
ROOT = Path(__file__).resolve().parents[1]
# what 4 devices draw in 20 ms a batch of 4, so that the query is long enough however slow a warm-up was on a busy machine
CONF = """sdxl-nano.Offline.target_qps = 800
sdxl-nano.*.min_duration = 1000
sdxl-nano.*.min_query_count = 100
sdxl-nano.Server.target_qps = 60
sdxl-nano.Server.target_latency = 5000
sdxl-nano.Server.target_latency_percentile = 90
"""
TIMES = 'schema_version = 1\ndevice = "null"\nevidence = "assumed"\nsource = "test"\n[seconds]\n2 = 0.02\n4 = 0.02\n'
FREE_THREADED = ROOT / ".venv-3.13t" / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a null build, samples, user.conf for 1 s and service times of 20 ms."""
    tiny_build.write(tmp_path, compiled=False)
    (tmp_path / "user.conf").write_text(CONF)
    (tmp_path / "times.toml").write_text(TIMES)
    return tmp_path


def start(folder: Path, *argv: str, scenario: str = "offline", python: str = sys.executable) -> subprocess.Popen[str]:
    device = () if "--device" in argv else ("--device", "null", "--service-times", "times.toml")
    command = [python, "-m", f"harness.{scenario}", "--user-conf", "user.conf", "--output", "run", *device, *argv]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=os.environ | {"PYTHONPATH": str(ROOT)} | ({} if python == sys.executable else {"PYTHON_GIL": "0"}))


@contextmanager
def underway(folder: Path, *argv: str, scenario: str = "offline") -> Iterator[subprocess.Popen[str]]:
    """A run whose first query is out; it ends with the test, and leaves no process."""
    process = start(folder, *argv, scenario=scenario)
    assert process.stderr is not None
    try:
        assert any("warm-up batch" in line for line in process.stderr), process.stdout
        time.sleep(0.3)
        began = descendants(process.pid)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=BOUND_S)
    wait_until(lambda: all(map(gone, began)))


def descendants(process: int) -> list[int]:
    """Process ids below `process`."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = [process]
    for ancestor in found:  # grows while it is read
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def device_children(process: int) -> list[int]:
    """Children that drive devices, below `process`."""
    return [child for child in descendants(process) if b"device_child" in Path(f"/proc/{child}/cmdline").read_bytes()]


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit code and error lines."""
    _, err = process.communicate(timeout=BOUND_S)
    assert "Traceback" not in err, err
    return process.returncode, [line for line in err.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_a_performance_run_in_groups_of_two_is_valid(folder: Path, scenario: str) -> None:
    argv = ("--isolation", "process", "--devices", "4", "--group-size", "2")
    with underway(folder, *argv, scenario=scenario) as process:
        children = device_children(process.pid)
        assert len(children) == 2
        assert not any("loadgen" in Path(f"/proc/{child}/maps").read_text() for child in children)
        code, errors = ended(process)
    assert (code, errors) == (0, [])
    result = run_result.read(folder / "run")
    assert (result.status, result.isolation, result.lost) == ("valid", "process", {})
    assert result.samples_completed == result.samples_issued > 0 and result.loadgen["errors"] == []
    assert 0 < result.timing.host <= result.timing.cpu
    assert {batch.device for batch in run_result.read_timeline(folder / "run").batches} == {f"null://{i}" for i in range(4)}
    assert not (folder / "run" / unfinished.RUNNING).exists()


def test_every_image_reaches_the_accuracy_log_through_shared_memory(folder: Path) -> None:
    process = start(folder, "--isolation", "process", "--devices", "3", "--mode", "accuracy")
    assert ended(process) == (0, [])
    log = json.loads((folder / "run" / LOADGEN / "mlperf_log_accuracy.json").read_text())
    assert sorted(entry["qsl_idx"] for entry in log) == list(range(40))
    for entry in log:
        assert bytes.fromhex(entry["data"]) == tags([entry["qsl_idx"]], (16, 16, 3)).tobytes()


def test_real_devices_in_children_draw_the_same_images(folder: Path) -> None:
    process = start(folder, "--device", "iree", "--manifest", str(tiny_build.shared()), "--isolation", "process", "--devices", "2",
                    "--mode", "accuracy")
    assert ended(process) == (0, [])
    log = json.loads((folder / "run" / LOADGEN / "mlperf_log_accuracy.json").read_text())
    assert sorted(entry["qsl_idx"] for entry in log) == list(range(40))
    for entry in log:
        assert bytes.fromhex(entry["data"]) == bytes(tiny_build.expected([entry["qsl_idx"]])) * 16 * 16 * 3
    timing = run_result.read(folder / "run").timing
    assert 0 < timing.host < timing.cpu  # executables' CPU time in the children is told from the rest


def test_a_child_that_is_killed_fails_the_run_by_name(folder: Path) -> None:
    with underway(folder, "--isolation", "process", "--devices", "2") as process:
        os.kill(device_children(process.pid)[0], signal.SIGKILL)
        code, errors = ended(process)
    assert code == 2 and len(errors) == 1 and "failed: its process was killed by SIGKILL" in errors[0]
    result = run_result.read(folder / "run")
    assert result.status == "failed" and "killed by SIGKILL" in str(result.cause)


@pytest.mark.parametrize("reopen", [0, 1])
def test_with_continue_every_sample_is_answered_by_those_that_are_left_or_came_back(folder: Path, reopen: int) -> None:
    with underway(folder, "--isolation", "process", "--devices", "2", "--on-device-loss", "continue",
                  "--reopen", str(reopen)) as process:
        os.kill(device_children(process.pid)[0], signal.SIGKILL)
        assert ended(process) == (0, [])
    result = run_result.read(folder / "run")
    assert result.status == "valid" and result.samples_completed == result.samples_issued and result.loadgen["errors"] == []
    assert (result.reopened, len(result.lost)) == (reopen, 1 - reopen)
    assert all("killed by SIGKILL" in cause for cause in result.lost.values())


@pytest.mark.parametrize(("number", "code", "cause"), [(signal.SIGINT, 130, "interrupted (Ctrl-C)"),
                                                        (signal.SIGTERM, 2, "RunError: terminated (SIGTERM)")])
def test_signals_end_a_supervised_run_and_its_children(folder: Path, number: int, code: int, cause: str) -> None:
    with underway(folder, "--isolation", "process", "--devices", "2") as process:
        process.send_signal(number)
        assert ended(process)[0] == code
    assert run_result.read(folder / "run").cause == cause


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")])
def test_a_harness_that_is_killed_gets_a_failed_result_from_its_supervisor(folder: Path, isolation: str, number: int,
                                                                          name: str) -> None:
    """SIGSEGV: what a device driver does to the process in thread isolation."""
    with underway(folder, "--isolation", isolation, "--devices", "2") as process:
        harness = descendants(process.pid)[0]
        os.kill(harness, number)
        code, errors = ended(process)
    assert code == 2 and len(errors) == 1 and f"the run's process was killed by {name}" in errors[0]
    result = run_result.read(folder / "run")
    assert result.status == "failed" and str(result.cause).startswith(f"the run's process was killed by {name}")
    assert result.devices == ("null://0", "null://1") and result.timing.cpu > 0


def test_it_is_valid_without_the_gil(folder: Path) -> None:
    if not FREE_THREADED.exists():
        if os.environ.get("IREEPERF_REQUIRE_313T"):
            pytest.fail(f"{FREE_THREADED} does not exist; run ./scripts/setup_free_threaded")
        pytest.skip(".venv-3.13t does not exist; make it with ./scripts/setup_free_threaded")
    process = start(folder, "--isolation", "process", "--devices", "4", "--group-size", "2", python=str(FREE_THREADED))
    assert ended(process) == (0, [])
    result = run_result.read(folder / "run")
    assert (result.status, result.isolation) == ("valid", "process") and not result.interpreter.gil_enabled

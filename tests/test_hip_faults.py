"""What ends or hangs a process with hip:// devices, and LoadGen runs of 64 stub devices with every fault that the stub can inject."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import run_result
from harness.run_result import LOADGEN, RunResult
from tests import tiny_build
from tests.hip_stub import library, run
from tests.hip_stub.library import Tag, read_tag

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["hung_on_the_device", "hung_in_the_launch_call"])
def test_a_hung_device_is_parked_and_the_others_go_on(name: str) -> None:
    ended = run.cases(library.build(), tiny_build.shared("gfx942"), name)
    assert not ended.failures[name], ended.failures[name]
    assert ended.code == 0


def test_a_fault_on_the_device_takes_the_process() -> None:
    """IREE 3.13 crashes or waits for ever: why --isolation process exists. When it gives an error instead, docs/HIP_POOL.md is out of date."""
    ended = run.cases(library.build(), tiny_build.shared("gfx942"), "fault_on_the_device")
    if ended.code == 0:
        assert not ended.failures["fault_on_the_device"], ended.failures
    else:
        assert ended.code in (-signal.SIGSEGV, -signal.SIGABRT), ended


def test_an_abort_of_rocr_takes_the_process() -> None:
    ended = run.cases(library.build(), tiny_build.shared("gfx942"), "abort")
    assert ended.code == -signal.SIGABRT and "Memory access fault by GPU node-5" in ended.errors


CONF = """sdxl-nano.Offline.target_qps = 1
sdxl-nano.Offline.min_duration = 1000
sdxl-nano.Offline.min_query_count = 1
sdxl-nano.Server.target_qps = 200
sdxl-nano.Server.target_latency = 5000
sdxl-nano.Server.min_duration = 1500
sdxl-nano.Server.min_query_count = 100
sdxl-nano.Server.target_latency_percentile = 90
"""
DEVICES, SAMPLES = 64, 256  # a batch of 4 for each device
LAUNCH = 36  # of a device: 30 in its four warm-up batches, then six of the eight of its first batch
ALLOCATION = 80  # of one of EIGHT: about 50 until it is warm, then seven in each of its eight batches
EIGHT = ("--devices", "8")
CONTINUE = ("--on-device-loss", "continue")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny build for gfx942 and 256 samples."""
    return tiny_build.write(tmp_path_factory.mktemp("hip"), target="gfx942", count=SAMPLES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ran:
    """A harness process that ended."""

    code: int
    errors: str
    folder: Path

    @property
    def result(self) -> RunResult:
        return run_result.read(self.folder)

    def check_every_sample_once(self) -> dict[int, Tag]:
        """The tag of each sample's answer, which says that it was drawn for that sample."""
        log = json.loads((self.folder / LOADGEN / "mlperf_log_accuracy.json").read_text())
        assert sorted(entry["qsl_idx"] for entry in log) == list(range(SAMPLES))
        found = {entry["qsl_idx"]: read_tag(np.frombuffer(bytes.fromhex(entry["data"]), np.uint8)) for entry in log}
        assert all(tag.sample == index and tag.steps == tiny_build.STEPS for index, tag in found.items())
        return found


def harness(build: Path, tmp_path: Path, scenario: str, mode: str, *argv: str, **faults: object) -> Ran:
    (tmp_path / "user.conf").write_text(CONF)
    done = subprocess.run([sys.executable, "-m", f"harness.{scenario}", "--manifest", str(build), "--user-conf", "user.conf", "--output", "run",
                           "--mode", mode, "--devices", str(DEVICES), *argv], cwd=tmp_path, text=True, capture_output=True, timeout=60,
                          check=False, env=library.environment(library.build(), faults) | {"PYTHONPATH": str(ROOT)})
    return Ran(code=done.returncode, errors=f"{done.stdout}\n{done.stderr}", folder=tmp_path / "run")


@pytest.mark.loadgen
@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_64_devices_answer_each_for_its_own_batches(build: Path, tmp_path: Path, scenario: str) -> None:
    """Every answer was drawn for its own sample, in the batch and on the device that the timeline names."""
    ran = harness(build, tmp_path, scenario, "accuracy", KERNEL_US=3000)
    assert ran.code == 0, ran.errors
    tags = ran.check_every_sample_once()
    drawn = {(f"hip://{tag.device}", tag.first): 0 for tag in tags.values()}
    for tag in tags.values():
        drawn[f"hip://{tag.device}", tag.first] += 1
    assert drawn == {(event.device, event.first_sample): event.samples for event in run_result.read_timeline(ran.folder).batches}
    if scenario == "offline":
        assert len({tag.device for tag in tags.values()}) == DEVICES


@pytest.mark.loadgen
@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_64_devices_run_for_performance(build: Path, tmp_path: Path, scenario: str) -> None:
    ran = harness(build, tmp_path, scenario, "performance", KERNEL_US=10000)
    assert ran.code == 0, ran.errors
    result = ran.result
    assert result.status == "valid" and result.samples_completed == result.samples_issued >= 100 and not result.lost
    assert len({event.device for event in run_result.read_timeline(ran.folder).batches}) == DEVICES


@pytest.mark.loadgen
@pytest.mark.parametrize(("faults", "argv", "cause"), [
    ({"OOM": "5:1"}, (), r"hip://5 failed: hip://5 cannot load .*RESOURCE_EXHAUSTED.*lower --batch-size or --devices"),
    ({"PINNED_OOM": "9:1"}, (), r"hip://9 failed: cannot open hip://9: .*RESOURCE_EXHAUSTED"),
    ({"OOM": f"5:{ALLOCATION}+"}, EIGHT, r"hip://5 failed: .*RESOURCE_EXHAUSTED.*; it held samples \[\d+"),
    ({"REFUSE": f"5:{LAUNCH}"}, (), r"hip://5 failed: .*hipErrorLaunchFailure.*; it held samples \[\d+, \d+, \d+, \d+\]"),
    ({"HANG": f"5:{LAUNCH}"}, ("--batch-timeout", "3"), r"hip://5 failed: did not answer in 3 s; it held samples \[\d+"),
    ({"BLOCK": f"5:{LAUNCH}"}, ("--batch-timeout", "3"), r"hip://5 failed: did not answer in 3 s; it held samples \[\d+"),
    ({"FAULT": f"5:{LAUNCH}"}, ("--batch-timeout", "3"), r"hip://5 failed: did not answer in 3 s|SIGSEGV|SIGABRT"),
    ({"ABORT": f"5:{LAUNCH}"}, (), "SIGABRT"),
    ({"ARCH": "gfx950"}, (), r"cannot load .*compiled for another GPU"),
])
def test_a_fault_ends_the_run_with_its_cause(build: Path, tmp_path: Path, faults: dict[str, str], argv: tuple[str, ...], cause: str) -> None:
    ran = harness(build, tmp_path, "offline", "accuracy", *argv, **faults)
    result = ran.result
    assert ran.code == 2 and result.status == "failed" and result.cause and re.search(cause, result.cause), f"{result.cause}\n{ran.errors}"
    assert result.timing.wall < 10


@pytest.mark.loadgen
@pytest.mark.parametrize(("faults", "argv", "lost"), [
    ({"OOM": f"5:{ALLOCATION}"}, EIGHT, None),  # trimmed, drawn again
    ({"SLOW": f"5:{LAUNCH}:1000"}, (), None),
    ({"REFUSE": f"5:{LAUNCH}"}, CONTINUE, None),  # built anew
    ({"OOM": f"5:{ALLOCATION}+"}, (*CONTINUE, *EIGHT), "RESOURCE_EXHAUSTED"),
    ({"PINNED_OOM": "5:*"}, CONTINUE, "RESOURCE_EXHAUSTED"),
    ({"HANG": f"5:{LAUNCH}"}, (*CONTINUE, "--batch-timeout", "2"), "did not answer in 2 s"),
    ({"BLOCK": f"5:{LAUNCH}"}, (*CONTINUE, "--batch-timeout", "2"), "did not answer in 2 s"),
])
def test_a_run_that_goes_on_answers_every_sample_once(build: Path, tmp_path: Path, faults: dict[str, str], argv: tuple[str, ...],
                                                      lost: str | None) -> None:
    ran = harness(build, tmp_path, "offline", "accuracy", *argv, **faults)
    assert ran.code == 0 and f"hipstub: {next(iter(faults))} on device 5" in ran.errors, ran.errors
    ran.check_every_sample_once()
    result = ran.result
    assert list(result.lost) == (["hip://5"] if lost else []) and (lost or "") in "".join(result.lost.values())
    assert result.reopened == (1 if "REFUSE" in faults else 0) or lost, result.rebuilt


@pytest.mark.loadgen
@pytest.mark.parametrize("fault", ["FAULT", "ABORT"])
def test_in_groups_a_lost_process_takes_its_devices_only(build: Path, tmp_path: Path, fault: str) -> None:
    """8 processes of 8 devices: the group's batches are drawn again, whether the process died or waits for ever."""
    ran = harness(build, tmp_path, "offline", "accuracy", *CONTINUE, "--isolation", "process", "--group-size", "8", "--batch-timeout", "3",
                  **{fault: f"5:{LAUNCH}"})
    assert ran.code == 0, ran.errors
    ran.check_every_sample_once()
    assert ran.result.reissued >= 4

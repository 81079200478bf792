"""runtime.process_device: devices in child processes. Whatever ends a child, the pool names it or goes on without it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ireeperf.errors import ConfigError, DeviceError
from runtime.policy import Respond
from runtime.process_device import children_cpu_seconds, process_devices
from tests.faulty_engine import EXIT_CODE, SHAPE, How, UnreadableMaker, maker
from tests.process_run import BOUND_S, gone, once, opened, wait_until

ROOT = Path(__file__).resolve().parents[1]
FREE_THREADED = ROOT / ".venv-3.13t" / "bin" / "python"
CAUSES: dict[How, str] = {
    "raise": "RuntimeError: INTERNAL; HIP driver error 'hipErrorLaunchFailure'", "oom": "RESOURCE_EXHAUSTED",
    "hang": "did not answer in 3 s", "hold_gil": "did not answer in 3 s",
    "kill": "process was killed by SIGKILL", "abort": "process was killed by SIGABRT",
    "segfault": "process was killed by SIGSEGV",
    "exit": f"process exited with code {EXIT_CODE}: killed when memory ran out?",
    "shape": r"gave an image of shape \(7, 8, 3\)", "count": "gave [0-9] images for [0-9] samples"}
DEATHS: tuple[How, ...] = ("kill", "abort", "segfault", "exit")
FAULTS: tuple[How, ...] = tuple(CAUSES)


def test_every_sample_is_answered_once_with_its_own_image() -> None:
    with opened(maker(), maker(), maker(), group_size=2) as run:
        assert len(run.children) == 2
        assert run.serve(100) == once(100)
        assert sum(device.executable_cpu_seconds() for device in run.devices.values()) >= 25  # 1 s a batch of 4, says it
        assert children_cpu_seconds(run.devices.values()) > 0
        for child in run.children:  # nothing that a kill -9 leaves behind, and no LoadGen
            maps = Path(f"/proc/{child}/maps").read_text()
            assert "memfd:ireeperf-answers" in maps and "/dev/shm" not in maps and "loadgen" not in maps


def test_images_are_not_copied_and_outlive_the_next_batch() -> None:
    """LoadGen gets the address of what the child wrote; it may read batch N until batch N+2 is submitted."""
    answers: list[Respond] = []
    with opened(maker()) as run:
        run.serve(16, answers.append)
        slots = run.groups[0].members["test://0"].slots
        for number, answer in enumerate(answers):
            assert all(np.shares_memory(image, slots[number % 2]) for image in answer.completion.answers)
        for answer in answers[-2:]:
            pixels = [int(image[0, 0, 0]) for image in answer.completion.answers]
            assert pixels == [sample.index for sample in answer.batch.samples]


@pytest.mark.parametrize(("at", "held"), [(2, "4, 5, 6, 7"), (3, "8, 9, 10, 11")], ids=["mid-run", "at the end"])
@pytest.mark.parametrize("how", [how for how in FAULTS if how != "hold_gil"])
def test_a_device_that_is_lost_fails_the_run_with_the_cause_and_the_samples_it_held(how: How, at: int, held: str) -> None:
    with opened(maker(how, "batch", at=at), batch_seconds=3 if how == "hang" else 30) as run, pytest.raises(
            DeviceError, match=rf"^test://0 failed: .*{CAUSES[how]}.*; it held samples \[{held}\]$"):
        run.serve(12)


@pytest.mark.parametrize(("how", "when"), [
    *((how, "open") for how in ("raise", "oom", *DEATHS)), ("raise", "make"), ("kill", "make")])
def test_a_device_that_cannot_open_fails_the_run_with_its_cause(how: How, when: Literal["make", "open"]) -> None:
    with pytest.raises(DeviceError, match=f"^test://0 failed: .*{CAUSES[how]}"), opened(maker(how, when)):
        pass


def test_a_device_that_hangs_when_opened_fails_the_run_at_its_deadline() -> None:
    with pytest.raises(DeviceError, match=r"^test://0 failed: did not become ready in 1 s$"), opened(
            maker("hang", "open"), open_seconds=1):
        pass


@pytest.mark.parametrize(("at", "count"), [(2, 160), (1, 24)], ids=["mid-run", "at the end"])
def test_with_continue_the_others_answer_everything_once(at: int, count: int) -> None:
    """Every fault at once, each in a child of its own; at the end: in the only batch that a device gets."""
    with opened(*(maker(how, "batch", at=at, seconds=0.02) for how in FAULTS), maker("slow", "batch", at=at),
                maker(seconds=0.02), on_loss="continue", batch_seconds=3) as run:
        assert run.serve(count) == once(count)
        assert set(run.policy.lost) == {f"test://{number}" for number in range(len(FAULTS))}
        for number, how in enumerate(FAULTS):
            assert re.search(CAUSES[how], run.policy.lost[f"test://{number}"])


def test_with_continue_devices_that_cannot_open_are_left_out() -> None:
    faults: tuple[How, ...] = ("raise", "oom", *DEATHS)
    with opened(*(maker(how, "open") for how in faults), maker(), on_loss="continue") as run:
        assert run.serve(20) == once(20)
        for number, how in enumerate(faults):
            assert re.search(CAUSES[how], run.policy.lost[f"test://{number}"])


def test_an_idle_child_that_is_killed_is_noticed() -> None:
    """No batch is late: only its death tells."""
    with opened(maker(), on_loss="fail") as run:
        os.kill(run.children[0], signal.SIGKILL)
        with pytest.raises(DeviceError, match=r"^test://0 failed: its process was killed by SIGKILL"):
            run.pool.serve(lambda _: None)


def test_a_child_that_is_stopped_like_a_process_in_trouble_does_not_hold_up_the_end() -> None:
    """SIGSTOP: it neither answers nor ends, as one whose driver hangs in the kernel. It is killed."""
    with opened(maker(), maker()) as run:
        run.serve(8)
        os.kill(run.children[0], signal.SIGSTOP)
        assert run.devices["test://0"].stop(0.1)


@pytest.mark.parametrize("how", ["raise", *DEATHS])
@pytest.mark.parametrize("when", ["open", "batch"])
def test_a_device_that_failed_once_is_built_anew_and_draws_on(tmp_path: Path, how: How,
                                                                  when: Literal["open", "batch"]) -> None:
    with opened(maker(how, when, at=2, once=tmp_path / "failed"), on_loss="continue", reopen=1) as run:
        assert run.serve(40) == once(40)
        assert (len(run.policy.rebuilt), run.policy.lost) == (1, {})
        assert run.devices["test://0"].executable_cpu_seconds() >= 10  # of both children


def test_a_device_that_fails_for_ever_is_lost() -> None:
    with opened(maker("segfault", "open"), maker(), on_loss="continue", reopen=2) as run:
        assert run.serve(40) == once(40)
        assert len(run.policy.rebuilt) == 2 and run.policy.lost == {"test://0": "its process was killed by SIGSEGV"}


def test_a_death_takes_its_group_and_no_other() -> None:
    good = maker(seconds=0.02)
    with opened(good, maker("segfault", "batch", at=2, seconds=0.02), good, good, on_loss="continue", group_size=2) as run:
        assert run.serve(80) == once(80)
        assert run.policy.lost == dict.fromkeys(
            ("test://0", "test://1"), "its process, which drives 1 other device, was killed by SIGSEGV")


def test_a_hung_device_is_parked_and_the_rest_of_its_group_goes_on() -> None:
    with opened(maker("hang", "batch", at=2, seconds=0.02), maker(seconds=0.02), on_loss="continue", group_size=2,
                batch_seconds=3, busy=("test://0",)) as run:
        assert run.serve(40) == once(40)
        assert run.policy.lost == {"test://0": "did not answer in 3 s"} and len(run.children) == 1


def test_64_devices_in_8_groups_survive_the_loss_of_one_group() -> None:
    def kill(answer: Respond) -> None:
        if answer.batch.samples[0].index == 0:
            os.kill(run.children[3], signal.SIGKILL)

    with opened(*(maker(seconds=0.05) for _ in range(64)), on_loss="continue", group_size=8) as run:
        assert len(run.children) == 8
        assert run.serve(600, kill) == once(600)
        assert set(run.policy.lost) == {f"test://{i}" for i in range(24, 32)}


def test_a_child_that_cannot_read_what_to_make_says_so() -> None:
    with pytest.raises(DeviceError, match="^test://0 failed: RuntimeError: INTERNAL"), opened(UnreadableMaker()):
        pass


def test_no_process_is_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(DeviceError, match="^test://0 failed: no process could be started for it: No such file"), opened(maker()):
        pass


def test_a_group_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="--group-size is 0; at least one device in a process"):
        process_devices({"test://0": maker()}, lambda _: None, group_size=0, image_shape=SHAPE, max_batch=4)


def test_devices_that_were_never_started_can_be_stopped() -> None:
    devices = process_devices({f"test://{i}": maker() for i in range(3)}, lambda _: None, group_size=2, image_shape=SHAPE,
                              max_batch=4)
    assert all(device.stop(1) for device in devices.values())


PARENT = """
import time
from runtime.batch import Batch, Sample
from tests.faulty_engine import maker
from tests.process_run import Run
run = Run((maker(), maker("hold_gil", "batch"), maker()), "continue", 2, 0)
run.pool.open()
run.devices["test://1"].submit(Batch(ticket=1, samples=(Sample(1, 1),), size=4))
time.sleep(0.3)
print(*run.children, flush=True)
time.sleep(60)
"""

FREE = """
import sys
from tests.faulty_engine import maker
from tests.process_run import once, opened
assert not sys._is_gil_enabled()
good = maker(seconds=0.01)
with opened(good, maker("segfault", "batch", at=2, seconds=0.01), good, on_loss="continue", group_size=2) as run:
    assert run.serve(200) == once(200)
    assert set(run.policy.lost) == {"test://0", "test://1"}
"""


PRINTS = """
from functools import partial
from runtime.batch import Ready
from runtime.process_device import process_devices
from tests.faulty_engine import SHAPE, maker
import queue
events = queue.SimpleQueue()
devices = process_devices({"test://0": maker(), "test://1": maker()}, events.put, group_size=2, image_shape=SHAPE, max_batch=4,
                          on_start={"test://0": partial(print, "bound in its thread")})
devices["test://0"].start()
assert {events.get(timeout=60).device for _ in range(2)} == {"test://0", "test://1"}
print("the JSON line")
assert all([device.stop(10) for device in devices.values()])
"""


def program(python: str, text: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen([python, "-W", "error", "-c", text], cwd=ROOT,
                            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_children_end_with_a_parent_that_is_killed() -> None:
    """Also one whose threads cannot run: the kernel ends it."""
    with program(sys.executable, PARENT) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 2 and not any(map(gone, children)), parent.stderr.read()
        parent.kill()
    wait_until(lambda: all(map(gone, children)))


def test_what_a_child_prints_does_not_reach_the_stdout_of_the_run() -> None:
    with program(sys.executable, PRINTS) as done:
        out, errors = done.communicate(timeout=BOUND_S)
    assert (done.returncode, out, errors) == (0, "the JSON line\n", "bound in its thread\n")


def test_it_works_without_the_gil() -> None:
    if not FREE_THREADED.exists():
        if os.environ.get("IREEPERF_REQUIRE_313T"):
            pytest.fail(f"{FREE_THREADED} does not exist; run ./scripts/setup_free_threaded")
        pytest.skip(".venv-3.13t does not exist; make it with ./scripts/setup_free_threaded")
    with program(str(FREE_THREADED), FREE, PYTHON_GIL="0") as done:
        _, errors = done.communicate(timeout=BOUND_S)
    assert done.returncode == 0, errors

"""harness.progress: what a person sees while a run goes on."""

from __future__ import annotations

import io
import os

import pytest

from harness.progress import Progress
from runtime.batch import Completion, Failure, Issue, Ready, Sample
from runtime.batching import Throughput
from runtime.policy import FifoPolicy, Submit


class Clock:
    """Time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def policy(*devices: str, on_loss: str = "continue") -> FifoPolicy:
    return FifoPolicy(devices, batching=Throughput([4]), open_seconds=9, on_loss=on_loss, now_ns=0)


def ready(device: str) -> Ready:
    return Ready(device=device, open_seconds=0, service_seconds={4: 1.0})


def issue(count: int) -> Issue:
    return Issue(samples=tuple(Sample(i, i) for i in range(count)))


def completion(submit: object) -> Completion:
    assert isinstance(submit, Submit)
    return Completion(device=submit.device, ticket=submit.batch.ticket, answers=(), started_ns=0, completed_ns=10**9)


def test_devices_then_samples_rate_time_left_devices_up_and_in_flight() -> None:
    devices, clock, out = policy("a", "b", "c"), Clock(), io.StringIO()
    progress = Progress(devices, every_s=0.0, stream=out, now=clock)
    progress.tick()
    clock.now = 3.0
    devices.handle(Failure(device="b", ticket=None, cause="gone"), 0)
    devices.handle(ready("a"), 0)
    progress.tick()
    devices.handle(ready("c"), 0)
    progress.start()
    first, _second = devices.handle(issue(1000), 0)
    progress.tick()
    clock.now = 5.0
    devices.handle(completion(first), 0)
    progress.end()
    assert out.getvalue().splitlines() == [
        "waiting for 3 devices to open and warm up, 0 s",
        "waiting for 1 device to open and warm up, 1 up, 3 s",
        "0 of 1000 samples, 0.00 samples/s, no batch back yet, 2 devices up, 8 in flight, 1 device lost",
        "4 of 1000 samples, 2.00 samples/s, 8:18 left, 2 devices up, 8 in flight, 1 device lost"]


def test_a_device_that_is_built_anew() -> None:
    devices, out = policy("a", "b"), io.StringIO()
    progress = Progress(devices, every_s=0.0, stream=out, now=Clock())
    for device in ("a", "b"):
        devices.handle(ready(device), 0)
    devices.handle(issue(8), 0)
    devices.handle(Failure(device="a", ticket=0, cause="out of memory", reopening=True), 0)
    progress.tick()
    assert out.getvalue().endswith("1 device up, 4 in flight, 1 device reopening\n")


@pytest.mark.parametrize(("elapsed", "left"), [(1.0, "9:59 left"), (570.0, "30 s left"), (700.0, "0 s left")])
def test_a_server_run_lasts_its_least_duration_whatever_its_rate(elapsed: float, left: str) -> None:
    devices, clock, out = policy("a"), Clock(), io.StringIO()
    progress = Progress(devices, every_s=0.0, stream=out, now=clock)
    devices.handle(ready("a"), 0)
    progress.start(600.0)
    submit, = devices.handle(issue(4), 0)
    devices.handle(completion(submit), 0)
    clock.now = elapsed
    progress.tick()
    assert left in out.getvalue().split(", ")


def test_hours_are_shown_as_hours() -> None:
    devices, clock, out = policy("a"), Clock(), io.StringIO()
    progress = Progress(devices, stream=out, now=clock)
    devices.handle(ready("a"), 0)
    progress.start()
    submit, = devices.handle(issue(107400), 0)
    devices.handle(completion(submit), 0)
    clock.now = 4 / 18.5856
    progress.end()
    assert "18.59 samples/s, 1:36:18 left" in out.getvalue()


def test_it_is_quiet_until_it_is_time() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress(policy("a"), stream=out, now=clock)
    for second in (0.0, 1.0, 4.9):
        clock.now = second
        progress.tick()
    assert out.getvalue() == ""
    clock.now = 5.0
    progress.tick()
    progress.tick()
    assert out.getvalue().count("\n") == 1


def test_a_terminal_has_one_line_that_is_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 24)))
    devices, clock, out = policy("a"), Clock(), Terminal()
    progress = Progress(devices, stream=out, now=clock)
    clock.now = 1.0
    progress.tick()
    devices.handle(ready("a"), 0)
    progress.start()
    progress.end()
    text = out.getvalue()
    assert text.startswith("\r") and text.endswith("\n") and text.count("\n") == 1
    first, second = text.rstrip("\n").split("\r")[1:]
    assert first == "waiting for 1 device to open and warm …" and len(first) == 39
    assert len(second) >= len(first), "what is left of a longer line would stay on the screen"


def test_without_a_terminal_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(policy("a")).end()
    seen = capsys.readouterr()
    assert seen.out == "" and seen.err == "waiting for 1 device to open and warm up, 0 s\n"

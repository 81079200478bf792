"""harness.progress: what a person sees while a run goes on."""

from __future__ import annotations

import pytest

from harness.progress import Progress
from runtime.batch import Completion, Failure, Issue, Ready, Sample
from runtime.policy import FifoPolicy, Submit


def test_devices_then_samples_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    policy = FifoPolicy(["a", "b"], batch_sizes=(4,), batch_size=4, open_seconds=9, on_loss="continue", now_ns=0)
    progress = Progress(policy, every_s=0.0)
    progress.tick()
    policy.handle(Failure(device="b", ticket=None, cause="gone"), 0)
    policy.handle(Ready(device="a", open_seconds=0, warm_seconds=0), 0)
    progress.start()
    submit, = policy.handle(Issue(samples=tuple(Sample(i, i) for i in range(8))), 0)
    progress.tick()
    assert isinstance(submit, Submit)
    policy.handle(Completion(device="a", ticket=submit.batch.ticket, images=(), started_ns=0, completed_ns=0), 0)
    progress.end()
    opening, first, last = capsys.readouterr().err.splitlines()
    assert opening.startswith("waiting for 2 devices to open and warm up, ")
    assert first == "0 of 8 samples, 0.00 samples/s, no batch back yet, 1 devices lost"
    assert last.startswith("4 of 8 samples, ") and last.endswith(" s left, 1 devices lost")


def test_it_is_quiet_until_it_is_time(capsys: pytest.CaptureFixture[str]) -> None:
    policy = FifoPolicy(["a"], batch_sizes=(4,), batch_size=4, open_seconds=9, on_loss="fail", now_ns=0)
    progress = Progress(policy, every_s=3600.0)
    for _ in range(5):
        progress.tick()
    assert capsys.readouterr().err == ""

"""harness.amd_policy: AMD's batcher, which measures its 3 s from its last flush and not from the oldest request."""

from __future__ import annotations

import pytest

from harness.amd_policy import FixedSize
from ireeperf.errors import ConfigError
from runtime.batching import Draw, Hold, Queue

SECOND = 10**9


def queue(waiting: int, oldest_s: float) -> Queue:
    return Queue(waiting=waiting, oldest_ns=int(oldest_s * SECOND), idle=1, devices=128)


def test_pairs_go_at_once() -> None:
    batching = FixedSize(2)
    assert batching.decide(queue(2, 1.0), 1 * SECOND) == Draw(size=2, count=2)
    assert batching.decide(queue(7, 1.0), 1 * SECOND) == Draw(size=2, count=2)


def test_a_lone_request_waits_for_a_silence_of_three_seconds() -> None:
    batching = FixedSize(2)
    batching.decide(queue(2, 9.5), 10 * SECOND)
    assert batching.decide(queue(1, 11.0), 11 * SECOND) == Hold(until_ns=14 * SECOND)
    assert batching.decide(queue(1, 11.0), 14 * SECOND) == Draw(size=2, count=1)


def test_a_lone_request_long_after_the_last_flush_goes_at_once() -> None:
    batching = FixedSize(2)
    batching.decide(queue(2, 9.5), 10 * SECOND)
    assert batching.decide(queue(1, 13.0), 13 * SECOND) == Draw(size=2, count=1)


def test_offline_never_holds_and_pads_the_tail() -> None:
    assert FixedSize(32, None).decide(queue(8, 0.0), 0) == Draw(size=32, count=8)


def test_it_learns_nothing() -> None:
    batching = FixedSize(2)
    batching.learn(2, 100.0)
    assert batching.sizes == (2,) and batching.decide(queue(2, 0.0), 0) == Draw(size=2, count=2)


@pytest.mark.parametrize(("size", "seconds"), [(0, 3.0), (2, 0.0)])
def test_nonsense_is_refused(size: int, seconds: float) -> None:
    with pytest.raises(ConfigError, match="a size of at least 1"):
        FixedSize(size, seconds)

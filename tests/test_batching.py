"""runtime.batching: which size is drawn, and how long a batch that would be padded is held."""

from __future__ import annotations

import pytest

from ireeperf.errors import ConfigError
from runtime.batching import Deadline, Draw, Hold, Queue, Throughput

SECOND = 10**9
PAIRS = {2: 6.86}  # AMD's idle service time at batch size 2


def queue(waiting: int, *, idle: int = 1, devices: int = 64, oldest_ns: int = 0) -> Queue:
    return Queue(waiting=waiting, idle=idle, devices=devices, oldest_ns=oldest_ns)


@pytest.mark.parametrize(("waiting", "idle", "draw"), [
    (100, 1, Draw(size=4, count=4)),
    (7, 1, Draw(size=4, count=4)),
    (3, 1, Draw(size=2, count=2)),  # 4 would be padded, and takes twice as long as 2
    (1, 1, Draw(size=2, count=1)),
    (128, 64, Draw(size=2, count=2)),  # a tail is spread over the devices
])
def test_sizes_in_proportion(waiting: int, idle: int, draw: Draw) -> None:
    assert Throughput((2, 4)).decide(queue(waiting, idle=idle), 0) == draw


@pytest.mark.parametrize(("seconds", "draw"), [
    ({1: 1.0, 4: 2.5}, Draw(size=4, count=3)),  # one padded batch is faster than three single ones
    ({1: 1.0, 4: 3.5}, Draw(size=1, count=1)),
])
def test_a_batch_is_padded_only_where_that_is_faster(seconds: dict[int, float], draw: Draw) -> None:
    assert Throughput((1, 4), seconds).decide(queue(3), 0) == draw


def test_service_times_are_learned() -> None:
    batching = Throughput((1, 4))
    for _ in range(3):
        batching.learn(1, 1.0)
        batching.learn(4, 1.5)
    assert batching.decide(queue(3), 0) == Draw(size=4, count=3)
    for _ in range(60):
        batching.learn(4, 30.0)
    assert batching.seconds(4) == pytest.approx(30, rel=0.01)
    assert batching.decide(queue(3), 0) == Draw(size=1, count=1)


def test_an_untimed_size_is_in_proportion_to_the_nearest_timed_one() -> None:
    assert Throughput((1, 2, 4), {2: 3.0}).seconds(4) == 6.0


@pytest.mark.parametrize("sizes", [(), (0, 2)])
def test_sizes_are_needed(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="batch sizes"):
        Throughput(sizes)


def test_a_full_batch_is_never_held() -> None:
    assert Deadline((2,), 20, PAIRS).decide(queue(2, idle=1), 0) == Draw(size=2, count=2)


def test_an_idle_machine_draws_a_lone_sample_at_once() -> None:
    assert Deadline((2,), 20, PAIRS).decide(queue(1, idle=64), 0) == Draw(size=2, count=1)


def test_a_busy_machine_holds_a_lone_sample_for_what_company_would_save() -> None:
    batching = Deadline((2,), 20, PAIRS)
    hold = batching.decide(queue(1, idle=16, oldest_ns=5 * SECOND), 5 * SECOND)
    assert hold == Hold(until_ns=5 * SECOND + int(6.86 / 2 * 0.75 * 1e9))
    assert batching.decide(queue(1, idle=16, oldest_ns=5 * SECOND), hold.until_ns) == Draw(size=2, count=1)


def test_no_sample_is_held_past_the_moment_from_which_it_would_be_late() -> None:
    batching = Deadline((2,), 8, PAIRS)
    assert batching.decide(queue(1, idle=1), 0) == Hold(until_ns=int((8 - 6.86 * 1.05) * 1e9))
    assert Deadline((2,), 7, PAIRS).decide(queue(1, idle=1), 0) == Draw(size=2, count=1)  # late already: no time to lose


def test_with_a_size_of_one_nothing_is_held() -> None:
    assert Deadline((1, 2), 20, {1: 4.0, 2: 6.86}).decide(queue(1, idle=1), 0) == Draw(size=1, count=1)


def test_a_latency_limit_is_needed() -> None:
    with pytest.raises(ConfigError, match="target latency is 0 s"):
        Deadline((2,), 0)


WIDE = {1: 3.9, 2: 7.2, 4: 13.9, 8: 27.3}  # size 8 is the fastest per sample, and never within 20 s


@pytest.mark.parametrize(("waited_s", "draw"), [
    (0, Draw(size=4, count=4)),
    (6, Draw(size=2, count=2)),  # 4 would answer after 19.9 s, which jitter makes late
    (12.6, Draw(size=1, count=1)),
    (19, Draw(size=4, count=4)),  # late whatever is drawn: do the most for those behind it
])
def test_only_sizes_that_answer_the_oldest_sample_in_time_are_drawn(waited_s: float, draw: Draw) -> None:
    assert Deadline((1, 2, 4, 8), 20, WIDE).decide(queue(30), int(waited_s * SECOND)) == draw


def test_where_every_size_is_too_slow_the_fastest_one_is_drawn() -> None:
    assert Deadline((4, 8), 10, WIDE).decide(queue(30), 0) == Draw(size=4, count=4)


def test_offline_has_no_limit() -> None:
    assert Throughput((1, 2, 4, 8), WIDE).decide(queue(30), 100 * SECOND) == Draw(size=8, count=8)

"""harness.virtual_time: the pool's policy on modelled partitions, in a clock that no thread waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.amd_policy import FixedSize
from harness.virtual_time import Machine, Outcome, Simulation
from ireeperf.errors import ConfigError, DeviceError
from runtime.batching import Batching, Deadline, Throughput
from runtime.policy import FifoPolicy
from runtime.service_times import ServiceTimes

SECOND = 10**9


def times(seconds: Mapping[int, float], jitter: float = 0.0) -> ServiceTimes:
    return ServiceTimes(device="test", evidence="assumed", source="a test", jitter=jitter,
                        seconds={str(size): value for size, value in seconds.items()})


ONE = Machine(partitions=1, service_times=times({1: 1.0}))


def run(machine: Machine, at_s: Sequence[float], batching: Batching | None = None, *, on_loss: str = "continue", batch_seconds: float = 60,
        seed: int = 0) -> Outcome:
    policy = FifoPolicy(machine.devices, batching=batching or FixedSize(1), open_seconds=600, on_loss=on_loss, now_ns=0)  # type: ignore[arg-type]
    policy.batch_seconds = batch_seconds
    return Simulation(machine, policy, seed).run((np.array(at_s) * SECOND).astype(np.int64))


def seconds(outcome: Outcome) -> list[float]:
    return [round(value / SECOND, 6) for value in outcome.completed_ns.tolist()]


def test_a_partition_draws_one_batch_after_the_other() -> None:
    outcome = run(ONE, [0, 0, 5])
    assert seconds(outcome) == [1, 2, 6]
    assert (outcome.batches, outcome.padded, outcome.busy_s) == (3, 0, 3.0)


@pytest.mark.parametrize(("contention", "at_s", "expected"), [
    (1.0, [0, 0], [2, 2]),  # two at once share the compute
    (1.1, [0, 0], [2.2, 2.2]),
    (1.0, [0, 0.5], [1.5, 2]),  # alone, together, alone
    (1.25, [0, 0.5], [1.75, 2.25]),  # together each at 1 / 2.5
    (1.0, [0, 0, 0], [2, 2, 3]),  # the third waits for a process
])
def test_processes_share_their_partition(contention: float, at_s: list[float], expected: list[float]) -> None:
    assert seconds(run(replace(ONE, processes=2, contention=contention), at_s)) == expected


def test_processes_of_different_partitions_do_not() -> None:
    """The first process of each partition is idle for longest, so two batches land on two partitions."""
    assert seconds(run(replace(ONE, partitions=2, processes=2), [0, 0])) == [1, 1]


def test_a_slow_partition_and_a_staggered_start() -> None:
    assert seconds(run(replace(ONE, partitions=2, slow={0: 3.0}), [0, 0])) == [3, 1]
    assert seconds(run(replace(ONE, partitions=3, start_stagger_s=0.25), [0, 0, 0, 0])) == [1, 1.25, 1.5, 2]


def test_a_held_sample_is_drawn_when_its_time_has_come() -> None:
    outcome = run(replace(ONE, service_times=times({2: 1.0})), [0, 10], FixedSize(2))
    assert seconds(outcome) == [4, 11] and outcome.padded == 2  # the batcher's 3 s; then more than 3 s after the last flush
    machine = Machine(partitions=2, service_times=times({2: 1.0}))
    outcome = run(machine, [0, 0, 0.1], Deadline((2,), 20))
    assert outcome.padded == 1 and outcome.completed_ns[2] < 2 * SECOND


def test_jitter_and_spread_come_from_the_seed() -> None:
    machine = Machine(partitions=4, service_times=times({1: 1.0}, jitter=0.02), spread=0.05)
    first, again, other = (run(machine, [0.0] * 40, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.completed_ns, again.completed_ns) and not np.array_equal(first.completed_ns, other.completed_ns)
    assert 9 < first.completed_ns.max() / SECOND < 12


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("loss", "last"), [("raise", 8), ("hang", 23)])
def test_a_lost_partition_leaves_its_samples_to_the_others(loss: str, last: float, processes: int) -> None:
    machine = replace(ONE, partitions=3, processes=processes, lost={2: 2.5}, loss=loss)  # type: ignore[arg-type]
    outcome = run(machine, [0.0] * 18, batch_seconds=20)
    assert (outcome.completed_ns > 0).all() and outcome.reissued == processes
    assert sorted(outcome.lost) == sorted(f"virtual://2.{process}" for process in range(processes))
    assert last - 1 < outcome.completed_ns.max() / SECOND <= last + 2  # 20 s from the submit until a hang is one


def test_a_loss_may_end_the_run() -> None:
    lost = replace(ONE, partitions=2, lost={1: 0.5})
    with pytest.raises(DeviceError, match=r"virtual://1\.0 failed: stopped, as asked; it held samples \[1\]"):
        run(lost, [0, 0], on_loss="fail")
    with pytest.raises(DeviceError, match="no device is left of 2"):
        run(replace(lost, lost={0: 0.5, 1: 0.5}), [0, 0])


def test_an_hour_takes_no_time_and_every_sample_is_answered() -> None:
    machine = Machine(partitions=64, service_times=times({32: 107.6}, jitter=0.01))
    outcome = run(machine, [0.0] * 107_400, Throughput((32,)), batch_seconds=2000)
    assert (outcome.completed_ns > 100 * SECOND).all() and outcome.batches == 3357 and outcome.padded == 24


@pytest.mark.parametrize(("change", "message"), [
    ({"partitions": 0}, "at least one of each"), ({"contention": 0.0}, "contention 0"), ({"spread": 0.5}, "spread 0.5"),
    ({"slow": {1: 2.0}}, "partition 1 of 1"), ({"lost": {-1: 2.0}}, "partition -1 of 1")])
def test_an_impossible_machine_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(ONE, **change)  # type: ignore[arg-type]

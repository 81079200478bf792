"""harness.loadgen_rules: LoadGen's schedule, percentiles and verdict. The schedule beside the real LoadGen's: test_simulate."""

from __future__ import annotations

import numpy as np
import pytest

from harness.loadgen_rules import arrivals_ns, judge, queries_needed, stopped_early_enough

SECOND = 10**9


def test_the_schedule_of_the_recorded_server_run() -> None:
    """AMD's log says `Scheduled samples per second : 16.66`; the count and the last query's time are what LoadGen's seed gives."""
    times = arrivals_ns(16.5, 600)
    assert len(times) == 9997 and times[0] == 0 and times[-2] < 600 * SECOND <= times[-1]
    assert (len(times) - 1) / (times[-1] / SECOND) == pytest.approx(16.66, abs=0.005)


def test_a_schedule_has_at_least_the_minimum_of_queries() -> None:
    assert len(arrivals_ns(1.0, 2.0, min_queries=50)) == 50
    assert len(arrivals_ns(100.0, 200.0)) > 1 << 13  # more than one draw of random numbers
    assert not np.array_equal(arrivals_ns(1.0, 20.0, seed=1), arrivals_ns(1.0, 20.0, seed=2))


@pytest.mark.parametrize(("late", "queries"), [(0, 459), (1, 662), (2, 838), (5, 1307), (10, 2010), (50, 6898), (100, 12571), (311, 35434)])
def test_early_stopping(late: int, queries: int) -> None:
    """The numbers of MLPerf's rules: 99th percentile, confidence 99 %, tolerance 0; 459 and 35,434 are in LoadGen's own logs too."""
    assert queries_needed(late) == queries
    assert stopped_early_enough(queries, late) and not stopped_early_enough(queries - 1, late)


def test_a_lowered_percentile_needs_fewer() -> None:
    assert queries_needed(0, 0.9) == 44 and 0.9 ** 44 < 0.01 < 0.9 ** 43


def test_all_late_is_never_early_enough() -> None:
    assert not stopped_early_enough(10, 10)


def test_an_offline_verdict() -> None:
    completed = np.arange(1, 6001) * SECOND // 10
    verdict = judge("Offline", np.zeros(6000, np.int64), completed)
    assert verdict.samples_per_second == pytest.approx(10) and not verdict.invalid
    assert (verdict.latency["min"], verdict.latency["p50"], verdict.latency["max"]) == (0.1, 300.1, 600.0)
    short = judge("Offline", np.zeros(4000, np.int64), completed[:4000])
    assert short.invalid == ("lasted 400.0 s of 600 s", "4000 samples of 5000")


def test_a_server_verdict() -> None:
    scheduled = arrivals_ns(10, 600)
    good = judge("Server", scheduled, scheduled + 5 * SECOND)
    assert not good.invalid and good.late == 0 and good.latency["p99"] == 5.0
    assert good.samples_per_second == pytest.approx((len(scheduled) - 1) / (scheduled[-1] / SECOND + 5))
    latency = np.full(len(scheduled), 5 * SECOND)
    latency[:len(latency) // 50] = 21 * SECOND
    late = judge("Server", scheduled, scheduled + latency)
    assert late.invalid[0] == "p99 21.00 s over 20 s" and "too many for early stopping" in late.invalid[1]
    few = judge("Server", scheduled[:50], scheduled[:50] + SECOND)
    assert [reason.split()[0] for reason in few.invalid] == ["lasted", "50", "0"]

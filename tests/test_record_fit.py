"""harness.record_fit: the simulator explains AMD's record, and says so when it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import record_fit
from harness.record_fit import Parameters, compare, fit, table, with_parameters
from harness.virtual_run import from_model, machine_model, simulate

MODEL = machine_model("mi325x_cpx")
TWO = range(2)


def test_the_record_is_explained() -> None:
    """Issue 4: Offline within 1 %, TEST01 and TEST04 (held out) within 0.5 %, Server's p50, p90 and p99 within 10 %."""
    rows = compare(MODEL, TWO)
    judged = {(row.kind, row.figure): row for row in rows if row.tolerance is not None}
    assert set(judged) == set(record_fit.TOLERANCE)
    assert [key for key, row in judged.items() if not row.holds] == []
    assert not judged["TEST01", "samples_per_second"].fitted and not judged["TEST04", "samples_per_second"].fitted
    held_out = [row for row in rows if not row.fitted and row.kind == "Offline"]
    assert len(held_out) == 8 and max(abs(row.error) for row in held_out) < 0.005  # the shape of the run, from two figures


def test_a_machine_that_is_three_percent_slower_is_not_the_record() -> None:
    scenarios = {name: replace(each, spread=0.02, start_stagger_s=5.0) for name, each in MODEL.scenarios.items()}
    rows = compare(replace(MODEL, scenarios=scenarios), TWO, ("Offline",))
    assert [row.figure for row in rows if not row.holds] == ["samples_per_second"]
    assert "**missed**" in table(rows)


def test_without_the_staggered_start_the_shape_is_missed() -> None:
    """What the remainder would be: 1.3 % of samples/s, and a mean latency 2.8 % too short."""
    run = from_model(MODEL, "Offline", "amd")
    together = simulate(replace(run, machine=replace(run.machine, start_stagger_s=0.0))).verdict
    record = record_fit.RECORD["Offline"]
    assert 0.01 < together.samples_per_second / record["samples_per_second"] - 1 < 0.02
    assert together.latency["mean"] / record["mean"] < 0.98


def test_parameters_reach_the_machine() -> None:
    run = with_parameters(from_model(MODEL, "Server", "amd"),
                          Parameters(mean_s=7.0, jitter=0.01, spread=0.02, contention=1.1, start_stagger_s=0.5))
    machine = run.machine
    assert machine.service_times.of(2) == pytest.approx(7.0) and machine.service_times.jitter == 0.01
    assert (machine.spread, machine.contention, machine.start_stagger_s, machine.processes) == (0.02, 1.1, 0.5, 2)


def test_the_fit_gets_better_and_stays_in_its_box() -> None:
    lines: list[str] = []
    found, error = fit(MODEL, "Server", tries=3, seeds=range(1), report=lines.append)
    assert lines and error < 1 and float(lines[-1].split()[3].rstrip("%")) == pytest.approx(100 * error, abs=0.01)
    for name, (low, high) in record_fit.BOXES["Server"].items():
        assert low <= getattr(found, name) <= high

"""The simulator beside a real run on null devices: same policy, same table, real time against virtual time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import loadgen_rules, record, run_result, virtual_run
from harness.run_result import RunResult
from harness.virtual_run import Kind, VirtualRun
from harness.virtual_time import Machine
from ireeperf.errors import ConfigError
from runtime.service_times import ServiceTimes

SEEDS = 5  # the null devices' jitter is drawn with seeds of its own, so figures are compared with the mean of these
JUDGED = ("samples_per_second", "p50", "p99")
KEYS = {"min": "result_min_latency_ns", "mean": "result_mean_latency_ns", "max": "result_max_latency_ns",
        "p50": "result_50.00_percentile_latency_ns", "p90": "result_90.00_percentile_latency_ns",
        "p99": "result_99.00_percentile_latency_ns"}


def compare(folder: Path, service_times: str | None, seed: int, tolerance: float) -> tuple[str, dict[str, Any], int]:
    """A table, the JSON line and the exit code: 1 when samples/s, p50 or p99 differ by more than `tolerance`."""
    result = run_result.read(folder)
    if result.status == "failed" or result.mode == "accuracy" or not result.is_null:
        raise ConfigError(f"{folder} is a {result.status} {result.mode} run on {', '.join(result.devices[:2])}; a finished performance "
                          "or compliance run on null devices is needed")
    if result.decodes:
        raise ConfigError(f"{folder} is a decoder's run, and the simulator knows batches of images only")
    measured = figures(result)
    simulated = simulated_figures(result, _sizes(folder), virtual_run.table(service_times or _table(folder)), seed)
    rows = [f"| {name} | {measured[name]:.4f} | {simulated[name]:.4f} | {simulated[name] / measured[name] - 1:+.2%} |"
            + ("" if name in JUDGED else " (not judged)") for name in measured]
    errors = {name: round(simulated[name] / measured[name] - 1, 5) for name in JUDGED}
    missed = [name for name, error in errors.items() if abs(error) > tolerance]
    text = "\n".join([f"{result.scenario}, {len(result.devices)} null devices, {result.samples_issued} samples in {result.timing.wall:.1f} s",
                      "| figure | real time | virtual time | error |", "|---|---|---|---|", *rows])
    return text, {"against": result.run, "errors": errors, "tolerance": tolerance, "missed": missed}, 1 if missed else 0


def figures(result: RunResult) -> dict[str, float]:
    """LoadGen's figures of a run: samples per second, latencies in seconds."""
    rate = record.samples_per_second(result)
    assert rate is not None  # LoadGen logs it for every finished performance run
    return {"samples_per_second": rate, **{name: result.loadgen[key] / 1e9 for name, key in KEYS.items()}}


def simulated_figures(result: RunResult, sizes: tuple[int, ...], table: ServiceTimes, seed: int) -> dict[str, float]:
    """The same of the mean of `SEEDS` simulated runs."""
    log = result.loadgen
    kind: Kind = result.scenario if result.mode in ("performance", "accuracy") else result.mode  # type: ignore[assignment]
    duration_s, qps = log["effective_min_duration_ms"] / 1e3, log["effective_target_qps"]
    run = VirtualRun(kind=kind, policy="ours", machine=Machine(partitions=len(result.devices), service_times=table), sizes=sizes,
                     target_qps=qps, duration_s=duration_s, target_latency_s=max(1e-9, log["effective_target_latency_ns"] / 1e9))
    schedule = (np.zeros(result.samples_issued, np.int64) if result.scenario == "Offline" else
                loadgen_rules.arrivals_ns(qps, duration_s, min_queries=log["effective_min_query_count"], seed=log["effective_schedule_rng_seed"]))
    found = []
    for each in range(seed, seed + SEEDS):
        verdict = virtual_run.simulate(replace(run, seed=each), schedule).verdict
        found.append({"samples_per_second": verdict.samples_per_second, **verdict.latency})
    return {name: float(np.mean([each[name] for each in found])) for name in ("samples_per_second", *KEYS)}


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((folder / run_result.SETTINGS).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {folder / run_result.SETTINGS}: {error}") from None
    return settings


def _table(folder: Path) -> str:
    """The table that the run's null devices had."""
    return _settings(folder)["settings"]["service_times"] or "null"


def _sizes(folder: Path) -> tuple[int, ...]:
    sizes: list[int] = _settings(folder)["resolved"]["batch_sizes"]
    return tuple(sizes)

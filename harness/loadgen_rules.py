"""LoadGen's arithmetic without LoadGen: its Server schedule, its percentiles, its verdict.

Source: mlcommons/inference v5.1.1, loadgen/{loadgen,results,early_stopping}.cc. A test compares the schedule with the real one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SCHEDULE_SEED = 18209322760996052031  # schedule_rng_seed of v5.1, in LoadGen's embedded mlperf.conf
TARGET_LATENCY_S = 20.0  # SDXL's Server limit (mlperf.conf v5.1)
MIN_DURATION_S = 600.0
MIN_SERVER_QUERIES = 100
MIN_OFFLINE_SAMPLES = 5000  # mlperf.conf v5.1: stable-diffusion-xl.Offline.min_query_count
SLACK = 1.1  # LoadGen asks Offline for min_duration x target_qps x this
PERCENTILE, CONFIDENCE = 0.99, 0.99


def arrivals_ns(target_qps: float, duration_s: float, *, min_queries: int = MIN_SERVER_QUERIES, seed: int = SCHEDULE_SEED) -> np.ndarray:
    """When the Server scenario issues its queries, one sample each: [queries] int64, nanoseconds from the start.

    std::mt19937 (32 bits of the seed) through std::exponential_distribution<double> of libstdc++, each gap cut to whole
    nanoseconds; queries are made until one is scheduled at `duration_s` or later.
    """
    generator = np.random.MT19937()
    generator.state = np.random.RandomState(seed & 0xFFFFFFFF).get_state(legacy=False)  # type: ignore[assignment]
    times = np.zeros(1, np.int64)
    while times[-1] < duration_s * 1e9 or len(times) < min_queries:
        words = generator.random_raw(1 << 13).astype(np.float64)
        uniform = (words[0::2] + words[1::2] * 2.0**32) / 2.0**64
        gaps = (-np.log(1.0 - uniform) / target_qps * 1e9).astype(np.int64)
        times = np.concatenate([times, times[-1] + np.cumsum(gaps)])
    return times[:max(int(np.searchsorted(times, round(duration_s * 1e9))) + 1, min_queries)]


def percentile(ordered: np.ndarray, share: float) -> float:
    """LoadGen's percentile of ascending latencies: the one at index int(n x share)."""
    return float(ordered[int(len(ordered) * share)])


def queries_needed(late: int, share: float = PERCENTILE) -> int:
    """Early stopping: the least number of queries of which `late` may be over the latency limit of percentile `share`."""
    low, high = late + 1, late + 2
    while not stopped_early_enough(high, late, share):
        high *= 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if stopped_early_enough(middle, late, share) else (middle + 1, high)
    return low


def stopped_early_enough(queries: int, late: int, share: float = PERCENTILE) -> bool:
    """Whether P(at most `late` of `queries` are late | 1 - share are) is below 1 - confidence (early_stopping.cc)."""
    p = 1 - share
    if late >= queries:
        return False
    logs = [math.lgamma(queries + 1) - math.lgamma(k + 1) - math.lgamma(queries - k + 1) + k * math.log(p) + (queries - k) * math.log1p(-p)
            for k in range(late + 1)]
    top = max(logs)
    return math.exp(top) * math.fsum(math.exp(value - top) for value in logs) < 1 - CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What LoadGen would report. Latencies in seconds, from the scheduled time of a sample."""

    samples_per_second: float  # Offline: samples / last completion; Server: (samples - 1) / completion of the last query
    latency: dict[str, float]  # min, mean, max, p50, p90, p95, p97, p99, p99.9
    late: int  # samples over the limit
    invalid: tuple[str, ...]  # why; empty when valid


def judge(scenario: str, scheduled_ns: np.ndarray, completed_ns: np.ndarray, *, target_latency_s: float = TARGET_LATENCY_S,
          min_duration_s: float = MIN_DURATION_S) -> Verdict:
    """Apply the rules of a performance run to [samples] times in nanoseconds, in order of issue."""
    latency = np.sort(completed_ns - scheduled_ns) / 1e9
    server = scenario == "Server"
    late = int((latency > target_latency_s).sum()) if server else 0
    shown = {f"p{share:g}": percentile(latency, share / 100) for share in (50, 90, 95, 97, 99, 99.9)}
    shown = {"min": float(latency[0]), "mean": float(latency.mean()), "max": float(latency[-1])} | shown
    lasted = scheduled_ns[-1] / 1e9 if server else latency[-1]
    rate = (len(latency) - 1) / (completed_ns[-1] / 1e9) if server else len(latency) / latency[-1]
    invalid = []
    if lasted < min_duration_s:
        invalid.append(f"lasted {lasted:.1f} s of {min_duration_s:g} s")
    least = MIN_SERVER_QUERIES if server else MIN_OFFLINE_SAMPLES
    if len(latency) < least:
        invalid.append(f"{len(latency)} samples of {least}")
    if server and shown["p99"] > target_latency_s:
        invalid.append(f"p99 {shown['p99']:.2f} s over {target_latency_s:g} s")
    if server and not stopped_early_enough(len(latency), late):
        invalid.append(f"{late} of {len(latency)} samples late: too many for early stopping")
    return Verdict(samples_per_second=float(rate), latency=shown, late=late, invalid=tuple(invalid))

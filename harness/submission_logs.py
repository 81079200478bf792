"""Check LoadGen's logs in a submission tree: limits, seeds, mode, and that the figures in them agree with each other."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import submission_limits as limits
from harness.compliance import DETAIL, SUMMARY
from harness.detail_log import MARK
from harness.submission_finding import Finding, text
from ireeperf.errors import ConfigError

SCORE = {"Offline": "result_samples_per_second", "Server": "result_completed_samples_per_sec"}
SUMMARY_SCORE = {"Offline": "Samples per second", "Server": "Completed samples per second"}
PRINTED = 1e-5  # relative: LoadGen prints six digits in the detail log
ROUNDED = 0.006  # absolute: and two decimals of a Server score in the summary
CLOCK_S = 0.003  # power_begin and power_end are given in milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """mlperf_log_detail.txt: the first value of each key, as MLCommons' parser takes it, and the lines marked as errors."""

    path: Path
    values: dict[str, Any]
    times_ms: dict[str, float]
    errors: tuple[str, ...]

    @property
    def scenario(self) -> str:
        """Offline or Server."""
        return str(self.values.get("effective_scenario"))

    @property
    def score(self) -> float:
        """Samples per second; NaN when the log has none."""
        value = self.values.get(SCORE.get(self.scenario, ""))
        return float(value) if isinstance(value, int | float) else float("nan")

    @property
    def samples(self) -> int:
        """Samples that were asked for."""
        return int(self.values.get("result_query_count") or 0) * int(self.values.get("effective_samples_per_query") or 0)

    @property
    def seconds(self) -> float:
        """From the first sample to the last answer; NaN when the log does not say."""
        try:
            begin, end = (datetime.strptime(self.values[f"power_{end}"], "%m-%d-%Y %H:%M:%S.%f") for end in ("begin", "end"))
        except (KeyError, TypeError, ValueError):
            return float("nan")
        return (end - begin).total_seconds()

    @property
    def identity(self) -> tuple[object, ...]:
        """What no two runs share."""
        return tuple(self.values.get(key) for key in ("test_datetime", "power_begin", "power_end", "result_mean_latency_ns"))


def read(path: Path) -> Log:
    """ConfigError when the file is absent or a line of it is garbled."""
    values, times, errors = _parse(text(path))
    return Log(path=path, values=values, times_ms=times, errors=errors)


@functools.lru_cache(maxsize=32)
def _parse(content: str) -> tuple[dict[str, Any], dict[str, float], tuple[str, ...]]:
    """Values, times and errors of a log. Kept: a check reads each of a tree's eight logs three times."""
    values: dict[str, Any] = {}
    times: dict[str, float] = {}
    errors: list[str] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.startswith(MARK.strip()):
            continue
        try:
            entry = json.loads(line[len(MARK):])
            key = entry["key"]
            if entry["metadata"]["is_error"]:
                errors.append(f"{key}: {entry['value']}")
            times.setdefault(key, float(entry["time_ms"]))
            values.setdefault(key, entry["value"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"line {number} is no log entry: {error}") from error
    return values, times, tuple(errors)


def check(folder: Path, where: str, scenario: str, mode: str) -> Iterator[Finding]:
    """Detail and summary log of a run in `folder`; `mode` is performance, accuracy, TEST01 or TEST04."""
    try:
        log = read(folder / DETAIL)
    except ConfigError as error:
        yield Finding(code="log", file=f"{where}/{DETAIL}", found=str(error), wanted="LoadGen's log")
        return
    file = f"{where}/{DETAIL}"
    if log.errors or log.values.get("num_errors"):
        yield Finding(code="loadgen_errors", file=file, found=f"LoadGen errors {list(log.errors)}",
                      wanted="none: repeat the run")
    for key, wanted in _wanted(scenario, mode).items():
        if (found := log.values.get(key)) != wanted:
            yield Finding(code=key, file=file, found=f"{key} is {found!r}", wanted=repr(wanted))
    yield from _at_least(log, file, "effective_performance_sample_count", limits.SAMPLES)
    if not str(log.values.get("loadgen_version")).startswith(f"{limits.LOADGEN}."):
        yield Finding(code="loadgen_version", file=file, found=f"LoadGen {log.values.get('loadgen_version')!r}",
                      wanted=f"release {limits.LOADGEN}")
    if mode == "accuracy":
        if (found := log.values.get("qsl_reported_total_count")) != limits.SAMPLES:
            yield Finding(code="sample_set", file=file, found=f"a sample set of {found}",
                          wanted=f"all {limits.SAMPLES} samples")
    else:
        yield from _limits(log, file)
        yield from _figures(log, file)
    yield from _summary(folder / SUMMARY, f"{where}/{SUMMARY}", log, mode)


def _wanted(scenario: str, mode: str) -> dict[str, object]:
    """Keys whose value is fixed."""
    wanted: dict[str, object] = {"effective_scenario": scenario,
                                 "effective_test_mode": "AccuracyOnly" if mode == "accuracy" else "PerformanceOnly"}
    wanted |= {f"effective_{seed}": value for seed, value in limits.SEEDS.items()}
    for test, settings in limits.AUDIT.items():  # a plain run has none of a test's settings
        wanted |= {f"effective_{key}": value if test == mode else type(value)(0) for key, value in settings.items()}
    if mode != "accuracy":
        wanted |= {"result_validity": "VALID", "early_stopping_met": True, "result_min_duration_met": True,
                   "result_min_queries_met": True}
    return wanted


def _limits(log: Log, file: str) -> Iterator[Finding]:
    """Durations, counts and latency of a performance or compliance run."""
    yield from _at_least(log, file, "effective_min_duration_ms", limits.MIN_DURATION_MS)
    if log.scenario == "Offline":
        yield from _at_least(log, file, "effective_samples_per_query", limits.SAMPLES)
        if float(log.values.get("result_max_latency_ns") or 0) < 1e6 * limits.MIN_DURATION_MS:
            yield Finding(code="duration", file=file, wanted=f"at least {limits.MIN_DURATION_MS / 1e3:g} s",
                          found=f"the last answer after {log.values.get('result_max_latency_ns')} ns")
        return
    limit = log.values.get("effective_target_latency_ns") or float("inf")
    if limit > limits.TARGET_LATENCY_NS:
        yield Finding(code="target_latency", file=file, found=f"effective_target_latency_ns is {limit}",
                      wanted=f"at most {limits.TARGET_LATENCY_NS}")
    if not (log.values.get("result_99.00_percentile_latency_ns") or float("inf")) <= limits.TARGET_LATENCY_NS:
        yield Finding(code="latency", file=file, wanted=f"at most {limits.TARGET_LATENCY_NS}",
                      found=f"99 % within {log.values.get('result_99.00_percentile_latency_ns')} ns")
    short = not log.seconds * 1e3 >= limits.MIN_DURATION_MS
    if not (log.values.get("effective_target_latency_percentile") or 0) >= 0.99:
        # early stopping needs 459 queries at 99 %, so a short run lowers it to be valid
        yield Finding(code="short_percentile" if short else "percentile", file=file, wanted="0.99",
                      found=f"effective_target_latency_percentile is {log.values.get('effective_target_latency_percentile')}")
    if short:
        yield Finding(code="duration", file=file, found=f"answers for {log.seconds:g} s",
                      wanted=f"{limits.MIN_DURATION_MS / 1e3:g} s")


def _at_least(log: Log, file: str, key: str, least: int) -> Iterator[Finding]:
    found = log.values.get(key)
    if not isinstance(found, int | float) or found < least:
        yield Finding(code=key, file=file, found=f"{key} is {found!r}", wanted=f"at least {least}")


def _figures(log: Log, file: str) -> Iterator[Finding]:
    """The score against count and time, which the official checker does not compare; and the order of the latencies."""
    latest = float(log.values.get("result_max_latency_ns") or 0) / 1e9
    # Offline: all samples are asked for at once, so the last answer's latency is the duration. Server (results.cc): the first
    # sample opens the interval and is not counted
    counted, seconds = (log.samples, latest) if log.scenario == "Offline" else (log.samples - 1, log.seconds)
    again = counted / seconds if seconds > 0 else float("nan")
    slack = PRINTED + (0 if log.scenario == "Offline" else CLOCK_S / max(seconds, 1e-9))
    if not abs(log.score - again) <= slack * again:
        yield Finding(code="samples_per_second", file=file, found=f"{log.score:g} samples/s",
                      wanted=f"{again:.6g}: {counted} samples in {seconds:.3f} s")
    if log.scenario == "Offline" and not abs(log.seconds - latest) <= CLOCK_S:
        yield Finding(code="duration", file=file, found=f"the last latency is {latest:.3f} s",
                      wanted=f"{log.seconds:.3f} s, power_end less power_begin")
    if not log.seconds <= log.times_ms.get("result_validity", 0) / 1e3:
        yield Finding(code="duration", file=file, found=f"a run of {log.seconds:g} s",
                      wanted=f"at most the log's own clock, {log.times_ms.get('result_validity', 0) / 1e3:.3f} s")
    percentiles = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
    names = ["result_min_latency_ns", *(f"result_{p}_percentile_latency_ns" for p in percentiles), "result_max_latency_ns"]
    row = [float(log.values.get(name, "nan")) for name in names]
    if not all(lower <= upper for lower, upper in itertools.pairwise(row)):
        yield Finding(code="percentiles", file=file, found=f"latencies {row}", wanted="rising from minimum to maximum")


def summary_fields(content: str) -> dict[str, str]:
    """`name : value` lines of mlperf_log_summary.txt, first wins."""
    fields: dict[str, str] = {}
    for line in content.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _summary(path: Path, file: str, log: Log, mode: str) -> Iterator[Finding]:
    """The summary, which TEST04's script reads and the official checker never opens, says what the detail says."""
    try:
        content = text(path)
    except ConfigError as error:
        yield Finding(code="summary", file=file, found=str(error), wanted="LoadGen's summary")
        return
    if "No errors encountered" not in content:
        yield Finding(code="summary", file=file, found="no line 'No errors encountered'", wanted="a summary that ends so")
    if mode == "accuracy":
        return
    fields = summary_fields(content)
    wanted = {"Scenario": log.scenario, "Mode": log.values.get("effective_test_mode"),
              "Result is": log.values.get("result_validity"),
              "samples_per_query": log.values.get("effective_samples_per_query"),
              "target_latency (ns)": log.values.get("effective_target_latency_ns"),
              "Max latency (ns)": log.values.get("result_max_latency_ns"),
              "99.00 percentile latency (ns)": log.values.get("result_99.00_percentile_latency_ns")}
    for name, value in wanted.items():
        if fields.get(name) != str(value):
            yield Finding(code="summary", file=file, found=f"{name} is {fields.get(name)!r}",
                          wanted=f"{value!r}, as in {DETAIL}")
    name = SUMMARY_SCORE.get(log.scenario, "")
    try:
        printed = float(fields.get(name, "nan"))
    except ValueError:
        printed = float("nan")
    if not abs(printed - log.score) <= max(PRINTED * log.score, ROUNDED if log.scenario == "Server" else 0):
        yield Finding(code="summary", file=file, found=f"{name} is {fields.get(name)!r}",
                      wanted=f"{log.score:g}, as in {DETAIL}")

"""Read mlperf_log_summary.txt, LoadGen's report for people: the form in which results are published, ours or anybody's.

`Summary.figures` has the keys of mlperf_log_detail.txt, so that what judges a run reads either.
"""

from __future__ import annotations

import ast
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from ireeperf.errors import RunError

NAME = "mlperf_log_summary.txt"
TITLE = "MLPerf Results Summary"
# embedded mlperf.conf of each round's LoadGen: qsl, sample index, schedule
SEEDS = {
    "v5.1": (1780908523862526354, 14771362308971278857, 18209322760996052031),
    "v5.0": (6023615788873153749, 15036839855038426416, 9933818062894767841),
}
KEYS = {  # of this log -> of the detail log
    "Samples per second": "result_samples_per_second", "Tokens per second": "result_tokens_per_second",
    "Completed samples per second": "result_completed_samples_per_sec", "Completed tokens per "
                                                                        "second": "result_completed_tokens_per_second",
    "Scheduled samples per second": "result_scheduled_samples_per_sec", "Result is": "result_validity",
    "Performance constraints satisfied": "result_perf_constraints_met", "Min duration satisfied": "result_min_duration_met",
    "Min queries satisfied": "result_min_queries_met", "Early stopping satisfied": "early_stopping_met",
    "Min latency (ns)": "result_min_latency_ns", "Max latency (ns)": "result_max_latency_ns",
    "Mean latency (ns)": "result_mean_latency_ns",
    "Scenario": "effective_scenario", "Mode": "effective_test_mode", "target_latency (ns)": "effective_target_latency_ns",
    "min_duration (ms)": "effective_min_duration_ms", "max_duration (ms)": "effective_max_duration_ms",
    "ttft_latency (ns)": "effective_ttft_latency_ns", "tpot_latency (ns)": "effective_tpot_latency_ns",
}
CONDITIONS = ("result_perf_constraints_met", "result_min_duration_met", "result_min_queries_met", "early_stopping_met")
PARAMETER = re.compile(r"[a-z_]+")
PERCENTILE = re.compile(r"(\d+\.\d\d) percentile latency \(ns\)")
Value = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One result block. A figure that the block does not print has no key."""

    figures: dict[str, Value]
    notes: tuple[str, ...]  # recommendations and what early stopping says, one line each
    errors: bool  # LoadGen encountered errors, which void a run

    @property
    def scenario(self) -> str:
        """Offline, Server, ..."""
        return str(self.figures["effective_scenario"])

    @property
    def valid(self) -> bool:
        """LoadGen's verdict."""
        return self.figures["result_validity"] == "VALID"

    @property
    def samples_per_second(self) -> float:
        """The score: Server's is that of completed samples."""
        key = "result_completed_samples_per_sec" if self.scenario == "Server" else "result_samples_per_second"
        return float(self.figures[key])

    @property
    def seeds_of(self) -> str | None:
        """The MLPerf round whose seeds the run used; None for others, or when the block prints none."""
        seeds = tuple(self.figures.get(f"effective_{name}_rng_seed") for name in ("qsl", "sample_index", "schedule"))
        return next((version for version, known in SEEDS.items() if seeds == known), None)


def read(path: Path) -> Summary:
    """The block of a log file; RunError when there is none, as after a crash."""
    try:
        text = path.read_text()
    except OSError as error:
        raise RunError(f"LoadGen left no {path}: {error.strerror}") from error
    found = parse(text, str(path))
    if len(found) != 1:
        raise RunError(f"{path} holds {len(found)} result blocks, expected one; did the run crash, or is it an accuracy "
                       "run?")
    return found[0]


def parse(text: str, where: str = "the text") -> tuple[Summary, ...]:
    """Every result block of `text`, whatever stands around them."""
    return tuple(_block(block, f"{where}, block {number}") for number, block in enumerate(text.split(TITLE)[1:], 1))


def _block(text: str, where: str) -> Summary:
    figures: dict[str, Value] = {}
    notes: list[str] = []
    for line in text.splitlines():
        if line.startswith(" * ") or (notes and line.startswith(" with the run")) or line == " query were under latency.":
            notes.append(line.removeprefix(" * ").strip())
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        percentile = PERCENTILE.fullmatch(name)
        key = f"result_{percentile[1]}_percentile_latency_ns" if percentile else KEYS.get(name) or (
            f"effective_{name}" if PARAMETER.fullmatch(name) else None)
        if colon and key is not None and value:
            figures.setdefault(key, _value(value))
    missing = [name for name, key in KEYS.items() if name in ("Scenario", "Mode", "Result is") and key not in figures]
    if missing:
        raise RunError(f"{where} has no line {', '.join(map(repr, missing))}; is it a {NAME} of a performance run?")
    return Summary(figures=figures, notes=tuple(notes), errors="ERRORS encountered" in text or "ERROR encountered" in text)


def _value(text: str) -> Value:
    if text in ("Yes", "NO", "No"):
        return text == "Yes"
    if re.fullmatch(r"\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"\d*\.\d+(e[+-]?\d+)?|\d+e[+-]?\d+", text) else text


def inconsistencies(summary: Summary) -> tuple[str, ...]:
    """Where a block contradicts itself: a VALID that its parameters do not bear out, figures that do not fit each other."""
    get = {key: value for key, value in summary.figures.items() if isinstance(value, (int, float))}
    found = []

    def need(holds: bool, text: str) -> None:
        if not holds:
            found.append(text)

    met = [name for name in CONDITIONS if name in get]
    need(summary.valid == all(get[name] for name in met), f"{summary.figures['result_validity']} with "
         f"{', '.join(name for name in met if not get[name]) or 'every condition'} {'not ' if summary.valid else ''}met")
    need(not (summary.valid and summary.errors), "VALID with errors")
    latencies = [(key, get[key]) for key in sorted(get, key=_order) if key.endswith("_latency_ns") and _order(key) >= 0]
    for (lower, least), (upper, most) in itertools.pairwise(latencies):
        need(least <= most, f"{lower} {least:g} is above {upper} {most:g}")
    last_s, samples = get.get("result_max_latency_ns", 0) / 1e9, get.get("effective_samples_per_query", 0)
    mean, least = get.get("result_mean_latency_ns", 0), get.get("result_min_latency_ns", 0)
    need(least <= mean <= last_s * 1e9, f"mean latency {mean / 1e9:.1f} s is outside {least / 1e9:.1f} to {last_s:.1f} s"
         f"{_wrapped(mean, summary.samples_per_second * last_s, least, last_s * 1e9)}")
    if summary.scenario == "Offline" and last_s:
        need(not summary.valid or last_s * 1e3 >= get.get("effective_min_duration_ms", 0),
             f"VALID after {last_s:.1f} s of {get.get('effective_min_duration_ms', 0) / 1e3:g} s")
        drawn = summary.samples_per_second * last_s  # more than asked for where LoadGen fills up passes of the set
        passes = get.get("effective_performance_sample_count", 1)
        fits = any(abs(drawn - count) <= 1e-5 * count for count in (samples, -(-samples // passes) * passes))
        need(fits, f"{summary.samples_per_second:g} samples/s for {last_s:.1f} s are {drawn:.0f} samples, {samples:g} "
                   "were asked for")
    if summary.scenario == "Server" and (limit := get.get("effective_target_latency_ns", 0)) > 0:
        p99 = get.get("result_99.00_percentile_latency_ns", 0)
        need(not summary.valid or p99 <= limit, f"VALID with p99 {p99 / 1e9:.2f} s, limit {limit / 1e9:g} s")
        offered = get.get("result_scheduled_samples_per_sec", summary.samples_per_second)
        need(summary.samples_per_second <= offered * 1.001, f"completed {summary.samples_per_second:g}/s of {offered:g}/s "
                                                            "scheduled")
    return tuple(found)


def _wrapped(mean: float, count: float, least: float, most: float) -> str:
    """The mean that was meant, if a sum of `count` latencies that wrapped at 2**64 ns explains it."""
    meant = mean + 2.0**64 / count if count else 0.0
    return f": LoadGen's sum of latencies passed 2**64 ns, the mean is {meant / 1e9:.1f} s" if least <= meant <= most else ""


def _order(key: str) -> float:
    """Rank of a latency key: minimum, percentiles, maximum; -1 for other keys (the mean has no place)."""
    found = re.fullmatch(r"result_(\d+\.\d\d)_percentile_latency_ns", key)
    return float(found[1]) if found else {"result_min_latency_ns": 0.0, "result_max_latency_ns": 100.0}.get(key, -1.0)


def accuracy(line: str) -> dict[str, float]:
    """Scores of an accuracy script's last line, `Accuracy Results: {'FID_SCORE': '23.8'}` or a bare dictionary."""
    found = re.search(r"\{.*\}", line)
    try:
        scores = ast.literal_eval(found[0]) if found else None
        return {str(name): float(value) for name, value in scores.items()}  # type: ignore[union-attr]
    except (AttributeError, SyntaxError, TypeError, ValueError):
        raise RunError(f"no scores in {line[:100]!r}; an accuracy line is {{'FID_SCORE': '23.8', ...}}") from None

"""Read LoadGen's mlperf_log_detail.txt: lines of `:::MLLOG {json}`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ireeperf.errors import RunError

NAME = "mlperf_log_detail.txt"
MARK = ":::MLLOG "
# what a result keeps of the log: the keys that MLCommons' submission checker reads, and the counts
KEPT = (
    "result_validity", "result_samples_per_second", "result_min_duration_met", "result_min_queries_met", "result_query_count",
    "result_completed_samples_per_sec", "result_scheduled_samples_per_sec", "result_perf_constraints_met", "result_overlatency_query_count",
    "result_invalid_reason", "generated_samples_per_query", "generated_query_count", "loadgen_version",
    "effective_scenario", "effective_test_mode", "effective_samples_per_query", "effective_target_qps",
    "effective_target_latency_ns", "effective_target_latency_percentile",
    "effective_min_duration_ms", "effective_min_query_count", "effective_performance_sample_count",
    "effective_qsl_rng_seed", "effective_sample_index_rng_seed", "effective_schedule_rng_seed",
    "effective_sample_concatenate_permutation", "qsl_reported_total_count", "qsl_reported_performance_count",
    "result_tokens_per_second", "result_completed_tokens_per_second", "requested_use_token_latencies", "requested_server_ttft_latency",
    "requested_server_tpot_latency", "early_stopping_met", "num_errors", "num_warnings",
)
TOKEN_TIMES = ("result_time_per_output_token_", "result_time_to_output_token_")  # ns


def read(path: Path) -> dict[str, Any]:
    """The keys of KEPT that the log has, every `result_*_latency_ns`, and `errors`: the texts of its error lines."""
    found: dict[str, Any] = {"errors": []}
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise RunError(f"LoadGen left no {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.startswith(MARK):
            continue
        try:
            entry = json.loads(line[len(MARK):])
        except json.JSONDecodeError as error:
            raise RunError(f"{path}:{number} is cut off ({error}); was the disk full?") from error
        key = entry["key"]
        if entry["metadata"].get("is_error"):
            found["errors"].append(f"{key}: {entry['value']}")
        if key in KEPT or (key.startswith("result_") and key.endswith("_latency_ns")) or key.startswith(TOKEN_TIMES):
            found[key] = entry["value"]
    return found

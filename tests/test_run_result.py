"""harness.run_result and harness.detail_log: what a run leaves can be read back, and a cut-off log is not believed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness import detail_log, run_result
from harness.run_result import BatchEvent, Interpreter, Plan, RunResult, Timeline, Timing
from ireeperf import document
from ireeperf.errors import ConfigError, RunError

RESULT = RunResult(
    run="r", scenario="Offline", mode="performance", status="valid", cause=None, started_utc="2026-11-24T00:00:00+00:00", model="tiny",
    manifest="build/tiny/manifest.json", manifest_key="k", sample_set="s.npz", sample_set_digest="d", samples_issued=8,
    samples_completed=8, devices=("local-sync://0", "local-sync://1"), batch_size=4,
    loadgen={"result_samples_per_second": 1.5, "errors": []},
    interpreter=Interpreter(version="3.13.5", free_threaded=True, gil_enabled=False),
    timing=Timing(wall=2.0, cpu=3.0, device_busy=3.9, host=0.01), versions={"numpy": "2"}, host={"cores": "2"},
    plan=Plan(samples=8, waves=1, planned_efficiency=1.0, achieved_efficiency=0.97, padded=0))


def test_a_result_reads_back_equal(tmp_path: Path) -> None:
    document.write(RESULT, tmp_path / run_result.NAME)
    assert run_result.read(tmp_path) == RESULT


def test_a_timeline_reads_back_equal(tmp_path: Path) -> None:
    timeline = Timeline(batches=(BatchEvent(device="a", first_sample=3, samples=2, size=2, submitted_ns=1, started_ns=2, completed_ns=9),))
    document.write(timeline, tmp_path / run_result.TIMELINE)
    assert run_result.read_timeline(tmp_path) == timeline


def test_a_folder_without_a_result_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read .*result.json"):
        run_result.read(tmp_path)


def test_a_null_run_is_told_from_its_devices() -> None:
    assert not RESULT.is_null
    assert dataclasses.replace(RESULT, devices=("null://0",)).is_null


def line(key: str, value: str, *, error: bool = False) -> str:
    metadata = f'{{"is_error": {str(error).lower()}, "is_warning": false, "file": "x.cc", "line_no": 1, "pid": 1, "tid": 1}}'
    return f':::MLLOG {{"key": "{key}", "value": {value}, "time_ms": 0.1, "namespace": "mlperf::logging", "metadata": {metadata}}}\n'


def test_figures_seeds_latencies_and_errors_are_kept(tmp_path: Path) -> None:
    path = tmp_path / detail_log.NAME
    path.write_text(line("result_samples_per_second", "3.5") + line("result_validity", '"VALID"') + "noise\n"
                    + line("result_99.00_percentile_latency_ns", "77") + line("power_begin", '"now"')
                    + line("error_invalid_config", '"Multiple conf files"', error=True))
    assert detail_log.read(path) == {
        "result_samples_per_second": 3.5, "result_validity": "VALID", "result_99.00_percentile_latency_ns": 77,
        "errors": ["error_invalid_config: Multiple conf files"]}


def test_a_line_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / detail_log.NAME
    path.write_text(line("result_validity", '"VALID"') + line("result_samples_per_second", "3.5")[:60])
    with pytest.raises(RunError, match=r"mlperf_log_detail\.txt:2 is cut off .*disk full"):
        detail_log.read(path)


def test_no_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="LoadGen left no .*mlperf_log_detail.txt"):
        detail_log.read(tmp_path / detail_log.NAME)

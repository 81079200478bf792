"""harness.server: real LoadGen Server runs on null and IREE devices, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import run_result
from harness.run_result import LOADGEN
from tests import tiny_build

ROOT = Path(__file__).resolve().parents[1]
CONF = """sdxl-nano.Server.target_qps = 60
sdxl-nano.Server.target_latency = {latency}
sdxl-nano.Server.min_duration = 3000
sdxl-nano.Server.min_query_count = 100
sdxl-nano.Server.target_latency_percentile = 90
sdxl-nano.Offline.target_qps = 1
sdxl-nano.Offline.min_duration = 1000
"""
TIMES = 'schema_version = 1\ndevice = "null"\nevidence = "assumed"\nsource = "test"\n[seconds]\n2 = 0.02\n4 = 0.03\n'
NULL = ("--device", "null", "--devices", "4", "--service-times", "times.toml")

pytestmark = pytest.mark.loadgen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_build.write(tmp_path, compiled=False)
    (tmp_path / "user.conf").write_text(CONF.format(latency=1000))
    (tmp_path / "times.toml").write_text(TIMES)
    return tmp_path


def run(folder: Path, scenario: str, *argv: str, code: int = 0) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", f"harness.{scenario}", "--user-conf", "user.conf", "--output", "run", *argv], cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    summary: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return summary


def test_a_performance_run_is_valid_and_every_query_is_answered(folder: Path) -> None:
    summary = run(folder, "server", *NULL)
    result = run_result.read(folder / "run")
    assert summary["valid"] and result.scenario == "Server" and result.plan is None
    assert summary["samples_per_second"] == result.loadgen["result_completed_samples_per_sec"] > 20
    assert result.samples_issued == result.samples_completed == result.loadgen["result_query_count"]
    timeline = run_result.read_timeline(folder / "run")
    assert sum(batch.samples for batch in timeline.batches) == result.samples_completed
    assert {batch.size for batch in timeline.batches} <= {2, 4}


def test_samples_that_take_longer_than_the_limit_make_it_invalid(folder: Path) -> None:
    (folder / "user.conf").write_text(CONF.format(latency=5))
    summary = run(folder, "server", *NULL, code=1)
    assert not summary["valid"] and "latency limit" in summary["cause"]


def test_every_image_reaches_the_accuracy_log_whole(folder: Path) -> None:
    run(folder, "server", "--manifest", str(tiny_build.shared()), "--mode", "accuracy", "--devices", "2", "--sample-count", "21")
    log = json.loads((folder / "run" / LOADGEN / "mlperf_log_accuracy.json").read_text())
    assert sorted(entry["qsl_idx"] for entry in log) == list(range(21))
    for entry in log:
        assert bytes.fromhex(entry["data"]) == bytes(tiny_build.expected([entry["qsl_idx"]])) * 16 * 16 * 3


def test_with_a_deterministic_batch_one_size_is_drawn(folder: Path) -> None:
    run(folder, "server", *NULL, "--deterministic-batch")
    assert {batch.size for batch in run_result.read_timeline(folder / "run").batches} == {4}


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_test01_logs_some_answers_of_a_performance_run(folder: Path, scenario: str) -> None:
    summary = run(folder, scenario, *NULL, "--mode", "TEST01")
    assert summary["valid"] and summary["mode"] == "TEST01" and run_result.read(folder / "run").loadgen["errors"] == []
    log = json.loads((folder / "run" / LOADGEN / "mlperf_log_accuracy.json").read_text())
    assert 0 < len(log) < run_result.read(folder / "run").samples_completed
    # of these samples the tag is the index, so the answers are those of the accuracy run
    assert all(bytes.fromhex(entry["data"])[:4] == entry["qsl_idx"].to_bytes(4, "little") for entry in log)


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_test04_asks_for_one_sample_only(folder: Path, scenario: str) -> None:
    run(folder, scenario, *NULL, "--mode", "TEST04")
    result = run_result.read(folder / "run")
    assert result.status == "valid" and result.loadgen["errors"] == []
    assert len({batch.first_sample for batch in run_result.read_timeline(folder / "run").batches}) == 1

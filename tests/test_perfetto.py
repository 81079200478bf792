"""harness.perfetto: a timeline as trace events. Checked against the format's rules; no viewer is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from harness import perfetto, run_result
from harness.run_result import BatchEvent, Timeline
from ireeperf import document

ROOT = Path(__file__).resolve().parents[1]


def batch(device: str, submitted: int, started: int, completed: int, samples: int = 2) -> BatchEvent:
    """Times in milliseconds."""
    return BatchEvent(device=device, first_sample=7, samples=samples, size=4, submitted_ns=submitted * 10**6, started_ns=started * 10**6,
                      completed_ns=completed * 10**6)


BATCHES = (batch("null://10", 0, 5, 100), batch("null://9", 0, 0, 90, 4), batch("null://9", 95, 96, 200, 1))


def events(kind: str, found: dict) -> list[dict]:
    return [event for event in found["traceEvents"] if event["ph"] == kind]


def test_one_track_per_device_in_order():
    names = [(event["tid"], event["args"]["name"]) for event in events("M", perfetto.trace(BATCHES, "run")) if event["name"] == "thread_name"]
    assert names == [(1, "null://9"), (2, "null://10")]


def test_waiting_is_apart_from_drawing():
    found = events("X", perfetto.trace(BATCHES, "run"))
    assert [(e["tid"], e["name"], e["ts"], e["dur"]) for e in found] == [
        (1, "draw 4", 0, 90e3), (2, "wait", 0, 5e3), (2, "draw 2", 5e3, 95e3), (1, "wait", 95e3, 1e3), (1, "draw 1", 96e3, 104e3)]
    assert found[-1]["args"] == {"samples": 1, "size": 4, "first sample": 7, "submitted_ms": 95.0}


def test_the_counter_follows_what_devices_hold():
    found = events("C", perfetto.trace(BATCHES, "run"))
    assert [(e["ts"] / 1e3, e["args"]["samples"]) for e in found] == [(0, 6), (90, 2), (95, 3), (100, 1), (200, 0)]


def test_slices_of_a_track_never_overlap():
    """A batch that was queued behind another waits from when the device is free: slices that cross are not drawn."""
    queued = (batch("a", 0, 0, 100), batch("a", 10, 100, 200), batch("a", 20, 210, 300))
    found = sorted(events("X", perfetto.trace(queued, "run")), key=lambda event: event["ts"])
    assert all(first["ts"] + first["dur"] <= second["ts"] for first, second in pairwise(found))
    assert [event["name"] for event in found] == ["draw 2", "draw 2", "wait", "draw 2"]


def test_figures_beside_the_picture():
    assert perfetto.figures(BATCHES) == {"busy": round((90 + 95 + 104) / 400, 4), "wait_p99_ms": 1.0}


@pytest.mark.parametrize("given", [True, False])
def test_the_command(tmp_path, given):
    document.write(Timeline(batches=BATCHES), tmp_path / run_result.TIMELINE)
    output = tmp_path / ("other.json" if given else perfetto.NAME)
    command = [sys.executable, "-m", "harness.perfetto", tmp_path, *(["--output", output] if given else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert (line["trace"], line["batches"], line["devices"], line["events"]) == (str(output), 3, 2, 15)
    found = json.loads(output.read_text())
    assert {event["ph"] for event in found["traceEvents"]} == {"M", "X", "C"}
    assert all(event["pid"] == 1 and isinstance(event["tid"], int) for event in found["traceEvents"])


def test_a_run_without_a_timeline_or_without_a_batch(tmp_path):
    for text, message in ((None, "cannot read"), ('{"schema_version": 1, "batches": []}', "holds no batch; the run failed")):
        if text is not None:
            (tmp_path / run_result.TIMELINE).write_text(text)
        done = subprocess.run([sys.executable, "-m", "harness.perfetto", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and message in done.stderr
        assert not (tmp_path / perfetto.NAME).exists()

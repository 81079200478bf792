"""A run's timeline for a trace viewer (ui.perfetto.dev, chrome://tracing): one track per device, waiting apart from drawing.

    python -m harness.perfetto runs/<run> [--output trace.json]

Format: Chrome's trace events as JSON ("Trace Event Format"; Perfetto reads it): complete events (X), counters (C), metadata
(M), times in microseconds. The counter "in flight" is what all devices hold, in samples.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import run_result
from harness.run_result import BatchEvent
from ireeperf import document
from ireeperf.errors import RunError, exit_code

NAME = "trace.json"
PROCESS = 1
Event = dict[str, Any]


def trace(batches: Sequence[BatchEvent], title: str) -> dict[str, Any]:
    """Trace events of `batches`; `title` names the process."""
    devices = sorted({batch.device for batch in batches}, key=_order)
    tracks = {device: number for number, device in enumerate(devices, 1)}
    events = [_metadata("process_name", 0, title)]
    for device, track in tracks.items():
        events += [_metadata("thread_name", track, device), {
            "ph": "M", "pid": PROCESS, "tid": track, "name": "thread_sort_index", "args": {"sort_index": track}}]
    ended = dict.fromkeys(devices, 0)
    for batch in sorted(batches, key=lambda batch: batch.started_ns):
        events += _slices(batch, tracks[batch.device], ended[batch.device])
        ended[batch.device] = batch.completed_ns
    events += _in_flight(batches)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _slices(batch: BatchEvent, track: int, free_ns: int) -> Iterable[Event]:
    """Waiting (from the submit, or from when the device was free) and drawing, or a decoder's call."""
    images = batch.first_sample >= 0
    about = {"samples": batch.samples, "size": batch.size, **({"first sample": batch.first_sample} if images else {}),
             "submitted_ms": batch.submitted_ns / 1e6}
    start = max(batch.submitted_ns, free_ns)
    if start < batch.started_ns:
        yield _slice("wait", track, start, batch.started_ns, about)
    yield _slice(f"{'draw' if images else 'call'} {batch.samples}", track, batch.started_ns, batch.completed_ns, about)


def _slice(name: str, track: int, start_ns: int, end_ns: int, about: dict[str, Any]) -> Event:
    return {"ph": "X", "pid": PROCESS, "tid": track, "name": name, "cat": name.split()[0], "ts": start_ns / 1e3,
            "dur": (end_ns - start_ns) / 1e3, "args": about}


def _in_flight(batches: Sequence[BatchEvent]) -> Iterable[Event]:
    """One point whenever the number of samples on devices changes."""
    changes: dict[int, int] = {}
    for batch in batches:
        changes[batch.submitted_ns] = changes.get(batch.submitted_ns, 0) + batch.samples
        changes[batch.completed_ns] = changes.get(batch.completed_ns, 0) - batch.samples
    held = 0
    for at_ns in sorted(changes):
        held += changes[at_ns]
        yield {"ph": "C", "pid": PROCESS, "tid": 0, "name": "in flight", "ts": at_ns / 1e3, "args": {"samples": held}}


def _metadata(name: str, track: int, value: str) -> Event:
    return {"ph": "M", "pid": PROCESS, "tid": track, "name": name, "args": {"name": value}}


def _order(device: str) -> tuple[str, int]:
    """hip://10 after hip://9."""
    head, _, number = device.rpartition("/")
    return (head, int(number)) if number.isdigit() else (device, -1)


def figures(batches: Sequence[BatchEvent]) -> dict[str, float]:
    """What the picture shows, as numbers: share of the time that devices draw, and the wait between submit and start."""
    spans = {batch.device for batch in batches}
    whole = max(batch.completed_ns for batch in batches) - min(batch.submitted_ns for batch in batches)
    drawing = sum(batch.completed_ns - batch.started_ns for batch in batches)
    waits = sorted(batch.started_ns - batch.submitted_ns for batch in batches)
    p99 = waits[int(0.99 * (len(waits) - 1))]
    return {"busy": round(drawing / max(whole * len(spans), 1), 4), "wait_p99_ms": round(p99 / 1e6, 3)}


def main(argv: Sequence[str] | None = None) -> int:
    """Write a run's timeline as a trace for ui.perfetto.dev."""
    parser = argparse.ArgumentParser(prog="python -m harness.perfetto", allow_abbrev=False, description=main.__doc__)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--output", type=Path, help=f"trace to write (default: {NAME} in the run folder)")
    arguments = parser.parse_args(argv)
    output = arguments.output or arguments.run / NAME
    print(f"harness.perfetto: {arguments.run} to {output}")
    batches = run_result.read_timeline(arguments.run).batches
    if not batches:
        raise RunError(f"{arguments.run / run_result.TIMELINE} holds no batch; the run failed before a device answered")
    found = trace(batches, arguments.run.resolve().name)
    document.write_text(output, json.dumps(found) + "\n")
    print(json.dumps({"trace": str(output), "events": len(found["traceEvents"]), "batches": len(batches), "devices":
                      len({batch.device for batch in batches}), **figures(batches)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

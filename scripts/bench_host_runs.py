"""Runs of the harness as its users start it, on null devices: idle gaps, wave efficiency, memory over time."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import run_result
from harness.run_result import BatchEvent, RunResult
from ireeperf.errors import RunError
from scripts import bench_host_build as build

PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLE_SECONDS = 1.0  # between two readings of a run's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class NullRun:
    """An Offline run of `waves` full waves on `devices` null devices."""

    name: str
    batch_size: int
    seconds: float  # service time of a batch
    waves: int
    side: int  # of an image, pixels
    jitter: float = 0.0  # standard deviation of the service time, relative; 0: all devices in step, the worst case for a pool
    devices: int = 64
    realtime: bool = False  # before everything else on the machine: a shared one measures its other load otherwise

    @property
    def samples(self) -> int:
        """Of the query."""
        return self.devices * self.batch_size * self.waves

    @property
    def planned_seconds(self) -> float:
        """All waves, one after the other, and nothing between them."""
        return self.waves * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a run left and what was seen of it."""

    result: RunResult
    batches: tuple[BatchEvent, ...]
    wall_s: float  # of the process
    rss_mib: tuple[tuple[float, float], ...]  # (seconds since the process started, MiB), of the run's processes
    load_average: tuple[float, float]  # of one minute: before, after


def carry_out(run: NullRun, folder: Path) -> Ran:
    """Run it in `folder` (new); RunError with the harness's last words when it did not complete every sample."""
    folder.mkdir(parents=True)
    made = build.write(folder / "build", side=run.side, sizes=(run.batch_size,))
    conf = build.write_conf(folder / "user.conf", run.samples)
    times = build.write_times(folder / "times.toml", {run.batch_size: run.seconds}, run.jitter, f"scripts/bench host, {run.name}")
    command = [sys.executable, "-m", "harness.offline", *build.arguments(made, conf, folder / "run", batch_size=run.batch_size),
               "--devices", str(run.devices), "--service-times", str(times)]
    if run.realtime:
        command = ["chrt", "--rr", "1", *command]
    before = os.getloadavg()[0]
    started, memory = time.monotonic(), []
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=build.ROOT, stdout=output, stderr=subprocess.STDOUT,
                                   env=build.environment(sys.executable))
        try:
            while process.poll() is None:
                memory.append((time.monotonic() - started, resident_mib(process.pid)))
                time.sleep(SAMPLE_SECONDS)
        finally:
            process.kill()
            process.wait()
    wall = time.monotonic() - started
    result = finished(run, folder)
    return Ran(result=result, batches=run_result.read_timeline(folder / "run").batches, wall_s=wall,
               rss_mib=tuple(each for each in memory if each[1] > 0), load_average=(before, os.getloadavg()[0]))


def finished(run: NullRun, folder: Path) -> RunResult:
    """The run's result; RunError when it is not whole."""
    last = (folder / "output.txt").read_text(errors="replace").strip().splitlines()[-1:]
    if not (folder / "run" / run_result.NAME).is_file():
        raise RunError(f"{run.name} left no result: {last}; see {folder / 'output.txt'}")
    result = run_result.read(folder / "run")
    if result.status == "failed" or result.loadgen.get("errors") or result.samples_completed != run.samples:
        raise RunError(f"{run.name} completed {result.samples_completed} of {run.samples} samples: {result.cause}; see {folder}")
    return result


def resident_mib(process: int) -> float:
    """Resident memory of a process and its children, summed; 0 when it is gone."""
    try:
        own = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE / 2**20
        children = {child for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()}
    except (OSError, IndexError):
        return 0.0
    return own + sum(resident_mib(int(child)) for child in children)


def gaps_ms(batches: Iterable[BatchEvent]) -> np.ndarray:
    """Milliseconds that a device idled between two batches: next start less completion, sorted."""
    own: defaultdict[str, list[BatchEvent]] = defaultdict(list)
    for batch in batches:
        own[batch.device].append(batch)
    gaps = [after.started_ns - before.completed_ns for events in own.values()
            for before, after in itertools.pairwise(sorted(events, key=lambda batch: batch.started_ns))]
    return np.sort(np.array(gaps)) / 1e6


def gap_figures(run: NullRun, ran: Ran) -> dict[str, Any]:
    """The idle gaps of a run, absolute and as a part of the service time."""
    gaps = gaps_ms(ran.batches)
    p99 = float(np.percentile(gaps, 99))
    return {"batch_size": run.batch_size, "devices": run.devices, "service_s": run.seconds, "jitter": run.jitter, "side": run.side, "gaps": len(gaps),
            "realtime": run.realtime,
            "p50_ms": float(np.percentile(gaps, 50)), "p99_ms": p99, "max_ms": float(gaps[-1]),
            "p99_of_service": p99 / 1e3 / run.seconds, "samples_per_second": ran.result.loadgen["result_samples_per_second"],
            "planned_samples_per_second": run.samples / run.planned_seconds, "load_average": ran.load_average}


def wave_figures(run: NullRun, ran: Ran) -> dict[str, Any]:
    """How near a run came to its waves: busy devices, and LoadGen's rate against the planned one."""
    plan = ran.result.plan
    assert plan is not None
    planned = run.samples / run.planned_seconds
    rate = ran.result.loadgen["result_samples_per_second"]
    return {"batch_size": run.batch_size, "devices": run.devices, "service_s": run.seconds, "side": run.side, "waves": plan.waves,
            "realtime": run.realtime, "planned_efficiency": plan.planned_efficiency, "achieved_efficiency": plan.achieved_efficiency,
            "planned_samples_per_second": planned, "samples_per_second": rate, "rate_of_plan": rate / planned,
            "host_cpu_s": ran.result.timing.host, "load_average": ran.load_average}


def memory_figures(ran: Ran, settled_s: float) -> dict[str, Any]:
    """Resident memory from `settled_s` after the start to the end: the most that it grew by, and its slope (least squares).

    The last reading is left out: the process may be ending.
    """
    times, sizes = np.array(ran.rss_mib[:-1]).T
    late = times >= settled_s
    if np.count_nonzero(late) < 2:
        raise RunError(f"the run took {ran.wall_s:.0f} s; memory after {settled_s:g} s cannot be judged, ask for more samples")
    slope = float(np.polyfit(times[late], sizes[late], 1)[0]) * 60
    return {"rss_at_settled_mib": float(sizes[late][0]), "rss_last_mib": float(sizes[-1]), "rss_max_mib": float(sizes.max()),
            "growth_mib": float(sizes[late].max() - sizes[late][0]), "slope_mib_per_minute": slope, "readings": int(np.count_nonzero(late))}


def rounded(value: Any) -> Any:
    """Floats to four digits, all the way down: what is printed."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def last_object(text: str) -> dict[str, Any]:
    """The JSON object on the last line of `text`; RunError when there is none."""
    for line in text.splitlines()[-1:]:
        if line.startswith("{"):
            return dict(json.loads(line))
    raise RunError(f"no JSON on the last line: {text[-500:]!r}")

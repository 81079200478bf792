"""What the harness costs its host, and how long devices wait for it; ratios are of contestants that take turns in one run.

    ./scripts/bench host                                  # cost, gaps, waves: about 12 minutes on 2 cores
    ./scripts/bench host --parts modes                    # threads, processes, free-threaded Python

cost: CPU and images/s per 1024x1024 image, against a model of AMD's path that is given the same FP16 images.
gaps: time that each of 64 null devices idles between two batches, at four times the rate of AMD's MI325X result.
waves: AMD's service time at batch size 32 scaled 1:100, achieved against planned. The last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ireeperf.errors import ConfigError, RunError
from scripts import bench_host_runs as runs
from scripts.bench_host_build import FREE_THREADED, ROOT, environment
from scripts.bench_host_runs import NullRun

PARTS = ("cost", "gaps", "waves", "modes")
SIZES = (2, 32)  # AMD's batch sizes: Server, Offline
# MLPerf v5.1, 5.1-0004 (8 x MI325X in CPX, 64 devices): Offline 18.5856 samples/s; the first batch of 32 came back after 107.57 s
AMD_RATE, AMD_BS32_SECONDS, AMD_DEVICES = 18.5856, 107.57, 64
JITTER = 0.02  # standard deviation of a batch's time on one machine, relative
FASTER = 4  # gaps are measured at this multiple of AMD's rate
FIGURES = ("parent_cpu_ms_per_image", "total_cpu_ms_per_image", "wall_ms_per_image", "images_per_s", "peak_rss_mib")
CONTESTANT_SECONDS = 300
TARGETS = {"total_cpu": 5.0, "images_per_s": 20.0, "parent_cpu_ms": {2: 0.2, 32: 0.1}, "gap_p99_ms": 10.0, "gap_of_service": 0.001, "efficiency": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One way to bring images from devices to LoadGen."""

    path: str
    python: str = sys.executable
    isolation: str = "thread"
    group_size: int = 1
    devices: int = 1

    @property
    def label(self) -> str:
        """Path, interpreter and isolation where they are not the usual ones."""
        where = f"process-{self.group_size}" if self.isolation == "process" else "thread"
        return f"{self.path} {'3.13t' if self.python == str(FREE_THREADED) else 'ordinary'} {where}"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench host", description=str(__doc__).split("\n\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--parts", default="cost,gaps,waves", help=f"of {','.join(PARTS)} (default %(default)s)")
    add("--rounds", type=int, default=5, help="of cost and modes (default %(default)s)")
    add("--side", type=int, default=1024, help="of the images of cost and modes, pixels (default %(default)s)")
    add("--images", type=int, default=1024, help="of each of our runs (default %(default)s)")
    add("--amd-images", type=int, default=64, help="of each run of the model of AMD's path, which is slow (default %(default)s)")
    add("--devices", type=int, default=64, help="of gaps and waves (default %(default)s)")
    add("--null-side", type=int, default=128,
        help="of the images of gaps and waves (default %(default)s: at 1024 null devices keep the cores busy with filling them)")
    add("--time-scale", type=float, default=1.0, help="on the service times of gaps and waves (default %(default)s)")
    add("--realtime", action="store_true", help="run gaps and waves under chrt --rr 1: what a machine of their own would give")
    options = parser.parse_args(argv)
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(PARTS):
        raise ConfigError(f"--parts {','.join(sorted(unknown))} is none of {', '.join(PARTS)}")
    if options.rounds < 1:
        raise ConfigError(f"--rounds is {options.rounds}; at least 1")
    if options.realtime and shutil.which("chrt") is None:
        raise ConfigError("--realtime needs the program chrt; install util-linux or leave it out")
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    print(f"settings  {' '.join(f'{key}={value}' for key, value in vars(options).items())}", flush=True)
    print(f"machine   {len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    parts: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {"cost": cost, "gaps": gaps, "waves": waves, "modes": modes}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-host-") as folder:
        found = {name: parts[name](options, Path(folder) / name) for name in options.parts}
    summary: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load_average": [load, os.getloadavg()[0]], "side": options.side}
    summary |= {"rounds": options.rounds} | headline(found) | found
    print(json.dumps(runs.rounded(summary)), flush=True)
    return 0


def headline(found: dict[str, Any]) -> dict[str, Any]:
    """The figures that have a target, at the top, and whether they reach it."""
    top: dict[str, Any] = {}
    met: dict[str, bool] = {}
    if "cost" in found:
        for key in FIGURES[:2] + FIGURES[3:4]:
            top[key] = {size: each["uint8"][key]["median"] for size, each in found["cost"].items()}
        for size, each in found["cost"].items():
            met[f"parent_cpu_bs{size}"] = each["uint8"]["parent_cpu_ms_per_image"]["median"] <= TARGETS["parent_cpu_ms"][int(size)]
            met[f"total_cpu_ratio_bs{size}"] = each["ratio_total_cpu_fp16"]["median"] >= TARGETS["total_cpu"]
            met[f"images_per_s_ratio_bs{size}"] = each["ratio_images_per_s_uint8"]["median"] >= TARGETS["images_per_s"]
    for name, gap in found.get("gaps", {}).items():
        met[f"gap_{name}"] = gap["p99_ms"] <= TARGETS["gap_p99_ms"] and gap["p99_of_service"] <= TARGETS["gap_of_service"]
    if "waves" in found:
        met["waves"] = found["waves"]["achieved_efficiency"] >= TARGETS["efficiency"] * found["waves"]["planned_efficiency"]
    return top | {"met": met}


def cost(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Per batch size: each contestant's figures over the rounds, and the ratios of each round to the model of AMD's path."""
    contestants = [Contestant(path=path) for path in ("amd", "fp16", "uint8")]
    found: dict[str, Any] = {}
    for size in SIZES:
        rounds = take_turns(contestants, options, folder, size)
        amd, fp16, uint8 = (rounds[each] for each in contestants)
        found[str(size)] = {
            "model_of_amds_path": spread(amd), "fp16": spread(fp16), "uint8": spread(uint8),
            "ratio_total_cpu_fp16": ratio(amd, fp16, "total_cpu_ms_per_image"),
            "ratio_total_cpu_uint8": ratio(amd, uint8, "total_cpu_ms_per_image"),
            "ratio_images_per_s_fp16": ratio(fp16, amd, "images_per_s"),
            "ratio_images_per_s_uint8": ratio(uint8, amd, "images_per_s")}
    return found


def modes(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """8 devices, uint8: threads, one process a device, one process for all; on either Python where both are there."""
    pythons = [sys.executable] + ([str(FREE_THREADED)] if FREE_THREADED.exists() else [])
    contestants = [Contestant(path=path, python=python, isolation=isolation, group_size=group, devices=8)
                   for python in pythons for path in ("uint8", "fp16")
                   for isolation, group in (("thread", 1), ("process", 1), ("process", 8))]
    return {each.label: spread(figures) for each, figures in take_turns(contestants, options, folder, 2).items()}


def take_turns(contestants: Sequence[Contestant], options: argparse.Namespace, folder: Path,
               size: int) -> dict[Contestant, list[dict[str, Any]]]:
    """Every contestant once a round, each round beginning with the next one."""
    found: dict[Contestant, list[dict[str, Any]]] = {each: [] for each in contestants}
    for turn in range(options.rounds):
        first = turn % len(contestants)
        for each in [*contestants[first:], *contestants[:first]]:
            place = folder / f"bs{size}-{turn}-{each.label.replace(' ', '-')}"
            found[each].append(compete(each, options, place, size))
            shutil.rmtree(place)
            last = found[each][-1]
            print(f"round {turn + 1} batch size {size} {each.label:24} {last['images_per_s']:9.1f} images/s, CPU ms/image: parent "
                  f"{last['parent_cpu_ms_per_image']:.3f}, all {last['total_cpu_ms_per_image']:.3f}", file=sys.stderr, flush=True)
    return found


def compete(contestant: Contestant, options: argparse.Namespace, folder: Path, size: int) -> dict[str, Any]:
    """One run in a process of its own; RunError with its last words."""
    images = options.amd_images if contestant.path == "amd" else options.images
    folder.mkdir(parents=True)
    command = [contestant.python, "-m", "scripts.bench_host_contestant", str(folder), "--path", contestant.path, "--batch-size", str(size),
               "--samples", str(-(-images // size) * size), "--side", str(options.side), "--devices", str(contestant.devices),
               "--isolation", contestant.isolation]
    command += ["--group-size", str(contestant.group_size)] if contestant.isolation == "process" else []
    done = subprocess.run(command, cwd=ROOT, env=environment(contestant.python), capture_output=True, text=True, check=False,
                          timeout=CONTESTANT_SECONDS)
    if done.returncode != 0:
        raise RunError(f"{contestant.label} at batch size {size} ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    found = runs.last_object(done.stdout)
    if found["loadgen_errors"]:
        raise RunError(f"{contestant.label} at batch size {size}: LoadGen logged {found['loadgen_errors'][0]}")
    return found


def spread(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median and range of each figure."""
    return {key: interval([each[key] for each in rounds]) for key in FIGURES} | {"images": rounds[0]["images"]}


def ratio(over: Sequence[dict[str, Any]], under: Sequence[dict[str, Any]], key: str) -> dict[str, float]:
    """Median and range of the rounds' ratios."""
    return interval([above[key] / below[key] for above, below in zip(over, under, strict=True)])


def interval(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def gaps(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Idle gaps at FASTER times AMD's rate: a wave of batch size n takes n x devices / rate.

    With 2 % of jitter, as machines have; and with none, where all devices complete in the same millisecond, wave after wave.
    """
    found = {}
    for size, jitter, waves_ in ((2, JITTER, 20), (2, 0.0, 20), (32, JITTER, 3), (32, 0.0, 3)):
        seconds = size * AMD_DEVICES / (FASTER * AMD_RATE) * options.time_scale
        run = NullRun(name=f"gaps-bs{size}-{jitter:g}", batch_size=size, seconds=seconds, waves=waves_, side=options.null_side, jitter=jitter,
                      devices=options.devices, realtime=options.realtime)
        print(f"{run.name}: about {run.planned_seconds + 2 * seconds:.0f} s", file=sys.stderr, flush=True)
        found[f"bs{size}_{'jitter' if jitter else 'in_step'}"] = runs.gap_figures(run, runs.carry_out(run, folder / run.name))
    return found


def waves(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """AMD's Offline run, 53 waves of batch size 32, at a hundredth of its service time."""
    run = NullRun(name="waves", batch_size=32, seconds=AMD_BS32_SECONDS / 100 * options.time_scale, waves=53, side=options.null_side,
                  devices=options.devices, realtime=options.realtime)
    print(f"{run.name}: about {run.planned_seconds + 2 * run.seconds:.0f} s", file=sys.stderr, flush=True)
    return runs.wave_figures(run, runs.carry_out(run, folder / run.name))

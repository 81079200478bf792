"""One contestant, one LoadGen run, one process: LoadGen can be started once in each. Prints one JSON line.

    python -m scripts.bench_host_contestant FOLDER --path amd|fp16|uint8 --batch-size 2 --samples 64 --side 1024

fp16, uint8: the harness as it is (scenario.measure: DevicePool, FifoPolicy, LoadGen, run folder) on StoredEngine. amd: the model.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness import detail_log, inputs, record, scenario, settings
from harness.inputs import Inputs
from harness.loadgen import LoadGen
from harness.run_result import LOADGEN, RunResult
from ireeperf.errors import exit_code
from runtime.batch import Ended, Event, Issue
from runtime.device import Device
from runtime.pool import DevicePool, MakeDevices, thread_devices
from runtime.process_device import children_cpu_seconds, process_devices
from scripts import bench_host_build as build
from scripts.bench_host_engines import StoredEngine, half_images

END_SECONDS = 300.0  # of the model's run, at most


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts.bench_host_contestant", allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="new or empty; all that the run writes")
    parser.add_argument("--path", choices=("amd", "fp16", "uint8"), required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--side", type=int, required=True)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--isolation", choices=("thread", "process"), default="thread")
    parser.add_argument("--group-size", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    options = parse()
    folder = build.write(options.folder / "build", side=options.side, sizes=(options.batch_size,))
    conf = build.write_conf(options.folder / "user.conf", options.samples)
    argv = build.arguments(folder, conf, options.folder / "run", batch_size=options.batch_size)
    argv += ["--devices", str(options.devices), "--isolation", options.isolation, "--group-size", str(options.group_size)]
    run = settings.parse("Offline", argv)
    found = inputs.resolve(run, "Offline", datetime.now(UTC))
    inputs.make_folder(found.output)
    loadgen = LoadGen(model=found.manifest.model.loadgen_model, scenario="Offline", mode="performance", user_conf=found.user_conf,
                      samples=len(found.samples))
    figures = amd(options, found, loadgen) if options.path == "amd" else ours(options, run, found, loadgen)
    print(json.dumps({"path": options.path, "batch_size": options.batch_size, "peak_rss_mib": resource.getrusage(
        resource.RUSAGE_SELF).ru_maxrss // 1024} | figures), flush=True)
    return 0


class Clocks:
    """CPU seconds of this process, of its device and post threads, of its children."""

    def __init__(self, devices: dict[str, Device]) -> None:
        self._devices = devices

    def read(self) -> dict[str, float]:
        """Now."""
        own = 0.0
        for thread in threading.enumerate():
            if (thread.name in self._devices or thread.name.startswith("post")) and thread.ident is not None:
                own += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        return {"process": time.process_time(), "devices": own, "children": children_cpu_seconds(self._devices.values()),
                "wall": time.monotonic()}


class Clocked(record.RunRecord):
    """The run's record, with the CPU time of each kind of thread between its two clock readings."""

    def __init__(self, clocks: Clocks, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._clocks = clocks
        self.before: dict[str, float] = {}
        self.after: dict[str, float] = {}

    def start_clock(self, pool: DevicePool) -> None:
        super().start_clock(pool)
        self.before = self._clocks.read()

    def finish(self, samples: int) -> RunResult:
        self.after = self._clocks.read()
        return super().finish(samples)


def ours(options: argparse.Namespace, run: settings.RunSettings, found: Inputs, loadgen: LoadGen) -> dict[str, Any]:
    """The harness, with engines that answer at once."""
    uris = tuple(f"null://{index}" for index in range(options.devices))
    makers = {uri: partial(StoredEngine, options.path, options.batch_size, options.side) for uri in uris}
    devices: dict[str, Device] = {}
    make: MakeDevices = thread_devices({uri: maker() for uri, maker in makers.items()}) if options.isolation == "thread" else (
        lambda post: process_devices(makers, post, group_size=options.group_size, image_shape=found.manifest.images.image_shape,
                                     max_batch=options.batch_size))

    def made(post: Callable[[Event], None]) -> dict[str, Device]:
        devices.update(make(post))
        return devices

    run_record = Clocked(Clocks(devices), run, found, "Offline", uris)
    result = scenario.measure(run, found, run_record, loadgen, made)
    spent = {name: run_record.after[name] - run_record.before[name] for name in run_record.before}
    return figures(result.samples_completed, spent, parent=spent["process"] - spent["devices"], log=result.loadgen)


def amd(options: argparse.Namespace, found: Inputs, loadgen: LoadGen) -> dict[str, Any]:
    """The model of AMD's path."""
    from scripts.bench_host_amd import AmdPath

    path = AmdPath(half_images(options.batch_size, options.side))
    ended = threading.Event()

    def post(event: Event) -> None:
        if isinstance(event, Issue):
            path.issue(event.samples)
        elif isinstance(event, Ended):
            ended.set()

    loadgen.ask_for(options.samples)
    folder = found.output / LOADGEN
    folder.mkdir()
    clocks = Clocks({})
    before = clocks.read()
    loadgen.start(folder, post)
    children = path.answer(options.samples)
    if not ended.wait(END_SECONDS):
        raise TimeoutError(f"LoadGen did not end {END_SECONDS:g} s after its last answer")
    after = clocks.read()
    spent = {name: after[name] - before[name] for name in before} | {"children": children}
    return figures(options.samples, spent, parent=spent["process"], log=detail_log.read(folder / detail_log.NAME))


def figures(samples: int, spent: dict[str, float], *, parent: float, log: dict[str, Any]) -> dict[str, Any]:
    """Per image. The rate is LoadGen's own: samples over the latency of the last one."""
    return {"images": samples, "wall_s": spent["wall"], "wall_ms_per_image": spent["wall"] / samples * 1e3,
            "parent_cpu_ms_per_image": parent / samples * 1e3, "loadgen_errors": log["errors"],
            "total_cpu_ms_per_image": (spent["process"] + spent["children"]) / samples * 1e3,
            "images_per_s": log["result_samples_per_second"]}


if __name__ == "__main__":
    code = exit_code(main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as the harness ends: LoadGen's thread and the devices' are not waited for

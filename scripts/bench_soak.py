"""Memory over time: half a million samples through real LoadGen on 64 null devices, resident memory read every second.

    ./scripts/bench soak                # about 4 minutes

The last line of stdout is one JSON object; exit code 1 when memory grew by more than --limit after the first minute.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts import bench_host_runs as runs
from scripts.bench_host_runs import NullRun

SETTLED_SECONDS = 60.0  # "memory flat after the first minute"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description=str(__doc__).split("\n\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--samples", type=int, default=500_000, help="at least; rounded up to whole waves (default %(default)s)")
    add("--devices", type=int, default=64)
    add("--batch-size", type=int, default=32)
    add("--seconds", type=float, default=0.9, help="service time of a batch (default %(default)s)")
    add("--side", type=int, default=128, help="of an image, pixels (default %(default)s)")
    add("--settled", type=float, default=SETTLED_SECONDS, help="seconds after which memory must be flat (default %(default)g)")
    add("--limit", type=float, default=16.0, help="MiB that it may grow by after that (default %(default)g)")
    options = parser.parse_args(argv)
    waves = -(-options.samples // (options.devices * options.batch_size))
    run = NullRun(name="soak", batch_size=options.batch_size, seconds=options.seconds, waves=waves, side=options.side, devices=options.devices)
    print(f"settings  {' '.join(f'{key}={value}' for key, value in vars(options).items())}")
    print(f"run       {run.samples} samples in {waves} waves, about {run.planned_seconds:.0f} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as folder:
        ran = runs.carry_out(run, Path(folder) / "soak")
    memory = runs.memory_figures(ran, options.settled)
    flat = memory["growth_mib"] <= options.limit
    print(json.dumps(runs.rounded({"samples": run.samples, "batches": len(ran.batches), "devices": run.devices, "wall_s": ran.wall_s, **memory,
                                   "rss_mib_over_time": [[time, size] for time, size in ran.rss_mib[::10]], "flat": flat,
                                   "samples_per_second": ran.result.loadgen["result_samples_per_second"],
                                   "host_cpu_s": ran.result.timing.host, "load_average": ran.load_average})), flush=True)
    return 0 if flat else 1

"""LoadGen's Offline scenario: one query holds every sample, the score is samples per second.

    python -m harness.offline                                            # the newest build, its sample set
    python -m harness.offline --manifest build/sdxl_nano_bs8-cpu --mode accuracy --sample-count 256
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from datetime import UTC, datetime
from typing import Final

from harness import engines, inputs, record
from harness.inputs import Inputs
from harness.loadgen import LoadGen
from harness.progress import Progress
from harness.run_result import RunResult
from harness.settings import RunSettings, parse
from ireeperf.errors import exit_code
from runtime.device import Engine
from runtime.policy import FifoPolicy, Respond
from runtime.pool import DevicePool

SCENARIO: Final = "Offline"
WARM_UP_SLACK = 1.5  # one warm-up batch per device is a rough measure, most of all on a shared machine


def plan(wanted: int, devices: int, batch_size: int, rate: float, min_duration_s: float) -> int:
    """Samples of a performance query: what the conf files want, enough for min_duration, in whole waves.

    `rate` is samples per second of all devices, as warmed up: LoadGen's rule, slack x duration x rate, is applied to it as
    well as to the conf's target_qps, so that a machine faster than its conf stays valid.
    """
    wave = devices * batch_size
    return math.ceil(max(wanted, WARM_UP_SLACK * min_duration_s * rate, 1) / wave) * wave


def run(settings: RunSettings) -> int:
    """One run in one folder: 0 when valid, 1 when LoadGen says invalid; otherwise raises, and result.json has the cause."""
    found = inputs.resolve(settings, SCENARIO, datetime.now(UTC))
    uris = engines.uris(settings, found)
    print(record.headline(settings, found, uris), flush=True)
    loadgen = LoadGen(model=found.manifest.model.loadgen_model, scenario=SCENARIO, mode=settings.mode,
                      user_conf=found.user_conf, samples=len(found.samples))
    ready = engines.make(settings, found)
    inputs.make_folder(found.output)
    with record.terminated_as_error():
        run_record = record.RunRecord(settings, found, SCENARIO, uris)
        try:
            result = measure(settings, found, run_record, loadgen, ready)
        except BaseException as error:
            run_record.fail(error)
            raise
    print(json.dumps(record.summary(result, found.output)), flush=True)
    return 0 if result.status == "valid" else 1


def measure(settings: RunSettings, found: Inputs, run_record: record.RunRecord, loadgen: LoadGen,
            ready: dict[str, Engine]) -> RunResult:
    """Open and warm the devices, let LoadGen run, judge what it logged."""
    policy = FifoPolicy(tuple(ready), batch_sizes=found.manifest.model.sample_batch_sizes, batch_size=found.batch_size,
                        open_seconds=settings.ready_timeout, on_loss=settings.on_device_loss, now_ns=time.monotonic_ns())
    pool = DevicePool(ready, policy)
    print(f"opening and warming up {len(ready)} device{'s' if len(ready) > 1 else ''}", file=sys.stderr, flush=True)
    progress = Progress(policy)
    pool.open(progress.tick)
    slowest = max(device.warm_seconds for device in pool.ready.values())
    policy.batch_seconds = settings.batch_timeout or max(60.0, 20 * slowest)
    samples, rate = len(found.samples), len(pool.ready) * found.batch_size / max(slowest, 1e-6)
    if settings.mode == "performance":
        samples = plan(loadgen.offline_samples(), len(pool.ready), found.batch_size, rate, loadgen.min_duration_s)
        loadgen.ask_for(samples)
    print(f"{samples} samples, about {samples / rate:.0f} s at {rate:.2f} samples/s (warm-up batch: {slowest:.2f} s)",
          file=sys.stderr, flush=True)

    def respond(answer: Respond) -> None:
        loadgen.respond(answer)
        run_record.add(answer)
        progress.tick()

    progress.start()
    run_record.start_clock(pool)
    loadgen.start(run_record.loadgen_folder, pool.post)
    pool.serve(respond, progress.tick)
    progress.end()
    result = run_record.finish(policy.issued)
    pool.close()
    return result


def main() -> int:
    return run(parse("offline"))


if __name__ == "__main__":
    code = exit_code(main)
    sys.stdout.flush()
    sys.stderr.flush()
    # LoadGen's StartTest and a device that hangs cannot be interrupted, and a normal exit waits for both
    os._exit(code)

"""One LoadGen run, whichever the scenario: open the devices, let LoadGen ask, answer, judge, record."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from harness import engines, inputs, machine_partition, policies, record
from harness.inputs import Inputs
from harness.loadgen import LoadGen
from harness.progress import Progress
from harness.run_result import RunResult, Scenario
from harness.settings import RunSettings, parse
from runtime.batching import whole_waves
from runtime.decoder_policy import DecoderPolicy, Tell
from runtime.device_policy import hang_seconds
from runtime.policy import Respond
from runtime.pool import DevicePool, MakeDevices

WARM_UP_SLACK = 1.5  # one warm-up batch per device is a rough measure, most of all on a shared machine
NULL_SLACK = 1.1  # LoadGen's own: a null device takes the time that its table says


def main(scenario: Scenario) -> int:
    """The body of a scenario's program."""
    return run(parse(scenario), scenario)


def run(settings: RunSettings, scenario: Scenario) -> int:
    """One run in one folder: 0 when valid, 1 when LoadGen says invalid; otherwise raises, and result.json has the cause."""
    found = inputs.resolve(settings, scenario, datetime.now(UTC))
    machine = machine_partition.of_run(settings, found)
    uris = engines.uris(settings, found, machine)
    print(record.headline(settings, found, uris), flush=True)
    loadgen = LoadGen(model=inputs.loadgen_key(found.manifest, scenario), scenario=scenario, mode=settings.mode,
                      user_conf=found.user_conf, samples=len(found.samples))
    build = engines.checked_build(settings, found)
    print(f"memory    {engines.memory(settings, found, uris, build)}", flush=True)
    devices = engines.devices(settings, found, uris, build, machine)
    inputs.make_folder(found.output)
    with record.terminated_as_error():
        run_record = record.RunRecord(settings, found, scenario, uris, machine)
        try:
            result = measure(settings, found, run_record, loadgen, devices)
        except BaseException as error:
            run_record.fail(error)
            raise
    for line in result.advice:
        print(f"advice: {line}", file=sys.stderr, flush=True)
    print(json.dumps(record.summary(result, found.output)), flush=True)
    return 0 if result.status == "valid" else 1


def measure(settings: RunSettings, found: Inputs, run_record: record.RunRecord, loadgen: LoadGen, devices: MakeDevices) -> RunResult:
    """Open and warm the devices, let LoadGen run, judge what it logged."""
    uris = run_record.uris
    policy = policies.of_run(settings, found, run_record.scenario, uris, loadgen)
    pool = DevicePool(devices, policy)
    print(f"opening and warming up {len(uris)} device{'s' if len(uris) > 1 else ''}", file=sys.stderr, flush=True)
    progress = Progress(policy)
    pool.open(progress.tick)
    slowest = max(policies.slowest_seconds(device, found) for device in pool.ready.values())
    policy.batch_seconds = settings.batch_timeout or hang_seconds(slowest)
    if isinstance(policy, DecoderPolicy):
        slowest = max(policies.sequence_seconds(device, found) for device in pool.ready.values())
    elif settings.device == "null":
        slowest = max(engines.null_times(settings).of(found.batch_size), 1e-3)  # known: a warm-up on a busy machine would show less
    rate = len(pool.ready) * found.batch_size / max(slowest, 1e-6)
    print(intent(run_record, loadgen, rate, len(pool.ready)) + f" (warm-up batch: {slowest:.2f} s)", file=sys.stderr, flush=True)

    def respond(answer: Respond | Tell) -> None:
        loadgen.respond(answer)
        run_record.add(answer)
        progress.tick()

    progress.start(0.0 if run_record.scenario == "Offline" else loadgen.min_duration_s)
    run_record.start_clock(pool)
    loadgen.start(run_record.loadgen_folder, pool.post)
    pool.serve(respond, progress.tick)
    progress.end()
    result = run_record.finish(policy.issued)
    pool.close()
    return result


def intent(run_record: record.RunRecord, loadgen: LoadGen, rate: float, devices: int) -> str:
    """What LoadGen will ask for, settled with it where the harness has a say (Offline's sample count), in words."""
    found, mode = run_record.inputs, run_record.settings.mode
    if run_record.scenario != "Offline":
        paced = len(found.samples) / loadgen.target_qps if mode == "accuracy" else loadgen.min_duration_s
        return (f"arrivals at {loadgen.target_qps:g} samples/s for at least {paced:.0f} s, {loadgen.limits}; "
                f"full batches could give {rate:.2f} samples/s")
    samples = len(found.samples)
    if mode != "accuracy":
        slack = NULL_SLACK if run_record.settings.device == "null" else WARM_UP_SLACK
        samples = plan(loadgen.offline_samples(), devices, found.batch_size, slack * rate, loadgen.min_duration_s)
        loadgen.ask_for(samples)
    return f"{samples} samples, about {samples / rate:.0f} s at {rate:.2f} samples/s"


def plan(wanted: int, devices: int, batch_size: int, rate: float, min_duration_s: float) -> int:
    """Samples of an Offline query: what the conf files want, enough for min_duration, in whole waves.

    `rate` is samples per second of all devices, as warmed up, with slack: LoadGen's rule, slack x duration x rate, is applied
    to it as well as to the conf's target_qps, so that a machine faster than its conf stays valid.
    """
    return whole_waves(max(wanted, min_duration_s * rate, 1), devices, batch_size)

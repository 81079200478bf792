"""Simulate a LoadGen run in virtual time: the pool's own policy, or AMD's, on a modelled machine. Seconds for 107,400 samples.

    python -m harness.simulate --scenario Server                          # 8 x MI325X, our policy, AMD's service times as fitted
    python -m harness.simulate --scenario Offline --policy amd
    python -m harness.simulate --record                                   # beside AMD's record; exit 1 beyond tolerance
    python -m harness.simulate --against runs/20261124T...-server-...     # beside a real run on null devices
    python -m harness.simulate --tables                                   # the tables of docs/SIMULATOR.md

The last line is one JSON object. Exit code 0 valid, 1 invalid or beyond tolerance, 2 an error. Nothing here is a measurement.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness import record_fit, virtual_run, what_if
from harness.virtual_run import KINDS, Kind, MachineModel, PolicyName, VirtualResult, VirtualRun
from ireeperf.errors import ConfigError, exit_code
from runtime.partition import PRESETS

TOLERANCE = 0.03  # of --against: samples/s, p50 and p99


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateSettings:
    """The command line. None: as the preset has it."""

    preset: str
    scenario: Kind
    policy: PolicyName
    devices: int | None
    batch_sizes: tuple[int, ...] | None
    service_times: str | None
    service_factor: float
    jitter: float | None
    spread: float | None
    start_stagger: float | None
    target_qps: float | None
    target_latency: float
    duration: float
    samples: int | None
    seed: int
    slow: float | None
    slow_devices: int
    dead: int
    dead_at: float
    loss: Literal["raise", "hang"]
    on_device_loss: Literal["fail", "continue"]
    record: bool
    fit: Literal["Offline", "Server"] | None
    against: Path | None
    tolerance: float
    tables: str | None
    json: bool


def parse(argv: Sequence[str] | None = None) -> SimulateSettings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.simulate", allow_abbrev=False, description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--preset", default="mi325x_cpx", help="machine: a name of harness/virtual_machines or a .toml file (default %(default)s)")
    add("--scenario", choices=KINDS, default="Offline", help="TEST01 and TEST04 are Offline's compliance runs (default %(default)s)")
    add("--policy", choices=("ours", "amd"), default="ours", help="amd: fixed batch size, 3 s batcher, AMD's processes a partition")
    add("--devices", type=int, help="partitions")
    add("--batch-sizes", type=_sizes, metavar="N,N", help="compiled batch sizes")
    add("--service-times", metavar="NAME|FILE", help="another table; its evidence and source are printed")
    add("--service-factor", type=float, default=1.0, metavar="X", help="every service time X times as long (default %(default)g)")
    add("--jitter", type=float, help="standard deviation of a batch's time, relative")
    add("--spread", type=float, help="standard deviation of the partitions' speeds, relative")
    add("--start-stagger", type=float, metavar="S", help="partition i begins its first batch S x i seconds late")
    add("--target-qps", type=float, help="Server: arrivals per second; Offline: sizes the query where --samples does not")
    add("--target-latency", type=float, default=20.0, metavar="S", help="Server's limit for 99 %% of the samples (default %(default)g)")
    add("--duration", type=float, default=600.0, metavar="S", help="LoadGen's min_duration (default %(default)g)")
    add("--samples", type=int, help="Offline: samples in the query; our policy makes whole waves of it")
    add("--seed", type=int, default=0, help="of jitter and spread; LoadGen's schedule has its own (default %(default)s)")
    add("--slow", type=float, metavar="FACTOR", help="--slow-devices partitions take FACTOR times as long")
    add("--slow-devices", type=int, default=1, metavar="N", help="how many --slow is for (default %(default)s)")
    add("--dead", type=int, default=0, metavar="N", help="N partitions stop in the middle of the run")
    add("--dead-at", type=float, default=300.0, metavar="S", help="when (default %(default)g)")
    add("--loss", choices=("raise", "hang"), default="raise", help="how they stop (default %(default)s)")
    add("--on-device-loss", choices=("fail", "continue"), default="continue", help="as of harness.server (default %(default)s)")
    add("--record", action="store_true", help="compare AMD's policy with AMD's MLPerf v5.1 record")
    add("--fit", choices=("Offline", "Server"), help="search the preset's parameters again (minutes)")
    add("--against", type=Path, metavar="RUN", help="compare with this run folder of null devices; --service-times is its table")
    add("--tolerance", type=float, default=TOLERANCE, help="of --against, relative (default %(default)g)")
    add("--tables", nargs="?", const="all", choices=("all", *what_if.NAMES), help="print the tables of docs/SIMULATOR.md (minutes), or one")
    add("--json", action="store_true", help="only the JSON line")
    return SimulateSettings(**vars(parser.parse_args(argv)))  # a flag without a field is a TypeError


def main(argv: Sequence[str] | None = None) -> int:
    """The program."""
    settings = parse(argv)
    if settings.against is not None:
        from harness import against_run  # here: reads a run folder, which nothing else does

        return _print(settings, *against_run.compare(settings.against, settings.service_times, settings.seed, settings.tolerance))
    model = virtual_run.machine_model(settings.preset)
    if settings.fit is not None:
        parameters, error = record_fit.fit(model, settings.fit, report=lambda line: print(line, flush=True))
        return _print(settings, f"fitted to {', '.join(record_fit.FITTED[settings.fit])}",
                      {"fit": settings.fit, **{name: getattr(parameters, name) for name in record_fit.BOXES[settings.fit]}, "worst_error": error}, 0)
    if settings.record:
        rows = record_fit.compare(model)
        missed = [f"{row.kind} {row.figure}" for row in rows if not row.holds]
        worst = {f"{row.kind}.{row.figure}": round(row.error, 5) for row in rows if row.tolerance is not None}
        return _print(settings, record_fit.table(rows), {"record": model.name, "errors": worst, "missed": missed}, 1 if missed else 0)
    if settings.tables is not None:
        for title, text in what_if.tables(model, settings.tables):
            print(f"### {title}\n\n{text}\n", flush=True)
        return 0
    result = virtual_run.simulate(run_of(settings, model))
    return _print(settings, describe(result, model), summary(result, model), 1 if result.verdict.invalid else 0)


def run_of(settings: SimulateSettings, model: MachineModel) -> VirtualRun:
    """The preset's run with what the command line says otherwise."""
    run = virtual_run.from_model(model, settings.scenario, settings.policy)
    table = virtual_run.table(settings.service_times) if settings.service_times is not None else run.machine.service_times
    partitions = settings.devices if settings.devices is not None else run.machine.partitions
    if settings.slow is not None and not settings.slow > 0:
        raise ConfigError(f"--slow {settings.slow:g}: a factor above 0 is needed")
    if settings.dead + (settings.slow_devices if settings.slow is not None else 0) > partitions or min(settings.dead, settings.slow_devices) < 0:
        raise ConfigError(f"--dead {settings.dead}, --slow-devices {settings.slow_devices}: the machine has {partitions} partitions")
    machine = replace(
        run.machine, partitions=partitions, service_times=virtual_run.scaled(table, settings.service_factor, settings.jitter),
        spread=run.machine.spread if settings.spread is None else settings.spread,
        start_stagger_s=run.machine.start_stagger_s if settings.start_stagger is None else settings.start_stagger,
        slow={} if settings.slow is None else dict.fromkeys(range(settings.slow_devices), settings.slow),
        lost={partitions - 1 - index: settings.dead_at for index in range(settings.dead)}, loss=settings.loss)
    return replace(run, machine=machine, sizes=settings.batch_sizes or run.sizes, seed=settings.seed, duration_s=settings.duration,
                   target_qps=run.target_qps if settings.target_qps is None else settings.target_qps,
                   samples=run.samples if settings.samples is None else settings.samples,
                   target_latency_s=settings.target_latency, on_loss=settings.on_device_loss)


def summary(result: VirtualResult, model: MachineModel) -> dict[str, Any]:
    """What --json prints."""
    run, verdict, outcome = result.run, result.verdict, result.outcome
    return {
        "scenario": run.kind, "policy": run.policy, "samples_per_second": round(verdict.samples_per_second, 4),
        **{name: round(verdict.latency[name], 4) for name in ("p50", "p90", "p99", "min", "mean", "max")},
        "valid": not verdict.invalid, "cause": "; ".join(verdict.invalid) or None, "efficiency": round(result.efficiency, 5),
        "samples": len(outcome.completed_ns), "seconds": round(float(outcome.completed_ns.max()) / 1e9, 3), "batches": outcome.batches,
        "padded": outcome.padded, "late": verdict.late, "reissued": outcome.reissued, "lost": outcome.lost,
        "assumed": {"machine": model.name, "partitions": run.machine.partitions, "processes": run.machine.processes,
                    "batch_sizes": run.sizes, "target_qps": run.target_qps, "target_latency_s": run.target_latency_s, "seed": run.seed,
                    "spread": run.machine.spread, "contention": run.machine.contention, "start_stagger_s": run.machine.start_stagger_s,
                    "slow": {str(index): factor for index, factor in run.machine.slow.items()},
                    "jitter": run.machine.service_times.jitter, "service_times": run.machine.service_times.seconds,
                    "evidence": run.machine.service_times.evidence, "source": run.machine.service_times.source}}


def describe(result: VirtualResult, model: MachineModel) -> str:
    """A short table."""
    run, verdict = result.run, result.verdict
    machine = run.machine
    sizes = ", ".join(f"{size}: {machine.service_times.of(size):g} s" for size in run.sizes)
    what = PRESETS[model.name.replace("_", "-")].mode if model.name.replace("_", "-") in PRESETS else "-"
    lines = [f"{run.kind}, {run.policy} policy, {machine.partitions} partitions of {model.name} ({what}), {machine.processes} a partition, "
             f"seed {run.seed}", f"service times {machine.service_times.evidence} ({sizes}; jitter {machine.service_times.jitter:.1%}, "
             f"spread {machine.spread:.1%}): simulated, not measured", ""]
    rows = {"samples/s": f"{verdict.samples_per_second:.4f}", "efficiency": f"{result.efficiency:.2%}",
            **{f"{name} latency": f"{verdict.latency[name]:.3f} s" for name in ("min", "p50", "p90", "p99", "max")},
            "verdict": "VALID" if not verdict.invalid else "INVALID: " + "; ".join(verdict.invalid)}
    return "\n".join(lines + [f"  {name:<12}  {value}" for name, value in rows.items()])


def _print(settings: SimulateSettings, text: str, line: dict[str, Any], code: int) -> int:
    if not settings.json:
        print(text, flush=True)
    print(json.dumps(line), flush=True)
    return code


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        sizes = ()
    if not sizes or sizes[0] < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of batch sizes like 2,32")
    return sizes


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

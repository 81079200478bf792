"""Same machine, other policy, batch sizes, speeds or losses: the tables of docs/SIMULATOR.md, made by `--tables`.

Intervals are least to most over seeds and over the jitter fitted to the record and 2 %. Nothing here was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.virtual_run import MachineModel, PolicyName, VirtualResult, VirtualRun, from_model, scaled, simulate, table
from runtime.service_times import ServiceTimes

FACTORS = (1.00, 1.02, 1.04, 1.06)  # host cost and contention that our one process a partition may add
JITTERS = (None, 0.02)  # None: the table's
SEEDS = range(4)
QPS_STEP = 0.05
SIZES: tuple[tuple[int, ...], ...] = ((2,), (1, 2), (1, 2, 4), (1, 2, 4, 8), (1, 2, 4, 8, 16, 32))
PARTITIONS = (8, 64, 512)
NAMES = ("offline", "server", "highest", "sizes", "faults")
_POLICIES: tuple[PolicyName, PolicyName] = ("amd", "ours")


def tables(model: MachineModel, only: str) -> Iterator[tuple[str, str]]:
    """Title and Markdown of each table, or of one of NAMES, as they are ready."""
    makers = {
        "offline": ("Offline, only the policy changed (batch size 32)", offline),
        "server": ("Server at 16.5 arrivals/s, only the policy changed (batch size 2)", server),
        "highest": ("Highest target_qps that is VALID (p99 within 20 s)", highest),
        "sizes": ("Other batch sizes, Server (assumed service times)", other_sizes),
        "faults": ("One slow, one dead partition", faults)}
    for name in NAMES if only == "all" else (only,):
        title, make = makers[name]
        yield title, make(model)


def offline(model: MachineModel) -> str:
    """Whole waves against a half-empty last one."""
    lines = ["| run | start | AMD's policy | ours | gain |", "|---|---|---|---|---|"]
    for kind in ("Offline", "TEST01"):
        for stagger in (2.8, 0.0) if kind == "Offline" else (0.0,):
            amd, ours = ([simulate(_with(from_model(model, kind, policy), jitter, 1.0, seed, stagger)) for jitter in JITTERS for seed in SEEDS]
                         for policy in _POLICIES)
            count = f"{len(amd[0].outcome.completed_ns)} / {len(ours[0].outcome.completed_ns)} samples"
            lines.append(f"| {kind}, {count} | {'staggered as recorded' if stagger else 'together'} | {_rates(amd)} samples/s "
                         f"| {_rates(ours)} | {_gains(amd, ours)} |")
    return "\n".join(lines)


def server(model: MachineModel) -> str:
    """Two processes a partition and a fixed size against one and a deadline."""
    lines = ["| policy | service times | completed samples/s | p50 | p90 | p99 | VALID |", "|---|---|---|---|---|---|---|"]
    for name, run, factor in _server_rows(model):
        found = [simulate(_with(run, jitter, factor, seed)) for jitter in JITTERS for seed in SEEDS]
        lines.append(f"| {name} | x{factor:.2f} | {_rates(found)} | {_latencies(found, 'p50')} | {_latencies(found, 'p90')} "
                     f"| {_latencies(found, 'p99')} | {_valid(found)} |")
    return "\n".join(lines)


def highest(model: MachineModel) -> str:
    """The same rows, bisected."""
    lines = ["| policy | service times | highest target_qps | completed samples/s there |", "|---|---|---|---|"]
    for name, run, factor in _server_rows(model):
        found = [highest_qps(_with(run, jitter, factor, seed)) for jitter in JITTERS for seed in range(2)]
        rates = [result.verdict.samples_per_second for _, result in found]
        lines.append(f"| {name} | x{factor:.2f} | {_interval([qps for qps, _ in found], 2)} | {_interval(rates, 2)} |")
    return "\n".join(lines)


def _server_rows(model: MachineModel) -> Iterator[tuple[str, VirtualRun, float]]:
    """AMD's policy as it ran, its batcher with one process a partition (which change does what), ours."""
    amd = from_model(model, "Server", "amd")
    yield "AMD's", amd, 1.0
    yield "AMD's batcher, one process a partition", replace(amd, machine=replace(amd.machine, processes=1)), 1.0
    for factor in FACTORS:
        yield "ours", from_model(model, "Server", "ours"), factor


def other_sizes(model: MachineModel) -> str:
    """Executables that AMD did not compile: what they would give if the assumed table were true."""
    lines = ["| compiled sizes | evidence | p50 at 16.5/s | p99 at 16.5/s | highest target_qps |", "|---|---|---|---|---|"]
    base, assumed = from_model(model, "Server", "ours"), table("mi325x_cpx_assumed")
    for sizes in SIZES:
        run = replace(base, sizes=sizes, machine=replace(base.machine, service_times=base.machine.service_times if sizes == (2,) else assumed))
        found = [simulate(_with(run, jitter, 1.0, seed)) for jitter in JITTERS for seed in range(2)]
        most = [highest_qps(replace(run, seed=seed))[0] for seed in range(2)]
        lines.append(f"| {', '.join(map(str, sizes))} | {'fitted' if sizes == (2,) else 'assumed'} | {_latencies(found, 'p50')} "
                     f"| {_latencies(found, 'p99')} | {_interval(most, 2)} |")
    return "\n".join(lines)


def faults(model: MachineModel) -> str:
    """Partition 0 slow, or the last one stopped half-way; load in proportion to the partitions, Offline in 10 whole waves."""
    lines = ["| partitions | what | AMD's policy: Server p99 | ours: Server p99 | VALID (AMD, ours) | ours: Offline samples/s | of whole "
             "| with size 2 compiled too (assumed) |", "|---|---|---|---|---|---|---|---|"]
    for partitions in PARTITIONS:
        whole = 0.0
        for what, slow, dead in (("-", {}, False), ("one x1.5", {0: 1.5}, False), ("one x3", {0: 3.0}, False), ("one raises", {}, True)):
            runs = [_faulty(from_model(model, "Server", policy), partitions, slow, dead) for policy in _POLICIES]
            offline_run = _faulty(from_model(model, "Offline", "ours"), partitions, slow, dead)
            amd, ours = (simulate(run) for run in runs)
            rate = simulate(offline_run).verdict.samples_per_second
            small = replace(offline_run, sizes=(2, 32), machine=replace(offline_run.machine, service_times=table("mi325x_cpx_assumed")))
            whole = whole or rate
            lines.append(f"| {partitions} | {what} | {amd.verdict.latency['p99']:.2f} s | {ours.verdict.latency['p99']:.2f} s "
                         f"| {_valid([amd])}, {_valid([ours])} | {rate:.3f} | {rate / whole:.1%} "
                         f"| {simulate(small).verdict.samples_per_second / whole:.1%} |")
    return "\n".join(lines)


def highest_qps(run: VirtualRun) -> tuple[float, VirtualResult]:
    """The highest target_qps whose run is valid, to QPS_STEP, by bisection, and that run; the schedule changes with the rate."""
    ceiling = max(run.machine.rate(size) for size in run.sizes)
    low, high = 1, int(ceiling * 1.1 / QPS_STEP)
    best = simulate(replace(run, target_qps=low * QPS_STEP))
    while high - low > 1:
        middle = (low + high) // 2
        result = simulate(replace(run, target_qps=middle * QPS_STEP))
        low, high, best = (middle, high, result) if not result.verdict.invalid else (low, middle, best)
    return low * QPS_STEP, best


def _with(run: VirtualRun, jitter: float | None, factor: float, seed: int, stagger: float | None = None) -> VirtualRun:
    times: ServiceTimes = scaled(run.machine.service_times, factor, jitter)
    machine = replace(run.machine, service_times=times, start_stagger_s=run.machine.start_stagger_s if stagger is None else stagger)
    return replace(run, machine=machine, seed=seed)


def _faulty(run: VirtualRun, partitions: int, slow: dict[int, float], dead: bool) -> VirtualRun:
    machine = replace(run.machine, partitions=partitions, slow=slow, lost={partitions - 1: 300.0} if dead else {}, start_stagger_s=0.0)
    return replace(run, machine=machine, target_qps=run.target_qps * partitions / run.machine.partitions,
                   samples=partitions * max(run.sizes) * 10 if run.scenario == "Offline" else None)


def _interval(values: Sequence[float], digits: int) -> str:
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _rates(found: Sequence[VirtualResult]) -> str:
    return _interval([each.verdict.samples_per_second for each in found], 3)


def _latencies(found: Sequence[VirtualResult], name: str) -> str:
    return _interval([each.verdict.latency[name] for each in found], 2) + " s"


def _gains(before: Sequence[VirtualResult], after: Sequence[VirtualResult]) -> str:
    gains = [100 * (b.verdict.samples_per_second / a.verdict.samples_per_second - 1) for a, b in zip(before, after, strict=True)]
    return _interval(gains, 2) + " %"


def _valid(found: Sequence[VirtualResult]) -> str:
    good = sum(not each.verdict.invalid for each in found)
    return "yes" if good == len(found) else "no" if not good else f"{good} of {len(found)}"

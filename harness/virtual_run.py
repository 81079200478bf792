"""One simulated LoadGen run: machine, policy and scenario in, LoadGen's verdict out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from harness import loadgen_rules
from harness.amd_policy import FixedSize
from harness.loadgen_rules import Verdict
from harness.virtual_time import Machine, Outcome, Simulation
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError
from runtime import service_times
from runtime.batching import Batching, Deadline, Throughput, whole_waves
from runtime.device_policy import hang_seconds
from runtime.policy import FifoPolicy
from runtime.service_times import ServiceTimes

Kind = Literal["Offline", "Server", "TEST01", "TEST04"]
KINDS: tuple[Kind, ...] = ("Offline", "Server", "TEST01", "TEST04")
PolicyName = Literal["ours", "amd"]
MACHINES, TABLES = Path(__file__).parent / "virtual_machines", Path(__file__).parent / "service_times"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioModel:
    """A machine in one scenario, as AMD's harness ran it."""

    service_times: str  # name of a table in harness/service_times, or a path
    sizes: tuple[int, ...]  # compiled batch sizes
    spread: float
    contention: float
    processes: int  # per partition, of AMD's policy; ours has one
    start_stagger_s: float  # of the recorded performance run
    target_qps: float
    samples: int | None = None  # Offline: in the query


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineModel:
    """A machine that can be simulated."""

    schema_version: ClassVar[int] = 1
    name: str
    partitions: int
    source: str  # where the figures come from
    scenarios: dict[str, ScenarioModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualRun:
    """What to simulate."""

    kind: Kind
    policy: PolicyName
    machine: Machine
    sizes: tuple[int, ...]
    target_qps: float
    samples: int | None = None  # Offline: wanted in the query; ours makes whole waves of it
    duration_s: float = loadgen_rules.MIN_DURATION_S
    target_latency_s: float = loadgen_rules.TARGET_LATENCY_S
    on_loss: Literal["fail", "continue"] = "continue"
    schedule_seed: int = loadgen_rules.SCHEDULE_SEED
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.target_qps > 0 or not self.duration_s > 0 or (self.samples is not None and self.samples < 1):
            raise ConfigError(f"target_qps {self.target_qps:g}, {self.duration_s:g} s, {self.samples} samples: all must be above 0")
        if self.policy == "amd" and len(self.sizes) != 1:
            raise ConfigError(f"AMD's harness draws one batch size, not {list(self.sizes)}; give one with --batch-sizes")

    @property
    def scenario(self) -> Literal["Offline", "Server"]:
        """LoadGen's: TEST01 and TEST04 are of Offline."""
        return "Server" if self.kind == "Server" else "Offline"

    def schedule_ns(self) -> np.ndarray:
        """When each sample is issued: [samples] int64, nanoseconds."""
        if self.scenario == "Server":
            return loadgen_rules.arrivals_ns(self.target_qps, self.duration_s, seed=self.schedule_seed)
        return np.zeros(self.query_samples(), np.int64)

    def query_samples(self) -> int:
        """Samples of an Offline query: as asked, else LoadGen's rule; in whole waves where the policy is ours."""
        rule = round(loadgen_rules.SLACK * self.duration_s * self.target_qps, 6)
        wanted = self.samples if self.samples is not None else max(loadgen_rules.MIN_OFFLINE_SAMPLES, int(rule))
        return whole_waves(wanted, self.machine.partitions, max(self.sizes)) if self.policy == "ours" else wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualResult:
    """What came of it."""

    run: VirtualRun
    outcome: Outcome = field(repr=False)
    verdict: Verdict

    @property
    def efficiency(self) -> float:
        """Samples per second over what all partitions draw in full batches of the best size at the table's service times."""
        return self.verdict.samples_per_second / max(self.run.machine.rate(size) for size in self.run.sizes)


def simulate(run: VirtualRun, schedule_ns: np.ndarray | None = None) -> VirtualResult:
    """Run it in virtual time, with another schedule if one is given; DeviceError when no device is left."""
    for size in run.sizes:
        run.machine.service_times.of(size)
    policy = FifoPolicy(run.machine.devices, batching=batching(run), open_seconds=loadgen_rules.MIN_DURATION_S, on_loss=run.on_loss, now_ns=0)
    slowest = max(run.machine.service_times.of(size) for size in run.sizes) * max([1.0, *run.machine.slow.values()])
    policy.batch_seconds = hang_seconds(slowest)
    outcome = Simulation(run.machine, policy, run.seed).run(run.schedule_ns() if schedule_ns is None else schedule_ns)
    verdict = loadgen_rules.judge(run.scenario, outcome.scheduled_ns, outcome.completed_ns, target_latency_s=run.target_latency_s,
                                  min_duration_s=run.duration_s)
    return VirtualResult(run=run, outcome=outcome, verdict=verdict)


def batching(run: VirtualRun) -> Batching:
    """The same classes that a real run has, or AMD's."""
    if run.policy == "amd":
        return FixedSize(run.sizes[0], None if run.scenario == "Offline" else 3.0)
    return Throughput(run.sizes) if run.scenario == "Offline" else Deadline(run.sizes, run.target_latency_s)


def machine_model(name: str) -> MachineModel:
    """A model that comes with the harness, or a file."""
    return document.read(MachineModel, _named(MACHINES, name, "--preset"))


def table(name: str) -> ServiceTimes:
    """A service-time table that comes with the harness, or a file."""
    return service_times.read(_named(TABLES, name, "--service-times"))


def from_model(model: MachineModel, kind: Kind, policy: PolicyName) -> VirtualRun:
    """The recorded run of `kind`; with our policy, one process a partition.

    The performance run started staggered, TEST01 and TEST04 did not (docs/SIMULATOR.md): both policies get what the record had.
    """
    scenario = "Server" if kind == "Server" else "Offline"
    if scenario not in model.scenarios:
        raise ConfigError(f"{model.name} has no {scenario}; it has {', '.join(model.scenarios)}")
    of = model.scenarios[scenario]
    machine = Machine(partitions=model.partitions, service_times=table(of.service_times), spread=of.spread, contention=of.contention,
                      processes=of.processes if policy == "amd" else 1, start_stagger_s=of.start_stagger_s if kind in model.scenarios else 0.0)
    return VirtualRun(kind=kind, policy=policy, machine=machine, sizes=of.sizes, target_qps=of.target_qps,
                      samples=of.samples if kind == "Offline" else None)


def scaled(times: ServiceTimes, factor: float, jitter: float | None = None) -> ServiceTimes:
    """The table with every time multiplied by `factor`, and another jitter if one is given."""
    return replace(times, seconds={size: seconds * factor for size, seconds in times.seconds.items()},
                   jitter=times.jitter if jitter is None else jitter)


def _named(folder: Path, name: str, flag: str) -> Path:
    path = folder / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        raise MissingFileError(f"{flag} {name} is neither a file nor one of {', '.join(sorted(each.stem for each in folder.glob('*.toml')))}")
    return path

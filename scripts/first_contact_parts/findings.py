"""Findings: what a machine showed, one JSON. Written by `first_contact run` as it goes, read by `first_contact ingest`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ireeperf import document

NAME = "first_contact.json"
Outcome = Literal["ok", "wrong", "failed", "crashed", "hung", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage for one executable (or for the machine)."""

    name: str
    unit: str  # "" for a stage of the machine
    outcome: Literal["ok", "failed", "crashed", "hung", "skipped"]
    seconds: float
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchCheck:
    """One distinct dispatch on the device, given the reference's own inputs bit for bit."""

    unit: str
    label: str
    outcome: Outcome
    calls: dict[str, int]
    relative_error: float | None = None  # ||device - CPU|| / ||CPU||, the worst of its results
    greatest_difference: float | None = None
    tolerance: float | None = None
    inputs: str = ""  # "reference": from the graph's own run; "seeded": normals, the graph did not reach it on the CPU
    microseconds: float | None = None  # of one launch: (repeated - single) / (repeats - 1), medians
    call_microseconds: float | None = None  # of one call with one launch in it, median
    baseline_microseconds: float | None = None  # of one launch compiled without the tuning spec
    runs: int = 0
    cause: str = ""

    @property
    def name(self) -> str:
        return self.label.split("::")[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPointCheck:
    """One entry point of an executable as the harness runs it: error against the CPU, and time."""

    unit: str
    module: str
    batch_size: int
    entry_point: str
    outcome: Outcome
    relative_error: float | None = None
    tolerance: float | None = None
    seconds: float | None = None  # median wall time of a call, arguments on the device
    fastest_seconds: float | None = None
    spread: float | None = None  # standard deviation / mean of the calls
    reference_seconds: float | None = None  # the CPU's, with every dispatch traced: no figure of speed
    runs: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTime:
    """A whole batch on one device: encode, initialize, every step, decode. What a service time is."""

    batch_size: int
    device: str
    seconds: float  # median wall time
    fastest_seconds: float
    spread: float  # standard deviation / mean
    runs: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStart:
    """One of all devices, opened in one process, one batch on each at a time."""

    uri: str
    batch_size: int
    outcome: Outcome
    open_seconds: float | None = None
    together_seconds: float | None = None  # a batch while all had one
    same_as_first: bool | None = None  # bit for bit the first device's result
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that one run found. `evidence` is "measured" and nothing else: what did not run is absent and says why."""

    schema_version: ClassVar[int] = 1
    started_utc: str
    budget_seconds: float
    seconds: float
    complete: bool  # every stage ran; no stage was skipped for time
    evidence: Literal["measured"]
    machine: dict[str, Any]  # host, drivers, devices, partition, versions
    contents: dict[str, Any]  # of the archive: model, target, compiler, spec, planted
    device: str  # the one that dispatches were checked on
    stages: tuple[Stage, ...]
    dispatches: tuple[DispatchCheck, ...]
    entry_points: tuple[EntryPointCheck, ...]
    batches: tuple[BatchTime, ...]
    devices: tuple[DeviceStart, ...]

    @property
    def culprits(self) -> tuple[DispatchCheck, ...]:
        """Dispatches that got the reference's inputs and did not give its results."""
        return tuple(one for one in self.dispatches if one.outcome not in ("ok", "skipped"))


def read(path: Path) -> Findings:
    """Read a first_contact.json; ConfigError when malformed."""
    return document.read(Findings, path)

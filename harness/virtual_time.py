"""Virtual time: the pool's policy, unchanged, on modelled devices. No thread sleeps; a run of hours takes seconds.

The policy sees what the pool would show it (Ready, Issue, Completion, Failure, expired deadlines) in order of time. A
partition has compute that its processes share: one that runs alone draws at full speed, k at once at 1 / (k x contention) each.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, Literal

import numpy as np

from ireeperf.errors import ConfigError, DeviceError
from runtime.batch import Batch, Completion, Failure, Issue, Ready, Sample
from runtime.device_policy import Abandon, Fail
from runtime.policy import Action, FifoPolicy, Respond, Submit
from runtime.service_times import ServiceTimes

NS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Partitions and how long they take."""

    partitions: int
    service_times: ServiceTimes  # of an idle partition; its jitter is of each batch
    processes: int = 1  # devices a partition shows
    contention: float = 1.0  # k processes at once take k x this as long as one; 1: they share the compute without loss
    spread: float = 0.0  # standard deviation of the partitions' speeds, relative
    start_stagger_s: float = 0.0  # partition i begins its first batch this many seconds x i late
    slow: Mapping[int, float] = field(default_factory=dict)  # partition -> times as long
    lost: Mapping[int, float] = field(default_factory=dict)  # partition -> second of the run at which it stops
    loss: Literal["raise", "hang"] = "raise"

    def __post_init__(self) -> None:
        if self.partitions < 1 or self.processes < 1:
            raise ConfigError(f"{self.partitions} partitions of {self.processes} processes; at least one of each is needed")
        if not self.contention > 0 or not 0 <= self.spread < 1 / 3 or self.start_stagger_s < 0:
            raise ConfigError(f"contention {self.contention:g}, spread {self.spread:g}, stagger {self.start_stagger_s:g} s; "
                              "above 0, from 0 to below 1/3, from 0")
        for index in (*self.slow, *self.lost):
            if not 0 <= index < self.partitions:
                raise ConfigError(f"partition {index} of {self.partitions} cannot be slow or lost")

    @property
    def devices(self) -> list[str]:
        """Their names, in the order in which they become ready: the first process of each partition first."""
        return [f"virtual://{partition}.{process}" for process in range(self.processes) for partition in range(self.partitions)]

    def rate(self, size: int) -> float:
        """Samples per second of all partitions in full batches of `size`, one process each."""
        return self.partitions * size / self.service_times.of(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What happened. Times in nanoseconds of virtual time."""

    scheduled_ns: np.ndarray  # [samples] int64
    completed_ns: np.ndarray  # [samples] int64
    batches: int
    padded: int  # rows drawn and discarded
    reissued: int
    lost: dict[str, str]
    busy_s: float  # summed over devices, from submit to completion


@dataclass(slots=True)
class _Work:
    """A batch on a partition."""

    device: str
    batch: Batch
    submitted_ns: int
    seconds: float  # left, alone on the partition


class _Partition:
    """The batches on one partition, sharing its compute."""

    def __init__(self, factor: float, contention: float) -> None:
        self.factor = factor
        self.work: dict[str, _Work] = {}
        self.epoch = 0  # counts changes: a completion foreseen before one is void
        self._contention = contention
        self._at_ns = 0

    def advance(self, now_ns: int) -> None:
        """Do the work since the last change."""
        done = (now_ns - self._at_ns) / NS * self._speed()
        for work in self.work.values():
            work.seconds -= done
        self._at_ns = now_ns
        self.epoch += 1

    def next_completion(self, now_ns: int) -> tuple[int, str] | None:
        """When the first batch is done if nothing changes, and on which device."""
        if not self.work:
            return None
        first = min(self.work.values(), key=lambda work: work.seconds)
        return now_ns + max(0, math.ceil(first.seconds / self._speed() * NS)), first.device

    def _speed(self) -> float:
        together = len(self.work)
        return 1.0 if together < 2 else 1.0 / (together * self._contention)


class Simulation:
    """One run. `schedule` is when each sample is issued; Offline's are all 0."""

    def __init__(self, machine: Machine, policy: FifoPolicy, seed: int) -> None:
        self._machine, self._policy = machine, policy
        random = Random(seed)
        self._random = {device: Random(random.random()) for device in machine.devices}
        self._partitions = [_Partition((1 + machine.spread * _normal(random)) * machine.slow.get(index, 1.0), machine.contention)
                            for index in range(machine.partitions)]
        self._events: list[tuple[int, int, str, Any]] = []
        self._order = 0
        self._late_start = {device: _partition(device) * machine.start_stagger_s for device in machine.devices}
        self._dead: set[int] = set()
        self._drawing: set[str] = set()  # devices that hold a batch
        self._batches = 0
        self._busy_ns = 0
        self._completed = np.zeros(0, np.int64)
        self._hold_ns: float | None = None

    def run(self, schedule_ns: np.ndarray) -> Outcome:
        """Answer every sample; DeviceError with the policy's cause when it gives up."""
        self._completed = np.full(len(schedule_ns), -1, np.int64)
        for device in self._machine.devices:
            known = {int(size): seconds for size, seconds in self._machine.service_times.seconds.items()}
            sizes = {size: known[size] for size in self._policy.batching.sizes if size in known}
            self._act(self._policy.handle(Ready(device=device, open_seconds=0.0, service_seconds=sizes), 0), 0)
        for issued_ns, first, last in _queries(schedule_ns):
            self._push(issued_ns, "issue", (first, last))
        for index, second in self._machine.lost.items():
            self._push(int(second * NS), "lose", index)
        while self._events and self._policy.completed < len(schedule_ns):
            now_ns, _, kind, what = heapq.heappop(self._events)
            self._act(self._actions(kind, what, now_ns), now_ns)
        if self._policy.completed < len(schedule_ns):
            raise DeviceError(f"the run stopped with {len(schedule_ns) - self._policy.completed} samples not answered")
        return Outcome(scheduled_ns=schedule_ns, completed_ns=self._completed, batches=self._batches, padded=self._policy.padded,
                       reissued=self._policy.reissued, lost=dict(self._policy.lost), busy_s=self._busy_ns / NS)

    def _actions(self, kind: str, what: Any, now_ns: int) -> Sequence[Action]:
        if kind == "issue":
            first, last = what
            return self._policy.handle(Issue(samples=tuple(Sample(index, index) for index in range(first, last))), now_ns)
        if kind == "begin":
            self._begin(what, now_ns)
        elif kind == "complete":
            index, device, epoch = what
            return self._complete(index, device, epoch, now_ns)
        elif kind == "lose":
            self._lose(what, now_ns)
        elif kind == "expire":
            return self._policy.expire(now_ns)
        return ()

    def _act(self, actions: Sequence[Action], now_ns: int) -> None:
        for action in actions:
            if isinstance(action, Submit):
                self._submit(action, now_ns)
            elif isinstance(action, Respond):
                self._drawing.discard(action.completion.device)
                self._busy_ns += now_ns - action.submitted_ns
                self._completed[[sample.id for sample in action.batch.samples]] = now_ns
            elif isinstance(action, Abandon):
                self._drawing.discard(action.device)
            elif isinstance(action, Fail):
                raise DeviceError(action.cause)
        # the policy holds samples only while a device is idle; asking costs a pass over all devices, so ask only then
        waiting = self._policy.owed - self._policy.in_flight
        if waiting and self._policy.devices_up > len(self._drawing):
            self._wake(self._policy.next_deadline_ns(), now_ns)

    def _submit(self, action: Submit, now_ns: int) -> None:
        self._drawing.add(action.device)
        self._batches += 1
        partition = self._partitions[_partition(action.device)]
        seconds = self._machine.service_times.draw(action.batch.size, self._random[action.device]) * partition.factor
        late_ns = int(self._late_start.pop(action.device, 0.0) * NS)
        self._push(now_ns + late_ns, "begin", _Work(action.device, action.batch, now_ns, seconds))

    def _begin(self, work: _Work, now_ns: int) -> None:
        index = _partition(work.device)
        if index in self._dead:
            self._hang(work, now_ns)
            return
        partition = self._partitions[index]
        partition.advance(now_ns)
        partition.work[work.device] = work
        self._foresee(index, now_ns)

    def _complete(self, index: int, device: str, epoch: int, now_ns: int) -> Sequence[Action]:
        partition = self._partitions[index]
        if epoch != partition.epoch:
            return ()
        partition.advance(now_ns)
        work = partition.work.pop(device)
        self._foresee(index, now_ns)
        return self._policy.handle(Completion(device=device, ticket=work.batch.ticket, answers=(), started_ns=work.submitted_ns,
                                              completed_ns=now_ns), now_ns)

    def _lose(self, index: int, now_ns: int) -> None:
        """The partition stops: its devices raise, or what they hold never comes back."""
        partition = self._partitions[index]
        partition.advance(now_ns)
        self._dead.add(index)
        for work in partition.work.values():
            self._hang(work, now_ns)
        partition.work.clear()
        for device in self._machine.devices if self._machine.loss == "raise" else ():
            if _partition(device) == index:
                self._drawing.discard(device)
                self._act(self._policy.handle(Failure(device=device, ticket=None, cause="stopped, as asked"), now_ns), now_ns)

    def _hang(self, work: _Work, now_ns: int) -> None:
        """Only its deadline will tell."""
        if self._machine.loss == "hang":
            self._wake(work.submitted_ns + self._policy.batch_seconds * NS, now_ns)

    def _foresee(self, index: int, now_ns: int) -> None:
        partition = self._partitions[index]
        following = partition.next_completion(now_ns)
        if following is not None:
            self._push(following[0], "complete", (index, following[1], partition.epoch))

    def _wake(self, at_ns: float | None, now_ns: int) -> None:
        if at_ns is not None and at_ns != self._hold_ns and at_ns < math.inf:
            self._hold_ns = at_ns
            self._push(max(now_ns, math.ceil(at_ns)), "expire", None)

    def _push(self, at_ns: int, kind: str, what: Any) -> None:
        self._order += 1
        heapq.heappush(self._events, (int(at_ns), self._order, kind, what))


def _partition(device: str) -> int:
    return int(device.rpartition("/")[2].partition(".")[0])


def _queries(schedule_ns: np.ndarray) -> list[tuple[int, int, int]]:
    """Samples issued at the same time as one query: (time, first, one past the last)."""
    edges = [0, *(np.flatnonzero(np.diff(schedule_ns)) + 1).tolist(), len(schedule_ns)]
    return [(int(schedule_ns[first]), first, last) for first, last in pairwise(edges)]


def _normal(random: Random) -> float:
    return max(-3.0, min(3.0, random.gauss(0.0, 1.0)))

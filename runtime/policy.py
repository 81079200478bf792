"""FIFO policy: which samples go to which device, and when the run has failed.

A pure state machine: events and the time go in, actions come out. It owns no thread, clock or device, so the pool
(real time) and the simulator (virtual time) drive the same code. How many samples go into a batch is `Batching`'s.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from runtime.batch import Batch, Completion, Event, Failure, Issue, Ready, Sample
from runtime.batching import Batching, Hold, Queue
from runtime.device_policy import Abandon, DevicePolicy, Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Give `batch` to `device`."""

    device: str
    batch: Batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Respond:
    """Answer the samples of `batch` with the images of `completion`."""

    batch: Batch
    completion: Completion
    submitted_ns: int

    @property
    def samples(self) -> int:
        """Samples that it answers."""
        return len(self.batch.samples)


Action = Submit | Respond | Abandon | Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A batch that a device works on."""

    device: str
    batch: Batch
    arrivals_ns: tuple[int, ...]  # of each sample
    submitted_ns: int
    deadline_ns: float


class FifoPolicy(DevicePolicy):
    """First sample in, first out; the device idle for longest goes first.

    `open_seconds` bounds opening and warm-up, the attribute `batch_seconds` each batch. A device past its deadline is lost like one
    that raised. `on_loss` "fail" ends the run; "continue" gives the batch to another device while there is one.
    """

    def __init__(self, devices: Sequence[str], *, batching: Batching, open_seconds: float,
                 on_loss: Literal["fail", "continue"], now_ns: int) -> None:
        super().__init__(devices, open_seconds=open_seconds, on_loss=on_loss, now_ns=now_ns)
        self.batching = batching
        self.batch_seconds = math.inf  # set it once a warm-up has shown how long a batch takes
        self._waiting: deque[tuple[int, Sample]] = deque()  # arrival, sample
        self._held: dict[int, Held] = {}
        self._hold_until_ns: int | None = None
        self._tickets = 0
        self.issued = self.completed = self.padded = self.reissued = 0

    @property
    def devices_up(self) -> int:
        """Devices that draw or could."""
        return len(self._idle) + len(self._held)

    @property
    def in_flight(self) -> int:
        """Samples on devices."""
        return self.owed - len(self._waiting)

    @property
    def owed(self) -> int:
        """Samples issued and not yet answered."""
        return self.issued - self.completed

    def handle(self, event: Event, now_ns: int) -> list[Action]:
        """Take in one event; the actions it leads to."""
        if isinstance(event, Issue):
            self._waiting.extend((now_ns, sample) for sample in event.samples)
            self.issued += len(event.samples)
        elif isinstance(event, Ready):
            if self._ready(event.device):
                for size, seconds in event.service_seconds.items():
                    self.batching.learn(int(size), seconds)
        elif isinstance(event, Completion):
            held = self._held.pop(event.ticket, None)
            if held is None:  # its device was declared lost, and the samples went elsewhere
                return []
            self._idle.append(held.device)
            self.completed += len(held.batch.samples)
            self.padded += held.batch.padding
            self.batching.learn(held.batch.size, (event.completed_ns - event.started_ns) / 1e9)
            return [Respond(batch=held.batch, completion=event, submitted_ns=held.submitted_ns), *self._dispatch(now_ns)]
        elif isinstance(event, Failure):
            return self._lose(event.device, event.cause, now_ns if event.reopening else None) + list(self._dispatch(now_ns))
        return list(self._dispatch(now_ns))

    def next_deadline_ns(self) -> float | None:
        """When `expire` must be called at the latest; None while no device owes anything and no sample is held."""
        hold = () if self._hold_until_ns is None else (self._hold_until_ns,)
        return min((*hold, *self._opening.values(), *(held.deadline_ns for held in self._held.values())), default=None)

    def expire(self, now_ns: int) -> list[Action]:
        """Declare lost every device that is past its deadline, and draw what was held for company long enough."""
        late = self._late(now_ns)
        late += [(held.device, f"did not answer in {self.batch_seconds:g} s")
                 for held in self._held.values() if held.deadline_ns <= now_ns]
        actions: list[Action] = []
        for device, cause in late:
            actions += [Abandon(device=device), *self._lose(device, cause, None)]
        return actions + list(self._dispatch(now_ns))

    def _dispatch(self, now_ns: int) -> Iterator[Submit]:
        self._hold_until_ns = None
        while self._idle and self._waiting:
            choice = self.batching.decide(Queue(waiting=len(self._waiting), oldest_ns=self._waiting[0][0], idle=len(self._idle),
                                                devices=self.devices_up), now_ns)
            if isinstance(choice, Hold):
                self._hold_until_ns = choice.until_ns
                return
            arrivals, samples = zip(*(self._waiting.popleft() for _ in range(choice.count)), strict=True)
            device = self._idle.popleft()
            batch = Batch(ticket=self._tickets, samples=samples, size=choice.size)
            self._tickets += 1
            self._held[batch.ticket] = Held(device=device, batch=batch, arrivals_ns=arrivals, submitted_ns=now_ns,
                                            deadline_ns=now_ns + self.batch_seconds * 1e9)
            yield Submit(device=device, batch=batch)

    def _lose(self, device: str, cause: str, reopening_since_ns: int | None) -> list[Action]:
        """Take `device` out, for a while if it is reopening; its samples return to the head of the line."""
        if not self._remove(device):
            return []
        names = []
        for one in [one for one in self._held.values() if one.device == device]:
            del self._held[one.batch.ticket]
            self._waiting.extendleft(reversed(list(zip(one.arrivals_ns, one.batch.samples, strict=True))))
            self.reissued += len(one.batch.samples)
            names = [sample.index for sample in one.batch.samples]
        return list(self._failed(device, cause, names, len(self._held), reopening_since_ns))

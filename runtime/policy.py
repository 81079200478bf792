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

HANG_FACTOR, HANG_SECONDS = 20.0, 60.0  # a batch that takes this many of the slowest service times, and this long, is hung


def hang_seconds(slowest_s: float) -> float:
    """How long a batch may take where the slowest service time is `slowest_s` seconds."""
    return max(HANG_SECONDS, HANG_FACTOR * slowest_s)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """`device` is past its deadline: it may answer late or never, and nobody waits for it any more."""

    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The run cannot go on."""

    cause: str


Action = Submit | Respond | Abandon | Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A batch that a device works on."""

    device: str
    batch: Batch
    arrivals_ns: tuple[int, ...]  # of each sample
    submitted_ns: int
    deadline_ns: float


class FifoPolicy:
    """First sample in, first out; the device idle for longest goes first.

    `open_seconds` bounds opening and warm-up, the attribute `batch_seconds` each batch. A device past its deadline is lost like one
    that raised. `on_loss` "fail" ends the run; "continue" gives the batch to another device while there is one.
    """

    def __init__(self, devices: Sequence[str], *, batching: Batching, open_seconds: float,
                 on_loss: Literal["fail", "continue"], now_ns: int) -> None:
        self.batching = batching
        self.on_loss = on_loss
        self.batch_seconds = math.inf  # set it once a warm-up has shown how long a batch takes
        self._open_seconds = open_seconds
        self._opening = {device: self._open_by(now_ns) for device in devices}
        self._idle: deque[str] = deque()
        self._waiting: deque[tuple[int, Sample]] = deque()  # arrival, sample
        self._held: dict[int, Held] = {}
        self._hold_until_ns: int | None = None
        self._tickets = 0
        self.lost: dict[str, str] = {}  # device -> cause
        self.issued = self.completed = self.padded = self.reissued = 0
        self.rebuilt: list[str] = []  # device and cause of each time that one was built anew

    @property
    def opening(self) -> int:
        """Devices that are neither ready nor lost."""
        return len(self._opening)

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
            if self._opening.pop(event.device, None) is not None:  # one lost to its deadline stays lost
                self._idle.append(event.device)
                for size, seconds in event.service_seconds.items():
                    self.batching.learn(size, seconds)
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
        late = [(device, f"did not become ready in {self._open_seconds:g} s")
                for device, deadline in self._opening.items() if deadline <= now_ns]
        late += [(held.device, f"did not answer in {self.batch_seconds:g} s")
                 for held in self._held.values() if held.deadline_ns <= now_ns]
        actions: list[Action] = []
        for device, cause in late:
            actions += [Abandon(device=device), *self._lose(device, cause, None)]
        return actions + list(self._dispatch(now_ns))

    def _open_by(self, now_ns: int) -> int:
        return now_ns + int(self._open_seconds * 1e9)

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
        if device in self.lost:
            return []
        self._opening.pop(device, None)
        if device in self._idle:
            self._idle.remove(device)
        names = []
        for held in [held for held in self._held.values() if held.device == device]:
            del self._held[held.batch.ticket]
            self._waiting.extendleft(reversed(list(zip(held.arrivals_ns, held.batch.samples, strict=True))))
            self.reissued += len(held.batch.samples)
            names = [sample.index for sample in held.batch.samples]
        what = f"{device} failed: {cause}" + (f"; it held samples {names[:8]}{' and more' if len(names) > 8 else ''}" if names else "")
        if reopening_since_ns is None or self.on_loss == "fail":
            self.lost[device] = cause
        else:
            self._opening[device] = self._open_by(reopening_since_ns)
            self.rebuilt.append(f"{device}: {cause}")
        if self.on_loss == "fail":
            return [Fail(cause=what)]
        return [] if self._opening or self.devices_up else [Fail(cause=f"{what}; no device is left of {len(self.lost)}")]

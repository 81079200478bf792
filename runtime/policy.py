"""FIFO policy: which samples go to which device, and when the run has failed.

A pure state machine: events and the time go in, actions come out. It owns no thread, clock or device, so the pool
(real time) and a simulator (virtual time) drive the same code.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ireeperf.errors import ConfigError
from runtime.batch import Batch, Completion, Event, Failure, Issue, Ready, Sample


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
class Fail:
    """The run cannot go on."""

    cause: str


Action = Submit | Respond | Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A batch that a device works on."""

    device: str
    batch: Batch
    submitted_ns: int
    deadline_ns: float


class FifoPolicy:
    """First sample in, first out; the device idle for longest goes first; a tail takes a smaller compiled size.

    `open_seconds` bounds opening and warm-up, the attribute `batch_seconds` each batch. A device past its deadline is lost like one
    that raised. `on_loss` "fail" ends the run; "continue" gives the batch to another device while there is one.
    """

    def __init__(self, devices: Sequence[str], *, batch_sizes: Sequence[int], batch_size: int, open_seconds: float,
                 on_loss: Literal["fail", "continue"], now_ns: int) -> None:
        if batch_size not in batch_sizes:
            raise ConfigError(f"batch size {batch_size} was not compiled; this build has {sorted(batch_sizes)}")
        self.sizes = sorted({size for size in batch_sizes if size <= batch_size}, reverse=True)
        self.on_loss = on_loss
        self.batch_seconds = math.inf  # set it once a warm-up has shown how long a batch takes
        self._open_seconds = open_seconds
        self._opening = {device: now_ns + int(open_seconds * 1e9) for device in devices}
        self._idle: deque[str] = deque()
        self._waiting: deque[Sample] = deque()
        self._held: dict[int, Held] = {}
        self._tickets = 0
        self.lost: dict[str, str] = {}  # device -> cause
        self.issued = self.completed = self.padded = self.reissued = 0

    @property
    def opening(self) -> int:
        """Devices that are neither ready nor lost."""
        return len(self._opening)

    @property
    def owed(self) -> int:
        """Samples issued and not yet answered."""
        return self.issued - self.completed

    def handle(self, event: Event, now_ns: int) -> list[Action]:
        """Take in one event; the actions it leads to."""
        if isinstance(event, Issue):
            self._waiting.extend(event.samples)
            self.issued += len(event.samples)
        elif isinstance(event, Ready):
            if self._opening.pop(event.device, None) is not None:  # one lost to its deadline stays lost
                self._idle.append(event.device)
        elif isinstance(event, Completion):
            held = self._held.pop(event.ticket, None)
            if held is None:  # its device was declared lost, and the samples went elsewhere
                return []
            self._idle.append(held.device)
            self.completed += len(held.batch.samples)
            self.padded += held.batch.padding
            return [Respond(batch=held.batch, completion=event, submitted_ns=held.submitted_ns), *self._dispatch(now_ns)]
        elif isinstance(event, Failure):
            return self._lose(event.device, event.cause) + list(self._dispatch(now_ns))
        return list(self._dispatch(now_ns))

    def next_deadline_ns(self) -> float | None:
        """When `expire` must be called at the latest; None while no device owes anything."""
        return min((*self._opening.values(), *(held.deadline_ns for held in self._held.values())), default=None)

    def expire(self, now_ns: int) -> list[Action]:
        """Declare lost every device that is past its deadline."""
        late = [(device, f"did not become ready in {self._open_seconds:g} s")
                for device, deadline in self._opening.items() if deadline <= now_ns]
        late += [(held.device, f"did not answer in {self.batch_seconds:g} s")
                 for held in self._held.values() if held.deadline_ns <= now_ns]
        actions: list[Action] = []
        for device, cause in late:
            actions += self._lose(device, cause)
        return actions + list(self._dispatch(now_ns))

    def _dispatch(self, now_ns: int) -> Iterator[Submit]:
        while self._idle and self._waiting:
            count = len(self._waiting)
            size = next((size for size in self.sizes if size <= count), self.sizes[-1])
            samples = tuple(self._waiting.popleft() for _ in range(min(size, count)))
            device = self._idle.popleft()
            batch = Batch(ticket=self._tickets, samples=samples, size=size)
            self._tickets += 1
            self._held[batch.ticket] = Held(device=device, batch=batch, submitted_ns=now_ns,
                                            deadline_ns=now_ns + self.batch_seconds * 1e9)
            yield Submit(device=device, batch=batch)

    def _lose(self, device: str, cause: str) -> list[Action]:
        """Take `device` out; its samples return to the head of the line."""
        if device in self.lost:
            return []
        self.lost[device] = cause
        self._opening.pop(device, None)
        if device in self._idle:
            self._idle.remove(device)
        names = []
        for held in [held for held in self._held.values() if held.device == device]:
            del self._held[held.batch.ticket]
            self._waiting.extendleft(reversed(held.batch.samples))
            self.reissued += len(held.batch.samples)
            names = [sample.index for sample in held.batch.samples]
        what = f"{device} failed: {cause}" + (f"; it held samples {names[:8]}{' and more' if len(names) > 8 else ''}" if names else "")
        if self.on_loss == "fail":
            return [Fail(cause=what)]
        alive = len(self._opening) + len(self._idle) + len(self._held)
        return [] if alive else [Fail(cause=f"{what}; no device is left of {len(self.lost)}")]

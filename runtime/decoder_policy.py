"""The policy of a decoder's devices: one line of requests, continuous batching on each device, answers token by token.

A pure state machine, as runtime/policy.py is: the pool (real time) and the simulator (virtual time) drive it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runtime.batch import Call, Completion, Event, Failure, Issue, Ready, Sample
from runtime.continuous_batching import ContinuousBatching, Shapes
from runtime.device_policy import Abandon, DevicePolicy, Fail
from runtime.pace import Pace, Request

AHEAD = 1  # prefill groups that a device holds waiting beyond its free rows: enough that it never idles, few enough to be shared fairly


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """Give `call` to `device`."""

    device: str
    call: Call


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tell:
    """What a call brought: requests whose first token is there, and requests that ended."""

    call: Call
    rows: int  # sequences in it; the rest is padding
    completion: Completion
    submitted_ns: int
    first: tuple[Request, ...]
    ended: tuple[Request, ...]

    @property
    def samples(self) -> int:
        """Samples that it answers."""
        return len(self.ended)


DecoderAction = Start | Tell | Abandon | Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """A call that a device works on."""

    device: str
    call: Call
    rows: int
    submitted_ns: int
    deadline_ns: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What a sample's index stands for: `tokens[index]` is its prompt, `limit` the tokens that its answer may have."""

    tokens: Sequence[Sequence[int] | np.ndarray]
    limit: int


class DecoderPolicy(DevicePolicy):
    """First request in, first prefilled, on the device with the fewest sequences. `pace` makes the pace of one device.

    With `sort`, requests of one Offline query go longest prompt first within each pass over the data set (MLPerf lets nobody sort across passes):
    prompts of one prefill are then of about one length. A device past its deadline is lost like one that raised; its sequences begin
    anew on another one, where `on_loss` is "continue".
    """

    def __init__(self, devices: Sequence[str], *, shapes: Shapes, pace: Callable[[], Pace], prompts: Prompts, sort: bool, open_seconds: float,
                 on_loss: Literal["fail", "continue"], now_ns: int) -> None:
        super().__init__(devices, open_seconds=open_seconds, on_loss=on_loss, now_ns=now_ns)
        self.batch_seconds = math.inf  # of one call: set it once a warm-up has shown how long it takes
        self.batching = {device: ContinuousBatching(shapes, pace()) for device in devices}
        self.waiting: deque[Request] = deque()
        self.issued = self.completed = self.reissued = 0
        self.padded = 0  # rows computed and discarded
        self._shapes = shapes
        self._prompts = prompts
        self._sort = sort
        self._calls: dict[str, Calling] = {}  # by device
        self._tickets = 0

    @property
    def devices_up(self) -> int:
        """Devices that work or could."""
        return len(self._idle) + len(self._calls)

    @property
    def in_flight(self) -> int:
        """Samples that devices hold."""
        return self.owed - len(self.waiting)

    @property
    def owed(self) -> int:
        """Samples issued and not yet answered."""
        return self.issued - self.completed

    def handle(self, event: Event, now_ns: int) -> list[DecoderAction]:
        """Take in one event; the actions it leads to. ConfigError when a prompt can never be answered by this build."""
        actions: list[DecoderAction] = []
        if isinstance(event, Issue):
            self.waiting.extend(self._requests(event.samples, now_ns))
            self.issued += len(event.samples)
        elif isinstance(event, Ready):
            if self._ready(event.device):
                for name, seconds in event.service_seconds.items():
                    self.batching[event.device].times.learn(str(name), seconds)
        elif isinstance(event, Completion):
            calling = self._calls.get(event.device)
            if calling is None or calling.call.ticket != event.ticket:  # its device was declared lost, and the sequences went elsewhere
                return []
            actions.append(self._told(self._calls.pop(event.device), event))
            self._idle.append(event.device)
        elif isinstance(event, Failure):
            actions += self._lose(event.device, event.cause, now_ns if event.reopening else None)
        return actions + list(self._start(now_ns))

    def next_deadline_ns(self) -> float | None:
        """When `expire` must be called at the latest; None while no device owes anything."""
        return min((*self._opening.values(), *(one.deadline_ns for one in self._calls.values())), default=None)

    def expire(self, now_ns: int) -> list[DecoderAction]:
        """Declare lost every device that is past its deadline."""
        late = [*self._late(now_ns), *((one.device, f"did not answer in {self.batch_seconds:g} s")
                                       for one in self._calls.values() if one.deadline_ns <= now_ns)]
        actions: list[DecoderAction] = []
        for device, cause in late:
            actions += [Abandon(device=device), *self._lose(device, cause, None)]
        return actions + list(self._start(now_ns))

    def _requests(self, samples: Sequence[Sample], now_ns: int) -> Iterator[Request]:
        """A request a sample. Sorted, the samples of one pass over the data set are those up to where an index comes again."""
        made = [Request(id=sample.id, index=sample.index, prompt=tuple(int(token) for token in self._prompts.tokens[sample.index]), limit=self._prompts.limit,
                        arrived_ns=now_ns) for sample in samples]
        if not self._sort:
            yield from made
            return
        seen: set[int] = set()
        begin = 0
        for place, request in enumerate(made):
            if request.index in seen:
                yield from sorted(made[begin:place], key=lambda one: -len(one.prompt))
                begin, seen = place, set()
            seen.add(request.index)
        yield from sorted(made[begin:], key=lambda one: -len(one.prompt))

    def _told(self, calling: Calling, event: Completion) -> Tell:
        outcome = self.batching[event.device].finish(event.answers[0], (event.completed_ns - event.started_ns) / 1e9, event.completed_ns)
        self.completed += len(outcome.ended)
        self.padded += calling.call.size - calling.rows
        return Tell(call=calling.call, rows=calling.rows, completion=event, submitted_ns=calling.submitted_ns,
                    first=outcome.first, ended=outcome.ended)

    def _start(self, now_ns: int) -> Iterator[Start]:
        """Share out what waits, the emptiest device first, and start a call on every idle device that has work."""
        up = [*self._idle, *self._calls]
        room = self._shapes.decode_batch_sizes[-1] + AHEAD * self._shapes.prefill_batch_sizes[-1]
        while self.waiting and up:
            device = min(up, key=lambda one: self.batching[one].owed)
            if self.batching[device].owed >= room:
                break
            self.batching[device].add(self.waiting.popleft())
        for device in list(self._idle):
            step = self.batching[device].next_step(now_ns)
            if step is None:
                continue
            self._idle.remove(device)
            call = Call(ticket=self._tickets, entry_point=step.entry_point, size=step.size, tokens=step.tokens, positions=step.positions,
                        page_table=step.page_table)
            self._tickets += 1
            self._calls[device] = Calling(device=device, call=call, rows=len(step.requests), submitted_ns=now_ns,
                                          deadline_ns=now_ns + self.batch_seconds * 1e9)
            yield Start(device=device, call=call)

    def _lose(self, device: str, cause: str, reopening_since_ns: int | None) -> list[Fail]:
        """Take `device` out, for a while if it is reopening; its sequences return to the head of the line and begin anew."""
        if not self._remove(device):
            return []
        self._calls.pop(device, None)
        held = self.batching[device].lose_cache()
        self.waiting.extendleft(reversed(held))
        self.reissued += len(held)
        return self._failed(device, cause, [request.index for request in held], len(self._calls), reopening_since_ns)

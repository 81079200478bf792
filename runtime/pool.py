"""The device pool: feeds events and the clock to the policy and carries out what it says. Every wait has a deadline."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ireeperf.errors import DeviceError, RunError
from runtime import host_memory
from runtime.batch import Completion, Ended, Event, Failure, Ready
from runtime.decoder_policy import DecoderAction, DecoderPolicy, Start, Tell
from runtime.device import Device, Engine, Post, ThreadDevice
from runtime.device_policy import Abandon, Fail
from runtime.policy import Action, FifoPolicy, Respond, Submit

QUIET_SECONDS = 600.0  # LoadGen writing its logs is the longest legitimate silence: 31 GB for SDXL's accuracy run
TICK_SECONDS = 0.5  # how often `on_tick` (progress) is called while nothing happens


MakeDevices = Callable[[Post], Mapping[str, Device]]


def thread_devices(engines: Mapping[str, Engine], *, reopen: int = 0,
                   on_start: Mapping[str, Callable[[], object]] | None = None) -> MakeDevices:
    """A thread per engine; `on_start` is run first in its thread."""
    starts = on_start or {}
    return lambda post: {uri: ThreadDevice(uri, engine, post, reopen=reopen, on_start=starts.get(uri)) for uri, engine in engines.items()}


class DevicePool:
    """All devices of a run. `open` first, then `serve` in the thread that is to answer LoadGen."""

    def __init__(self, make_devices: MakeDevices, policy: FifoPolicy | DecoderPolicy, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        self.policy = policy
        self.ready: dict[str, Ready] = {}
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._devices = make_devices(self._events.put)
        self._quiet_ns = int(quiet_seconds * 1e9)

    @property
    def devices(self) -> Collection[Device]:
        """All devices, lost ones too."""
        return self._devices.values()

    def post(self, event: Event) -> None:
        """Hand in an event from any thread (LoadGen's: Issue, Ended)."""
        self._events.put(event)

    def open(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Start every device and wait until it is ready or lost; DeviceError names the first that failed."""
        host_memory.keep_freed()  # of the images; a C library that cannot only makes them dearer
        for device in self._devices.values():
            device.start()
        while self.policy.opening:
            event = self._next(on_tick)
            if isinstance(event, Ready):
                self.ready[event.device] = event
            self._carry_out(event, lambda _: None)

    def serve(self, respond: Callable[[Any], None], on_tick: Callable[[], None] = lambda: None) -> None:
        """Answer queries until Ended: `respond` gets a Respond, of a decoder's policy a Tell. RunError when the load generator failed, DeviceError
        when the devices did."""
        answers: dict[str, Respond | Tell] = {}  # still to be given, by device
        while True:
            # Submits before answers: where 64 devices complete at once, the last would idle for the time of 63 answers. One answer,
            # then the events that came meanwhile, and so on: neither side waits long for the other.
            for event in [*(self._late() if answers else [self._next(on_tick)]), *self._arrived()]:
                if isinstance(event, Ended):
                    self._check_end(event, sum(answer.samples for answer in answers.values()))
                    return
                if isinstance(event, Ready | Completion | Failure) and event.device in answers:
                    respond(answers.pop(event.device))  # before its device can be given what would reuse the images' memory
                self._carry_out(event, lambda answer: answers.update({answer.completion.device: answer}))
                del event  # it holds a batch's images
            if answers:
                respond(answers.pop(next(iter(answers))))  # the oldest

    def close(self, timeout_s: float = 5.0) -> list[str]:
        """Stop the threads; the URIs of devices that are still busy (a lost one may be) and were left behind."""
        return [uri for uri, device in self._devices.items()
                if not device.stop(0.0 if uri in self.policy.lost else timeout_s)]

    def executable_cpu_seconds(self) -> float:
        """CPU time in executables so far, over all devices."""
        return sum(device.executable_cpu_seconds() for device in self._devices.values())

    def _check_end(self, ended: Ended, unanswered: int) -> None:
        if ended.cause is not None:
            raise RunError(ended.cause)
        if self.policy.owed + unanswered:
            raise RunError(f"LoadGen ended while {self.policy.owed + unanswered} samples were not answered")

    def _arrived(self) -> list[Event]:
        """The events that wait now; not those that they lead to."""
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    def _late(self) -> list[None]:
        """One None, as from `_next`, when a deadline has passed."""
        deadline = self.policy.next_deadline_ns()
        return [None] if deadline is not None and deadline <= time.monotonic_ns() else []

    def _next(self, on_tick: Callable[[], None]) -> Event | None:
        """The next event; None when a deadline passed first."""
        quiet_since = time.monotonic_ns()
        while True:
            now = time.monotonic_ns()
            deadline = self.policy.next_deadline_ns()
            if deadline is None:
                deadline = quiet_since + self._quiet_ns
                if deadline <= now:
                    raise RunError(f"LoadGen gave no query and did not end for {self._quiet_ns / 1e9:g} s")
            if deadline <= now:
                return None
            try:
                return self._events.get(timeout=min((deadline - now) / 1e9, TICK_SECONDS))
            except queue.Empty:
                on_tick()

    def _carry_out(self, event: Event | None, respond: Callable[[Respond | Tell], None]) -> None:
        now = time.monotonic_ns()
        actions: Sequence[Action | DecoderAction] = self.policy.expire(now) if event is None else self.policy.handle(event, now)
        for action in actions:
            if isinstance(action, Submit):
                self._devices[action.device].submit(action.batch)
            elif isinstance(action, Start):
                self._devices[action.device].submit(action.call)
            elif isinstance(action, Abandon):
                self._devices[action.device].park()
        for action in actions:  # devices first: they idle until they have work, LoadGen does not mind a microsecond
            if isinstance(action, Respond | Tell):
                respond(action)
            elif isinstance(action, Fail):
                raise DeviceError(action.cause)

"""The child's side of process isolation: ThreadDevices in a process of their own, driven by messages of the parent.

Small messages go through a socket; images are copied into memory that both processes map, never through the socket.
"""

from __future__ import annotations

import faulthandler
import math
import mmap
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from runtime import host_memory
from runtime.batch import Batch, Completion, Event, Failure, Ready
from runtime.child_process import die_with
from runtime.device import EngineMaker, ThreadDevice, describe

SLOTS = 2  # per device, used alternately; why two are enough: runtime/process_device.py
OnStart = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where a group's answers and the recipe of all engines lie in the shared file; bytes, offsets in whole pages."""

    offset: int
    devices: tuple[str, ...]
    max_batch: int
    image_shape: tuple[int, int, int]
    recipe_offset: int
    recipe_bytes: int

    @property
    def slot_bytes(self) -> int:
        """One slot: max_batch images."""
        return self.max_batch * math.prod(self.image_shape)

    @property
    def bytes(self) -> int:
        """The slots of all devices, rounded up to whole pages."""
        return -(-len(self.devices) * SLOTS * self.slot_bytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY

    def slots(self, memory: mmap.mmap, device: int, start: int) -> tuple[np.ndarray, ...]:
        """The slots of device number `device`, each [max_batch, H, W, 3] uint8; the region begins at `start` of `memory`."""
        first = start + device * SLOTS * self.slot_bytes
        return tuple(np.frombuffer(memory, np.uint8, self.slot_bytes, first + slot * self.slot_bytes).reshape(
            self.max_batch, *self.image_shape) for slot in range(SLOTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What children make their devices of. One for all: engines share a sample set (5,000 captions: 12 MB of token ids)."""

    makers: Mapping[str, EngineMaker]
    on_start: Mapping[str, OnStart]  # run first in a device's thread: binds it to a NUMA node


# parent -> child
@dataclass(frozen=True, slots=True)
class Open:
    """The first order: make and start devices; the number is how often each may be rebuilt inside the child."""

    region: Region
    reopen: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw `batch` into `slot`."""

    device: str
    batch: Batch
    slot: int


@dataclass(frozen=True, slots=True)
class Park:
    """The device is past its deadline."""

    device: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Let the device's thread end; Stopped follows."""

    device: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class End:
    """Exit."""


# child -> parent
@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A device's event; a Completion carries no images but the slot that holds them."""

    event: Ready | Completion | Failure
    slot: int | None
    count: int
    executable_cpu_seconds: float  # of the device
    process_cpu_seconds: float  # of the child, all threads


@dataclass(frozen=True, slots=True)
class Stopped:
    """Whether the device's thread has ended."""

    device: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """The child could not even make its devices."""

    cause: str


Order = Open | Draw | Park | Stop | End
Report = Heard | Stopped | Broken


class Child:
    """Carries out orders in the main thread; devices report from threads of their own."""

    def __init__(self, connection: Connection[Any, Any], file: int) -> None:
        self._connection = connection
        self._file = file
        self._sending = threading.Lock()
        self._slots: dict[str, tuple[np.ndarray, ...]] = {}
        self._slot_of: dict[int, int] = {}  # ticket -> slot
        self._devices: dict[str, ThreadDevice] = {}

    def serve(self) -> None:
        """Until End, or until the parent is gone."""
        while True:
            try:
                order: Order = self._connection.recv()
            except (EOFError, OSError):
                return
            if isinstance(order, End):
                return
            if isinstance(order, Open):
                self._open(order)
            elif isinstance(order, Draw):
                self._slot_of[order.batch.ticket] = order.slot
                self._devices[order.device].submit(order.batch)
            elif isinstance(order, Park):
                self._devices[order.device].park()
            else:  # in a thread: the other devices of the group go on meanwhile
                threading.Thread(target=self._stop, args=(order,), daemon=True).start()

    def _open(self, order: Open) -> None:
        region = order.region
        memory = mmap.mmap(self._file, region.bytes, offset=region.offset)
        with mmap.mmap(self._file, region.recipe_bytes, offset=region.recipe_offset) as text:
            recipe: Recipe = pickle.loads(text)
        os.close(self._file)
        self._slots = {uri: region.slots(memory, number, 0) for number, uri in enumerate(region.devices)}
        for uri, reopen in order.reopen.items():
            try:
                engine = recipe.makers[uri]()
            except Exception as error:
                self._post(Failure(device=uri, ticket=None, cause=describe(error)))
                continue
            begin = partial(begin_thread, recipe.on_start.get(uri), self._slots[uri])
            self._devices[uri] = ThreadDevice(uri, engine, self._post, reopen=reopen, on_start=begin)
            self._devices[uri].start()

    def _stop(self, order: Stop) -> None:
        device = self._devices.get(order.device)
        self._send(Stopped(order.device, device is None or device.stop(order.timeout_s)))

    def _post(self, event: Event) -> None:
        """In a device's thread: copy the answer into its slot, then tell."""
        assert isinstance(event, Ready | Completion | Failure)
        slot, count = None, 0
        if isinstance(event, Completion):
            slot, count = self._slot_of.pop(event.ticket), len(event.answers)
            for place, image in zip(self._slots[event.device][slot][:count], event.answers, strict=True):
                place[...] = image
            event = replace(event, answers=())
        device = self._devices.get(event.device)
        self._send(Heard(event=event, slot=slot, count=count, process_cpu_seconds=time.process_time(),
                         executable_cpu_seconds=device.executable_cpu_seconds() if device else 0.0))

    def _send(self, report: Report) -> None:
        with self._sending:
            try:
                self._connection.send(report)
            except OSError:  # the parent is gone; so is this process in a moment
                os._exit(1)


def begin_thread(on_start: OnStart | None, slots: tuple[np.ndarray, ...]) -> None:
    """Bind the device's thread, then take the memory of its slots, so near to where it runs and before the clock starts.

    The bytes stay as they are: after a crash, LoadGen may not have read the last answer yet.
    """
    if on_start is not None:
        on_start()
    for slot in slots:
        pages = slot.reshape(-1)[::mmap.PAGESIZE]
        pages |= 0  # a write of what is there


def no_core_file() -> None:
    """A core of a process with a GPU's memory mapped takes minutes to write, and only then is the death seen."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def main() -> None:
    """argv: the parent's process id, the socket, the shared file. Never returns."""
    parent, socket, file = map(int, sys.argv[1:])
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    no_core_file()
    faulthandler.enable()  # a segfault leaves the Python stacks on stderr
    host_memory.keep_freed()  # of the images
    for descriptor in (socket, file):
        os.set_inheritable(descriptor, False)  # a process that a driver starts must not keep the socket open
    connection: Connection[Any, Any] = Connection(socket)
    try:
        Child(connection, file).serve()
    except Exception as error:
        connection.send(Broken(describe(error)))
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a hung device cannot be waited for

"""The device seam: `submit(batch) -> ticket`; everything that happens then comes back as an event.

Here a device is a thread around an engine that blocks; runtime/process_device.py puts such threads into child processes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ireeperf.errors import DeviceError, PipelineError
from runtime.batch import Call, Completion, Event, Failure, Ready, Work

Post = Callable[[Event], None]
EngineMaker = Callable[[], "Engine"]  # picklable: a child process makes its own engine


class Engine(Protocol):
    """What works on a device: draws images, or runs a decoder's calls; called from one thread only, and may block."""

    sizes: Any  # tuple of what it can be warmed up for, ascending: batch sizes, or entry points of a decoder

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, 3); None of a decoder."""

    def open(self) -> None:
        """Acquire the device and load executables and weights; DeviceError or ManifestError when that fails."""

    def warm_up(self, size: Any) -> None:
        """Work once at one of `sizes` and discard it."""

    def run(self, work: Any) -> Sequence[np.ndarray]:
        """Of a Batch an image for each of its samples: [H, W, 3] uint8; of a Call one array: [size] int64; C-contiguous."""

    def close(self) -> None:
        """Drop everything that `open` acquired, so that it may be called again."""

    def park(self) -> None:
        """Given up while it hangs, from another thread: drop nothing, free no thread that waits for the device."""

    def executable_cpu_seconds(self) -> float:
        """CPU time spent in executables so far, in this thread and in the driver's own; read from any thread."""


class Device(Protocol):
    """One logical device of the pool. `work`: a Batch or a decoder's Call."""

    uri: str

    def start(self) -> None:
        """Open and warm up; Ready or Failure follows."""

    def submit(self, work: Any) -> int:
        """Queue `work`; a Completion or a Failure with its ticket follows."""

    def park(self) -> None:
        """Given up: it is past its deadline, and nobody waits for it any more."""

    def stop(self, timeout_s: float) -> bool:
        """Let it end; False when it is still busy after `timeout_s`."""

    def executable_cpu_seconds(self) -> float:
        """CPU time in its executables so far."""


class ThreadDevice:
    """An engine driven by a thread of its own. After a failure it is built anew, up to `reopen` times."""

    def __init__(self, uri: str, engine: Engine, post: Post, *, reopen: int = 0, on_start: Callable[[], object] | None = None) -> None:
        self.uri = uri
        self.engine = engine
        self._post = post
        self._reopen = reopen
        self._on_start = on_start  # in the device's thread: binds it to a NUMA node
        self._inbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._ticket: int | None = None
        # daemon: a device that hangs in a driver call cannot be interrupted and must not keep the process
        self._thread = threading.Thread(target=self._serve, name=uri, daemon=True)

    def start(self) -> None:
        """Open and warm up; Ready or Failure follows."""
        self._thread.start()

    def submit(self, work: Work) -> int:
        """Queue `work`; a Completion or a Failure with its ticket follows."""
        self._inbox.put(work)
        return work.ticket

    def park(self) -> None:
        """Keep a hung device's objects: dropping them stalls every thread until the driver answers (HIP)."""
        self._reopen = 0
        self.engine.park()

    def stop(self, timeout_s: float) -> bool:
        """Let the thread end; False when it is still busy after `timeout_s`."""
        self._inbox.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def executable_cpu_seconds(self) -> float:
        """CPU time in the engine's executables so far."""
        return self.engine.executable_cpu_seconds()

    def _serve(self) -> None:
        while True:
            try:
                if self._on_start is not None:
                    self._on_start()
                self._ready()
                while (work := self._inbox.get()) is not None:
                    self._work(work)
                return
            except BaseException as error:  # a thread's last word: whatever it was, the pool must hear of it
                again = self._reopen > 0 and isinstance(error, Exception)
                self._reopen -= 1
                self._post(Failure(device=self.uri, ticket=self._ticket, cause=describe(error), reopening=again))
                if not again:
                    return
            self._ticket = None  # outside of the handler: the traceback holds the dead device's buffers

    def _ready(self) -> None:
        started = time.monotonic()
        self.engine.close()  # nothing to do the first time
        self.engine.open()
        for size in self.engine.sizes:
            self.engine.warm_up(size)  # first touch of weights and buffers
        opened, seconds = time.monotonic(), dict[Any, float]()
        for size in self.engine.sizes:
            before = time.monotonic()
            self.engine.warm_up(size)
            seconds[size] = time.monotonic() - before
        self._post(Ready(device=self.uri, open_seconds=opened - started, service_seconds=seconds))

    def _work(self, work: Work) -> None:
        self._ticket = work.ticket
        started_ns = time.monotonic_ns()
        answers = self._checked(work, self.engine.run(work))
        self._post(Completion(device=self.uri, ticket=work.ticket, answers=answers, started_ns=started_ns,
                              completed_ns=time.monotonic_ns()))
        self._ticket = None

    def _checked(self, work: Work, answers: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """`answers` if they are what was asked for: the harness passes addresses of images to LoadGen."""
        what, shape, dtype = "an image", tuple(self.engine.image_shape or ()), "uint8"
        if isinstance(work, Call):
            what, shape, dtype = "tokens", (work.size,), "int64"
        if len(answers) != work.answers:
            raise DeviceError(f"gave {len(answers)} {'arrays for 1 call' if isinstance(work, Call) else f'images for {work.answers} samples'}")
        for answer in answers:
            if answer.shape != shape or answer.dtype != dtype or not answer.flags.c_contiguous:
                raise DeviceError(f"gave {what} of shape {answer.shape} {answer.dtype}, expected {shape} {dtype}")
        return tuple(answers)


def describe(error: BaseException) -> str:
    """One line for an exception; IREE's messages carry a C++ stack of source lines, of which the first says it."""
    text = " ".join(str(error).split("\n")[0].split())
    return text if isinstance(error, PipelineError) else f"{type(error).__name__}: {text}"

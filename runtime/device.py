"""The device seam: `submit(batch) -> ticket`; everything that happens then comes back as an event.

Here a device is a thread around an engine that blocks. A device that raises sends a Failure and takes no more work.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ireeperf.errors import DeviceError, PipelineError
from runtime.batch import Batch, Completion, Event, Failure, Ready

Post = Callable[[Event], None]


class Engine(Protocol):
    """What draws images; called from one thread only, and may block."""

    image_shape: tuple[int, int, int]  # (H, W, 3)

    def open(self) -> None:
        """Acquire the device and load executables and weights; DeviceError or ManifestError when that fails."""

    def warm_up(self) -> None:
        """Draw one batch of the run's size and discard it."""

    def run(self, batch: Batch) -> Sequence[np.ndarray]:
        """An image for each of the batch's samples: [H, W, 3] uint8, C-contiguous."""

    def executable_cpu_seconds(self) -> float:
        """CPU time spent in executables so far, in this thread and in the driver's own; read from any thread."""


class Device:
    """One logical device of the pool, driven by a thread of its own."""

    def __init__(self, uri: str, engine: Engine, post: Post) -> None:
        self.uri = uri
        self.engine = engine
        self._post = post
        self._inbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        # daemon: a device that hangs in a driver call cannot be interrupted and must not keep the process
        self._thread = threading.Thread(target=self._serve, name=uri, daemon=True)

    def start(self) -> None:
        """Open and warm up; Ready or Failure follows."""
        self._thread.start()

    def submit(self, batch: Batch) -> int:
        """Queue `batch`; a Completion or a Failure with its ticket follows."""
        self._inbox.put(batch)
        return batch.ticket

    def stop(self, timeout_s: float) -> bool:
        """Let the thread end; False when it is still busy after `timeout_s`."""
        self._inbox.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        ticket: int | None = None
        try:
            started = time.monotonic()
            self.engine.open()
            self.engine.warm_up()  # first touch of weights and buffers
            opened = time.monotonic()
            self.engine.warm_up()
            self._post(Ready(device=self.uri, open_seconds=opened - started, warm_seconds=time.monotonic() - opened))
            while (batch := self._inbox.get()) is not None:
                ticket = batch.ticket
                started_ns = time.monotonic_ns()
                images = self._checked(batch, self.engine.run(batch))
                self._post(Completion(device=self.uri, ticket=ticket, images=images, started_ns=started_ns,
                                      completed_ns=time.monotonic_ns()))
                ticket = None
        except BaseException as error:  # a thread's last word: whatever it was, the pool must hear of it
            self._post(Failure(device=self.uri, ticket=ticket, cause=describe(error)))

    def _checked(self, batch: Batch, images: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """`images` if they are what the batch asked for: the harness passes their addresses to LoadGen."""
        if len(images) != len(batch.samples):
            raise DeviceError(f"gave {len(images)} images for {len(batch.samples)} samples")
        for image in images:
            if image.shape != self.engine.image_shape or image.dtype != np.uint8 or not image.flags.c_contiguous:
                raise DeviceError(f"gave an image of shape {image.shape} {image.dtype}, expected {self.engine.image_shape} uint8")
        return tuple(images)


def describe(error: BaseException) -> str:
    """One line for an exception; IREE's messages carry a C++ stack of source lines, of which the first says it."""
    text = " ".join(str(error).split("\n")[0].split())
    return text if isinstance(error, PipelineError) else f"{type(error).__name__}: {text}"

"""An engine that misbehaves on order, in a thread or in a child process. Not a device: only tests use it."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import time
from pathlib import Path
from typing import Literal

import numpy as np

from runtime.batch import Batch
from runtime.device import EngineMaker

SHAPE = (8, 8, 3)
SIZES = (4,)
HANG_SECONDS = 120.0  # longer than any deadline of a test
EXIT_CODE = 137  # what a container's process exits with when the kernel killed it for its memory

When = Literal["never", "make", "open", "warm_up", "batch"]
How = Literal["raise", "oom", "hang", "hold_gil", "kill", "abort", "segfault", "exit", "shape", "count", "slow"]


class FaultyEngine:
    """Answers with the sample index in every byte (modulo 256). Does `how` at `when`: "batch" is batch number `at`, from 1.

    `once` is a file that is made when the fault happens; while it exists the fault does not happen again, in no process.
    """

    image_shape = SHAPE

    def __init__(self, how: How = "raise", when: When = "never", at: int = 1, seconds: float = 0.0, once: Path | None = None,
                 sizes: tuple[int, ...] = SIZES, shape: tuple[int, int, int] = SHAPE) -> None:
        self.sizes = sizes
        self.image_shape = shape
        self.how, self.when, self.at, self.seconds, self.once = how, when, at, seconds, once
        self.batches = 0
        self._happens("make")

    def open(self) -> None:
        """Fault "open"."""
        self._happens("open")

    def warm_up(self, size: int) -> None:
        """Fault "warm_up"."""
        self._happens("warm_up")

    def run(self, batch: Batch) -> list[np.ndarray]:
        """Fault "batch"; else `seconds` of sleep."""
        self.batches += 1
        time.sleep(self.seconds)
        images = [np.full(self.image_shape, sample.index % 256, np.uint8) for sample in batch.samples]
        if self.batches == self.at and self._happens("batch"):
            return {"shape": [image[:-1] for image in images], "count": images[:-1]}.get(self.how, images)
        return images

    def close(self) -> None:
        """Nothing is held."""

    def park(self) -> None:
        """A hang is a sleep: nothing to keep."""

    def executable_cpu_seconds(self) -> float:
        """A made-up figure that grows: 1 s a batch."""
        return float(self.batches)

    def _happens(self, when: When) -> bool:
        """Whether it is time for the fault; those that are no matter of an answer are done here."""
        if when != self.when or (self.once is not None and self.once.exists()):
            return False
        if self.once is not None:
            self.once.touch()
        misbehave(self.how)
        return True


class UnreadableMaker:
    """Can be pickled, and raises when a child reads it."""

    def __reduce__(self) -> tuple[object, ...]:
        return misbehave, ("raise",)

    def __call__(self) -> FaultyEngine:
        """Never reached in a child."""
        return FaultyEngine()


def misbehave(how: How) -> None:
    """Do it. "shape" and "count" are the caller's to do."""
    if how == "raise":
        raise RuntimeError("INTERNAL; HIP driver error 'hipErrorLaunchFailure' (719)\n  at c/runtime/src/iree")
    if how == "oom":
        raise RuntimeError("RESOURCE_EXHAUSTED; HIP driver error 'hipErrorOutOfMemory' (2)")
    if how == "hang":
        time.sleep(HANG_SECONDS)
    elif how == "hold_gil":  # PyDLL keeps the GIL: no other Python thread of the process runs meanwhile
        ctypes.PyDLL(None).usleep(int(HANG_SECONDS * 1e6))
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(HANG_SECONDS)  # until it is delivered
    elif how == "abort":  # what ROCr does on a memory fault
        os.abort()
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(EXIT_CODE)
    elif how == "slow":
        time.sleep(0.5)


def maker(how: How = "raise", when: When = "never", **options: object) -> EngineMaker:
    """A picklable maker of a FaultyEngine."""
    return functools.partial(FaultyEngine, how, when, **options)  # type: ignore[arg-type]

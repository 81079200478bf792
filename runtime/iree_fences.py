"""Waiting for a device without being caught by it: fences in a row, waited for in short turns that end when it is given up."""

from __future__ import annotations

import threading
from typing import Final

from iree.runtime import HalDevice, HalFence

from ireeperf.errors import DeviceError

# How late a thread learns that its device was given up. A fence that is signalled ends the wait at once, so this costs no latency:
# 64 devices wake 256 times a second while all of them draw.
TURN_SECONDS: Final = 0.25


class Timeline:
    """One row of work on a device: each piece waits for the one before it, on the device."""

    def __init__(self, device: HalDevice, given_up: threading.Event) -> None:
        self._semaphore = device.create_semaphore(0)
        self._value = 0
        self._given_up = given_up

    def next(self) -> tuple[HalFence, HalFence]:
        """Fences of the next piece of work: what it waits for, and what it signals."""
        before = HalFence.create_at(self._semaphore, self._value)
        self._value += 1
        return before, HalFence.create_at(self._semaphore, self._value)

    def wait(self) -> None:
        """Until all of it is done. RuntimeError is IREE's, for work that failed; DeviceError when the device was given up meanwhile."""
        fence = HalFence.create_at(self._semaphore, self._value)
        while not fence.wait(timeout=int(TURN_SECONDS * 1e9)):  # releases the GIL
            if self._given_up.is_set():
                raise DeviceError("given up: it is past its deadline and does not answer")

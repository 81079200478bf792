"""One line of progress at a time: devices that are ready, then samples done, rate, time left."""

from __future__ import annotations

import sys
import time

from runtime.policy import FifoPolicy


class Progress:
    """Prints at most every `every_s` seconds: rewriting one line on a terminal, plain lines elsewhere."""

    def __init__(self, policy: FifoPolicy, *, every_s: float | None = None) -> None:
        self._policy = policy
        self._terminal = sys.stderr.isatty()
        self._every_s = every_s if every_s is not None else 1.0 if self._terminal else 5.0
        self._started = self._last = time.monotonic()

    def start(self) -> None:
        """The run's clock starts: from here on samples count."""
        self._started = self._last = time.monotonic()

    def tick(self) -> None:
        """Print if it is time; cheap otherwise."""
        now = time.monotonic()
        if now - self._last >= self._every_s:
            self._last = now
            self._print(now)

    def end(self) -> None:
        """The last state, on a line of its own."""
        self._print(time.monotonic())
        if self._terminal:
            print(file=sys.stderr)

    def _print(self, now: float) -> None:
        line = self._opening(now) if self._policy.opening else self._running(now)
        print(f"\r{line:<70}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr, flush=True)

    def _opening(self, now: float) -> str:
        return f"waiting for {self._policy.opening} devices to open and warm up, {now - self._started:.0f} s"

    def _running(self, now: float) -> str:
        done, issued = self._policy.completed, self._policy.issued
        rate = done / (now - self._started) if now > self._started else 0.0
        left = f"{self._policy.owed / rate:.0f} s left" if rate else "no batch back yet"
        lost = f", {len(self._policy.lost)} devices lost" if self._policy.lost else ""
        return f"{done} of {issued} samples, {rate:.2f} samples/s, {left}{lost}"

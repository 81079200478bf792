"""What a person sees while a run goes on: devices that open, then samples done, rate, time left, devices up, in flight."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from runtime.decoder_policy import DecoderPolicy
from runtime.policy import FifoPolicy

TERMINAL_S, PLAIN_S = 1.0, 5.0  # a log file of a run of hours should stay readable


class Progress:
    """Prints to stderr, at most every `every_s` seconds: rewriting one line on a terminal, plain lines elsewhere."""

    def __init__(self, policy: FifoPolicy | DecoderPolicy, *, every_s: float | None = None, stream: TextIO | None = None,
                 now: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._every_s = every_s if every_s is not None else TERMINAL_S if self._terminal else PLAIN_S
        self._now = now
        self._shown = 0  # characters of the line that is to be overwritten
        self._least_s = 0.0
        self._started = self._last = now()

    def start(self, least_s: float = 0.0) -> None:
        """The run's clock starts: from here on samples count. It lasts `least_s` at least (Server, whatever its rate)."""
        self._started = self._last = self._now()
        self._least_s = least_s

    def tick(self) -> None:
        """Print if it is time; cheap otherwise."""
        now = self._now()
        if now - self._last >= self._every_s:
            self._last = now
            self._print(now)

    def end(self) -> None:
        """The last state, on a line of its own."""
        self._print(self._now())
        if self._terminal:
            print(file=self._stream)
            self._shown = 0

    def _print(self, now: float) -> None:
        line = self._opening(now) if self._policy.opening and not self._policy.issued else self._running(now)
        if not self._terminal:
            print(line, file=self._stream, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be overwritten
        line = line if len(line) <= width else line[:width - 1] + "…"
        print(f"\r{line:<{min(self._shown, width)}}", end="", file=self._stream, flush=True)
        self._shown = len(line)

    def _opening(self, now: float) -> str:
        up = f", {self._policy.devices_up} up" if self._policy.devices_up else ""
        return f"waiting for {_count(self._policy.opening, 'device')} to open and warm up{up}, {now - self._started:.0f} s"

    def _running(self, now: float) -> str:
        policy, elapsed = self._policy, now - self._started
        rate = policy.completed / elapsed if elapsed > 0 else 0.0
        parts = [f"{policy.completed} of {policy.issued} samples", f"{rate:.2f} samples/s", self._left(rate, elapsed),
                 f"{_count(policy.devices_up, 'device')} up", f"{policy.in_flight} in flight"]
        if policy.opening:
            parts.append(f"{_count(policy.opening, 'device')} reopening")
        if policy.lost:
            parts.append(f"{_count(len(policy.lost), 'device')} lost")
        return ", ".join(parts)

    def _left(self, rate: float, elapsed: float) -> str:
        """Time for what is owed at the rate so far, and until the run may end."""
        if not rate and self._policy.owed:
            return "no batch back yet"
        return f"{_clock(max(self._policy.owed / rate if rate else 0.0, self._least_s - elapsed))} left"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _clock(seconds: float) -> str:
    """59 s, 4:07, 1:36:19."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    if whole < 60:
        return f"{whole} s"
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

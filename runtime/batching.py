"""Which compiled batch size to draw next, or how long to hold the samples there are: the part of the policy that differs by scenario."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ireeperf.errors import ConfigError

LEARNING = 0.1  # weight of a new service time in the running mean
EQUAL = 0.05  # rates that differ by less are noise of the measured service times
MARGIN = 0.05  # of a service time, kept free before a deadline: batches of one size differ by about 2 % on one machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Give `count` samples to a device in a batch of compiled size `size`."""

    size: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Wait for more samples, until `until_ns` at the latest."""

    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What a decision is made from; at least one sample waits and one device is idle."""

    waiting: int  # samples
    oldest_ns: int  # arrival of the sample that has waited longest
    idle: int  # devices
    devices: int  # idle or drawing


def whole_waves(samples: float, devices: int, size: int) -> int:
    """`samples` rounded up so that every device draws full batches to the end: a half-empty last wave costs 1-6 % of a score."""
    wave = devices * size
    return math.ceil(samples / wave) * wave


class Batching(Protocol):
    """Decides for one idle device; asked again for the next."""

    sizes: tuple[int, ...]  # compiled batch sizes that it draws, ascending

    def decide(self, queue: Queue, now_ns: int) -> Draw | Hold:
        """What to do with the samples that wait."""

    def learn(self, size: int, seconds: float) -> None:
        """A batch of `size` took `seconds`."""


class Throughput:
    """Offline: the size that draws the share of one idle device fastest; never holds.

    The share is waiting / idle samples, rounded up. A padded batch goes out only where its service time makes that faster than
    full smaller batches. Until a size was timed, its service time counts as proportional to the size.
    """

    def __init__(self, sizes: Sequence[int], seconds: Mapping[int, float] | None = None) -> None:
        if not sizes or min(sizes) < 1:
            raise ConfigError(f"batch sizes {list(sizes)}: at least one of at least 1 is needed")
        self.sizes = tuple(sorted(set(sizes)))
        self._seconds = dict(seconds or {})

    def seconds(self, size: int) -> float:
        """Service time of a batch of `size`: learned, else in proportion to the nearest size that was."""
        if size in self._seconds or not self._seconds:
            return self._seconds.get(size, float(size))
        nearest = min(self._seconds, key=lambda known: abs(known - size))
        return self._seconds[nearest] * size / nearest

    def learn(self, size: int, seconds: float) -> None:
        """Running mean per size, so that a machine that slows down is followed."""
        old = self._seconds.get(size, seconds)
        self._seconds[size] = old + LEARNING * (seconds - old)

    def decide(self, queue: Queue, now_ns: int) -> Draw | Hold:
        """The fastest of all sizes."""
        return self._fastest(queue, self.sizes)

    def _fastest(self, queue: Queue, sizes: Sequence[int]) -> Draw:
        """The size with the most samples of the share per second; the largest of those about equal, for fewer batches."""
        share = math.ceil(queue.waiting / queue.idle)
        rates = {size: min(size, share) / max(self.seconds(size), 1e-9) for size in sizes}
        best = max(rates.values()) * (1 - EQUAL)
        size = max(size for size, rate in rates.items() if rate >= best)
        return Draw(size=size, count=min(size, queue.waiting))


class Deadline(Throughput):
    """Server: as Throughput, of the sizes that answer the oldest sample in time; a padded batch may be held for company.

    On 64 partitions with sizes 1 to 8, of which 8 takes longer than the limit, this is the difference between a p99 of 28 s and
    of 15 s at 16.5 samples/s (docs/SIMULATOR.md). Where no size is in time any more, those that would be for a sample that
    comes now: the late one shall not make others late.

    Held is for at most the device time that a full batch would save, times the share of devices that are busy (on an idle
    machine device time costs nothing, so nothing is held), and never past the moment from which the oldest sample would miss
    its latency limit.
    """

    def __init__(self, sizes: Sequence[int], latency_s: float, seconds: Mapping[int, float] | None = None) -> None:
        super().__init__(sizes, seconds)
        if not latency_s > 0:
            raise ConfigError(f"target latency is {latency_s:g} s; a Server run needs one above 0")
        self.latency_s = latency_s

    def decide(self, queue: Queue, now_ns: int) -> Draw | Hold:
        """Draw, or hold a padded batch."""
        left = self.latency_s - (now_ns - queue.oldest_ns) / 1e9
        draw = self._fastest(queue, self._within(left) or self._within(self.latency_s) or (min(self.sizes, key=self.seconds),))
        if draw.count == draw.size:
            return draw
        service = self.seconds(draw.size)
        saved = service * (draw.size - draw.count) / draw.size
        patience = saved * (1 - queue.idle / queue.devices)
        last = self.latency_s - service * (1 + MARGIN)
        until_ns = queue.oldest_ns + int(min(patience, last) * 1e9)
        return draw if now_ns >= until_ns else Hold(until_ns=until_ns)

    def _within(self, seconds: float) -> tuple[int, ...]:
        """The sizes that take no longer, with a margin."""
        return tuple(size for size in self.sizes if self.seconds(size) * (1 + MARGIN) <= seconds)

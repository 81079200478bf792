"""ServiceTimes: seconds one device takes per batch size. Says whether they were measured or assumed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar, Literal

from ireeperf import document
from ireeperf.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTimes:
    """Service time of one device at each batch size."""

    schema_version: ClassVar[int] = 1
    device: str
    evidence: Literal["measured", "assumed"]
    source: str  # where the figures come from
    seconds: dict[str, float]  # batch size (TOML keys are text) -> seconds per batch
    jitter: float = 0.0  # standard deviation of a batch's time, relative to its mean

    def __post_init__(self) -> None:
        for size, seconds in self.seconds.items():
            if not size.isdigit() or int(size) < 1 or seconds < 0:
                raise ConfigError(f"service time of batch size {size!r} is {seconds}; sizes >= 1, seconds >= 0")
        if not 0 <= self.jitter < 1 / 3:
            raise ConfigError(f"jitter is {self.jitter:g}; a relative standard deviation from 0 to below 1/3 is needed")

    def draw(self, batch_size: int, random: Random) -> float:
        """One batch's seconds: normal around the table's, cut at three standard deviations so that it stays positive."""
        deviation = max(-3.0, min(3.0, random.gauss(0.0, 1.0))) if self.jitter else 0.0
        return self.of(batch_size) * (1 + self.jitter * deviation)

    def of(self, batch_size: int) -> float:
        """Seconds for a batch of `batch_size`; ConfigError names the sizes known."""
        try:
            return self.seconds[str(batch_size)]
        except KeyError:
            raise ConfigError(f"no service time for batch size {batch_size} on {self.device}; "
                              f"known: {', '.join(self.seconds)}") from None


def read(path: Path) -> ServiceTimes:
    """Read a service-time table (.toml or .json); ConfigError when malformed."""
    return document.read(ServiceTimes, path)

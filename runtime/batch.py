"""What travels between harness, pool and devices: samples, batches and the events that devices send back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a LoadGen query."""

    id: int  # LoadGen's handle for the answer; opaque
    index: int  # row of the sample set


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples that one device draws in one go.

    `size` is a compiled batch size and may exceed the number of samples: the device then repeats the last row and
    discards what it draws for it.
    """

    ticket: int  # unique in a run
    samples: tuple[Sample, ...]
    size: int

    @property
    def padding(self) -> int:
        """Rows drawn and discarded."""
        return self.size - len(self.samples)

    @property
    def rows(self) -> list[int]:
        """Sample-set row of each of the `size` slots."""
        indices = [sample.index for sample in self.samples]
        return indices + [indices[-1]] * self.padding


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """LoadGen gave a query."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A device is open and has drawn a warm-up batch."""

    device: str
    open_seconds: float
    # batch size -> seconds of a warm-up batch: the second of two, so that first-touch costs are not in it
    service_seconds: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """A device drew a batch. Times are of the pool's clock, in nanoseconds."""

    device: str
    ticket: int
    images: tuple[np.ndarray, ...]  # one per sample: [H, W, 3] uint8, C-contiguous
    started_ns: int
    completed_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A device raised. `ticket` is the batch it held, None when it failed to open.

    It takes no more batches, unless it is `reopening`: then it is being built anew, and a Ready or another Failure follows.
    """

    device: str
    ticket: int | None
    cause: str
    reopening: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The load generator returned; `cause` is why when it raised."""

    cause: str | None


Event = Issue | Ready | Completion | Failure | Ended

"""What travels between harness, pool and devices: samples, batches and the events that devices send back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

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
    def answers(self) -> int:
        """Arrays that a device gives for it: an image a sample."""
        return len(self.samples)

    @property
    def padding(self) -> int:
        """Rows drawn and discarded."""
        return self.size - len(self.samples)

    @property
    def rows(self) -> list[int]:
        """Sample-set row of each of the `size` slots."""
        indices = [sample.index for sample in self.samples]
        return indices + [indices[-1]] * self.padding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One call of a decoder's entry point. Rows beyond the sequences are padding over page 0."""

    ticket: int  # unique in a run
    entry_point: str
    size: int  # compiled batch size
    tokens: np.ndarray  # prefill: [size, length] int64; decode: [size]
    positions: np.ndarray  # prefill: the prompts' lengths [size] int64; decode: the tokens' positions [size]
    page_table: np.ndarray  # prefill: [size, length / page_tokens] int64; decode: [size, max_seq_len / page_tokens]

    @property
    def answers(self) -> int:
        """Arrays that a device gives for it."""
        return 1


class Work(Protocol):
    """What a device is given: a Batch, or a decoder's Call."""

    @property
    def ticket(self) -> int:
        """Unique in a run."""

    @property
    def answers(self) -> int:
        """How many arrays the device gives for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """LoadGen gave a query."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A device is open and warm."""

    device: str
    open_seconds: float
    # batch size, or entry point of a decoder -> seconds of a warm-up: the second of two, so that first-touch costs are not in it
    service_seconds: Mapping[Any, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """A device is done with a batch or a call. Times are of the pool's clock, in nanoseconds."""

    device: str
    ticket: int
    answers: tuple[np.ndarray, ...]  # C-contiguous; of a batch one per sample: [H, W, 3] uint8; of a call one: [size] int64 tokens
    started_ns: int
    completed_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A device raised. `ticket` is the batch or call that it held, None when it failed to open.

    It takes no more work, unless it is `reopening`: then it is being built anew, and a Ready or another Failure follows.
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


def shape_of(entry_point: str) -> tuple[int, int]:
    """Batch size and prompt length of prefill_bs<N>_len<S>; of decode_bs<N> the length is 0."""
    size, _, length = entry_point.partition("_bs")[2].partition("_len")
    return int(size), int(length or 0)

"""When a waiting prompt may keep running sequences waiting: for throughput, or under limits of latency. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ireeperf.errors import ConfigError

LEARNING = 0.1  # weight of a new step time in the running mean


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One sequence: its prompt, then what was generated. `limit` bounds the answer, in tokens."""

    id: int  # LoadGen's handle for the answer; opaque
    index: int  # row of the sample set
    prompt: tuple[int, ...]
    limit: int
    arrived_ns: int
    answer: list[int] = field(default_factory=list)  # the token that ends it included
    first_ns: int | None = None  # when its first token was there
    ended: bool = False
    pages: list[int] = field(default_factory=list)
    cached: int = 0  # positions whose keys and values are in the cache
    preemptions: int = 0

    @property
    def length(self) -> int:
        """Tokens known: prompt and answer."""
        return len(self.prompt) + len(self.answer)

    def token(self, position: int) -> int:
        """The token at `position`, from 0."""
        return self.prompt[position] if position < len(self.prompt) else self.answer[position - len(self.prompt)]


class StepTimes:
    """Seconds a step takes by entry point, learned as steps finish."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def learn(self, entry_point: str, seconds: float) -> None:
        """A step took `seconds`."""
        old = self._seconds.get(entry_point, seconds)
        self._seconds[entry_point] = old + LEARNING * (seconds - old)

    def of(self, entry_point: str) -> float:
        """The mean so far; 0 until one was timed."""
        return self._seconds.get(entry_point, 0.0)


class Pace(Protocol):
    """Says whether a prefill may go before the next decode step."""

    def prefill_next(self, running: Sequence[Request], head: Request, entry_point: str, times: StepTimes, now_ns: int) -> bool:
        """`entry_point` is the prefill that waits, of `head` first; `running` are the sequences that it would keep waiting."""


class Throughput:
    """Offline: fill the batch as soon as a sequence can be admitted; a decode step costs about the same whatever is in it."""

    def prefill_next(self, running: Sequence[Request], head: Request, entry_point: str, times: StepTimes, now_ns: int) -> bool:
        """Always."""
        return True


class Latency:
    """Server, Interactive: a prefill goes first while every running sequence can afford to wait for it.

    MLPerf's time per output token (TPOT) is a mean over one answer, so a sequence that was fast so far has time to give: with n
    tokens since its first, n * limit minus the time since then. A prefill that takes no longer than the least of these breaks nothing.
    It goes first, too, when its own first token (TTFT) would come too late otherwise: where a device cannot keep the limit of tokens at all,
    nobody has time to give, and nothing would be admitted any more.
    """

    def __init__(self, tpot_s: float, ttft_s: float = math.inf, margin: float = 0.1) -> None:
        if not (tpot_s > 0 and ttft_s > 0):
            raise ConfigError(f"the limits of time to the first token and per output token are {ttft_s:g} and {tpot_s:g} s; above 0")
        self.tpot_ns, self.ttft_ns = tpot_s * (1 - margin) * 1e9, ttft_s * (1 - margin) * 1e9

    def prefill_next(self, running: Sequence[Request], head: Request, entry_point: str, times: StepTimes, now_ns: int) -> bool:
        """Whether the slowest running sequence has the prefill's time to give, or `head` has waited as long as it can."""
        prefill_ns = times.of(entry_point) * 1e9
        if now_ns + prefill_ns - head.arrived_ns >= self.ttft_ns:
            return True
        slack = min((len(one.answer) * self.tpot_ns - (now_ns - one.first_ns) for one in running if one.first_ns is not None), default=None)
        return slack is None or slack >= prefill_ns

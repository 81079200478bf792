"""Continuous batching of one device's decoder: which step comes next, and what its tokens mean.

A pure state machine: requests, finished steps and the time go in, steps come out. It owns no thread, clock or device, so the pool
(real time) and the simulator (virtual time) drive the same code. Pages of the KV cache are taken as a sequence grows and given
back when it ends; nothing is reused across requests (MLPerf allows no prefix cache). When pages run out, the sequence that came
last gives its own back and is computed again later: no token of it is lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ireeperf.errors import ConfigError
from runtime.pace import Pace, Request, StepTimes
from runtime.page_pool import PagePool

_RESERVE = 0.01  # of all pages, left free by admission: running sequences grow into them


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """What was compiled: the fields of DecoderConfig that a batcher needs."""

    page_tokens: int
    pages: int
    max_seq_len: int
    prefill_lengths: tuple[int, ...]
    prefill_batch_sizes: tuple[int, ...]
    decode_batch_sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One call of an entry point. Rows beyond the requests are padding over page 0."""

    kind: Literal["prefill", "decode"]
    size: int  # compiled batch size
    length: int  # compiled prompt length; decode: 1
    requests: tuple[Request, ...]
    tokens: np.ndarray  # [size, length] int64; decode: [size]
    positions: np.ndarray  # prefill: the prompts' lengths [size] int64; decode: the tokens' positions [size]
    page_table: np.ndarray  # [size, length / page_tokens] int64; decode: [size, max_seq_len / page_tokens]

    @property
    def entry_point(self) -> str:
        """The function of the compiled module."""
        return f"prefill_bs{self.size}_len{self.length}" if self.kind == "prefill" else f"decode_bs{self.size}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a step brought: requests whose first token is there, and requests that ended."""

    first: tuple[Request, ...]
    ended: tuple[Request, ...]


class ContinuousBatching:
    """The sequences of one device. `next_step` and `finish` are called in turn: a device has one step at a time."""

    def __init__(self, shapes: Shapes, pace: Pace) -> None:
        self.shapes = shapes
        self.pace = pace
        self.times = StepTimes()
        self.pool = PagePool(shapes.pages)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []  # row by row, the longest admitted first
        self.preempted = 0
        self._step: Step | None = None
        size, columns = shapes.decode_batch_sizes[-1], shapes.max_seq_len // shapes.page_tokens
        self._tokens, self._positions = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._tables = np.zeros((size, columns), np.int64)

    @property
    def owed(self) -> int:
        """Requests that have not ended."""
        return len(self.waiting) + len(self.running)

    def add(self, request: Request) -> None:
        """A request comes in. ConfigError when the cache could never hold its prompt and one more token."""
        if not 0 < len(request.prompt) < self.shapes.max_seq_len:
            raise ConfigError(f"sample {request.index} has a prompt of {len(request.prompt)} tokens; the build holds sequences of "
                              f"{self.shapes.max_seq_len}, so prompts of 1 to {self.shapes.max_seq_len - 1}")
        if request.limit < 1:
            raise ConfigError(f"sample {request.index} may have {request.limit} tokens of answer; at least 1")
        self.waiting.append(request)

    def next_step(self, now_ns: int) -> Step | None:
        """The step to run now; None while there is nothing to do."""
        assert self._step is None, "a step is under way"
        group, length = self._admissible()
        if group:
            size = next(one for one in self.shapes.prefill_batch_sizes if one >= len(group))
            if not self.running or self.pace.prefill_next(self.running, group[0], f"prefill_bs{size}_len{length}", self.times, now_ns):
                self._step = self._prefill(group, size, length)
        if self._step is None and self.running:
            self._grow()
            self._step = self._decode()
        return self._step

    def finish(self, chosen: np.ndarray, seconds: float, now_ns: int) -> Outcome:
        """The step under way gave `chosen` [size] int64: a token each, or -1 - token where that ends the sequence."""
        step, self._step = self._step, None
        assert step is not None, "no step is under way"
        self.times.learn(step.entry_point, seconds)
        first, ended = [], []
        for row, (request, token) in enumerate(zip(step.requests, chosen.tolist(), strict=False)):
            request.cached = int(step.positions[row]) + (step.kind == "decode")
            if request.cached == request.length:  # else it is being computed again, or its prompt is longer than a prefill
                request.answer.append(-1 - token if token < 0 else token)
                if request.first_ns is None:
                    request.first_ns = now_ns
                    first.append(request)
                if token < 0 or len(request.answer) == request.limit or request.length == self.shapes.max_seq_len:
                    request.ended = True
                    ended.append(request)
        if ended:
            for request in ended:
                self._drop(request)
            self.running = [request for request in self.running if not request.ended]
            self._lay_out()
        else:
            self._advance()
        return Outcome(first=tuple(first), ended=tuple(ended))

    def lose_cache(self) -> list[Request]:
        """The device is lost, and its cache with it: all requests that it had, oldest first, to be computed again. Their tokens so far stand."""
        self._step = None
        had = [*self.running, *self.waiting]
        for request in self.running:
            self._drop(request)
        self.running, self.waiting = [], deque()
        self._tables[:] = 0  # else a request that gets an old row's first page again would be taken for it
        return had

    def _admissible(self) -> tuple[list[Request], int]:
        """Requests from the head of the line that one prefill takes, and its length; ([], 0) when none fits."""
        shapes = self.shapes
        room = min(shapes.prefill_batch_sizes[-1], shapes.decode_batch_sizes[-1] - len(self.running))
        left = self.pool.free - (int(_RESERVE * shapes.pages) if self.running else 0)
        group: list[Request] = []
        length = 0
        for request in self.waiting:
            first = min(request.length, shapes.prefill_lengths[-1])
            needed = -(-first // shapes.page_tokens)
            if len(group) == room or needed > left or (group and first > length):
                break
            if not group:
                length = next(one for one in shapes.prefill_lengths if one >= first)
            group.append(request)
            left -= needed
        return group, length

    def _prefill(self, group: list[Request], size: int, length: int) -> Step:
        tokens, lengths = np.zeros((size, length), np.int64), np.ones(size, np.int64)
        table = np.zeros((size, length // self.shapes.page_tokens), np.int64)
        for row, request in enumerate(group):
            self.waiting.popleft()
            count = min(request.length, length)
            request.pages = self.pool.take(-(-count // self.shapes.page_tokens))
            tokens[row, :count] = (request.prompt + tuple(request.answer))[:count]
            lengths[row], table[row, :len(request.pages)] = count, request.pages
        self.running += group
        return Step(kind="prefill", size=size, length=length, requests=tuple(group), tokens=tokens, positions=lengths, page_table=table)

    def _decode(self) -> Step:
        size = next(one for one in self.shapes.decode_batch_sizes if one >= len(self.running))
        return Step(kind="decode", size=size, length=1, requests=tuple(self.running), tokens=self._tokens[:size].copy(),
                    positions=self._positions[:size].copy(), page_table=self._tables[:size].copy())

    def _grow(self) -> None:
        """A page for every sequence whose next position starts one; who came last makes room where none is left."""
        row = 0
        while row < len(self.running):
            request = self.running[row]
            if request.cached // self.shapes.page_tokens == len(request.pages):
                while not self.pool.free:
                    self._preempt(self.running[-1])
                    if row == len(self.running):
                        break
                else:
                    request.pages += self.pool.take(1)
                    self._tables[row, len(request.pages) - 1] = request.pages[-1]
            row += 1

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._drop(request)
        request.preemptions += 1
        self.preempted += 1
        self.waiting.appendleft(request)
        self._lay_out()

    def _drop(self, request: Request) -> None:
        self.pool.give_back(request.pages)
        request.pages, request.cached = [], 0

    def _lay_out(self) -> None:
        """Rows anew, after some left."""
        self._tables[:] = 0
        for row, request in enumerate(self.running):
            self._tables[row, :len(request.pages)] = request.pages
        self._advance()

    def _advance(self) -> None:
        """The next token and position of every row; rows beyond are padding at position 0."""
        count = len(self.running)
        self._tokens[:count] = [request.token(request.cached) for request in self.running]
        self._positions[:count] = [request.cached for request in self.running]
        self._tokens[count:] = 0
        self._positions[count:] = 0
        for row, request in enumerate(self.running):
            if self._tables[row, 0] != request.pages[0]:  # a prefill brought it
                self._tables[row] = 0
                self._tables[row, :len(request.pages)] = request.pages

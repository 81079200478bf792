"""runtime.continuous_batching in virtual time, over a fake decoder whose answer is a function of the prompt and of what its pages hold."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ireeperf.errors import ConfigError
from runtime.continuous_batching import ContinuousBatching, Shapes, Step
from runtime.pace import Latency, Request, Throughput

SHAPES = Shapes(page_tokens=4, pages=33, max_seq_len=32, prefill_lengths=(8, 16), prefill_batch_sizes=(1, 4), decode_batch_sizes=(1, 4, 8))
END = 7


class PagedDecoder:
    """Keeps every token in the page that the table names, and computes the next one from what it reads back there: a page that
    leaked, moved or was shared gives another answer."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.cache = np.full((shapes.pages, shapes.page_tokens), -1)

    def run(self, step: Step) -> np.ndarray:
        chosen = np.zeros(step.size, np.int64)
        for row in range(step.size):
            if step.kind == "prefill":
                for position in range(step.length):
                    page = step.page_table[row, position // self.shapes.page_tokens]
                    self.cache[page, position % self.shapes.page_tokens] = step.tokens[row, position]
                last = int(step.positions[row]) - 1
            else:
                last = int(step.positions[row])
                self.cache[step.page_table[row, last // self.shapes.page_tokens], last % self.shapes.page_tokens] = step.tokens[row]
            known = [int(self.cache[step.page_table[row, one // self.shapes.page_tokens], one % self.shapes.page_tokens]) for one in range(last + 1)]
            chosen[row] = following(known)
        return chosen


def following(known: list[int]) -> int:
    token = (sum((index + 1) * one for index, one in enumerate(known)) * 31 + len(known)) % 97 + 1
    return -1 - token if token % 11 == END else token


def alone(prompt: tuple[int, ...], limit: int, longest: int) -> list[int]:
    known, answer = list(prompt), []
    while len(answer) < limit and len(known) < longest:
        token = following(known)
        answer.append(-1 - token if token < 0 else token)
        known.append(answer[-1])
        if token < 0:
            break
    return answer


def drive(batching: ContinuousBatching, decoder: PagedDecoder, requests: list[Request], *, seconds: float = 0.01, lose_at: int | None = None) -> int:
    """Requests arrive one a step until all are in, then it runs empty; the number of steps."""
    coming, steps, now_ns = list(reversed(requests)), 0, 0
    while coming or batching.owed:
        if coming:
            batching.add(coming.pop())
        step = batching.next_step(now_ns)
        assert step is not None
        steps += 1
        if steps == lose_at:
            decoder.cache[:] = -1
            for request in batching.lose_cache():
                batching.add(request)
            continue
        now_ns += int(seconds * 1e9)
        batching.finish(decoder.run(step), seconds, now_ns)
        assert batching.pool.taken == sum(len(request.pages) for request in batching.running)
    return steps


def some(count: int, seed: int, longest: int = 24) -> list[Request]:
    draw = random.Random(seed)
    return [Request(id=index, index=index, prompt=tuple(draw.randrange(1, 90) for _ in range(draw.randint(1, longest))), limit=draw.randint(1, 16),
                    arrived_ns=0) for index in range(count)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lose_at", [None, 9])
def test_every_answer_is_what_the_sequence_alone_would_get(seed: int, lose_at: int | None) -> None:
    """Prompts up to 24 tokens (a prefill takes 16), 8 sequences at a time, 32 pages: growing, preemption and replay all happen."""
    requests, batching = some(40, seed), ContinuousBatching(SHAPES, Throughput())
    drive(batching, PagedDecoder(SHAPES), requests, lose_at=lose_at)
    for request in requests:
        assert request.answer == alone(request.prompt, request.limit, SHAPES.max_seq_len)
    assert batching.pool.taken == 0 and batching.pool.free == SHAPES.pages - 1


def test_pages_run_out_and_the_last_to_come_gives_way() -> None:
    tight = Shapes(page_tokens=4, pages=11, max_seq_len=32, prefill_lengths=(8,), prefill_batch_sizes=(1,), decode_batch_sizes=(4,))
    long = [prompt for prompt in ((first, second, 5) for first in range(1, 60) for second in range(1, 60)) if len(alone(prompt, 28, 32)) > 20][:4]
    requests = [Request(id=index, index=index, prompt=prompt, limit=28, arrived_ns=0) for index, prompt in enumerate(long)]
    batching = ContinuousBatching(tight, Throughput())
    drive(batching, PagedDecoder(tight), requests)
    assert batching.preempted > 0 and requests[0].preemptions == 0, "the first to come never gives way"
    assert [request.answer for request in requests] == [alone(request.prompt, 28, 32) for request in requests]


def test_a_prefill_waits_while_a_running_sequence_has_no_time_to_give() -> None:
    batching = ContinuousBatching(SHAPES, Latency(tpot_s=0.010, margin=0.0))
    batching.add(Request(id=0, index=0, prompt=(1, 2, 3), limit=16, arrived_ns=0))
    now_ns = 0
    kinds = []
    for _ in range(9):
        step = batching.next_step(now_ns)
        assert step is not None
        kinds.append(step.kind)
        seconds = 0.030 if step.kind == "prefill" else 0.004  # a token may take 10 ms: each decode step earns 6, a prefill costs 30
        now_ns += int(seconds * 1e9)
        batching.finish(np.full(step.size, 1), seconds, now_ns)
        if len(kinds) == 1:
            batching.add(Request(id=1, index=1, prompt=(4, 5), limit=16, arrived_ns=now_ns))
    assert kinds == ["prefill"] + ["decode"] * kinds[1:].index("prefill") + ["prefill"] + ["decode"] * (7 - kinds[1:].index("prefill"))
    assert kinds[1:].index("prefill") == 4, "after 4 decode steps the first sequence has 50 - 16 = 34 ms to give: one token it had before, four since"


def test_padding_touches_page_0_only() -> None:
    batching = ContinuousBatching(SHAPES, Throughput())
    for request in some(3, 1, longest=8):
        batching.add(request)
    step = batching.next_step(0)
    assert step is not None and step.kind == "prefill" and step.size == 4 and len(step.requests) == 3
    assert not step.page_table[3].any() and step.positions[3] == 1


@pytest.mark.parametrize(("prompt", "limit", "words"), [
    ((), 1, "prompt of 0 tokens"), (tuple([1] * 32), 1, "prompt of 32 tokens"), ((1,), 0, "may have 0 tokens")])
def test_what_can_never_be_answered_is_refused(prompt: tuple[int, ...], limit: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ContinuousBatching(SHAPES, Throughput()).add(Request(id=0, index=3, prompt=prompt, limit=limit, arrived_ns=0))


def test_a_limit_that_cannot_be_kept_does_not_shut_the_door() -> None:
    """Decode takes ten times the limit of tokens: nobody ever has time to give, and the second request comes in when its own first token is due."""
    batching, decoder = ContinuousBatching(SHAPES, Latency(tpot_s=0.001, ttft_s=0.1, margin=0.0)), PagedDecoder(SHAPES)
    batching.add(Request(id=0, index=0, prompt=(1, 2, 3), limit=25, arrived_ns=0))
    now_ns, admitted_ns = 0, None
    for number in range(20):
        step = batching.next_step(now_ns)
        assert step is not None
        if step.kind == "prefill" and number:
            admitted_ns = now_ns
            break
        now_ns += 10_000_000
        batching.finish(np.where(decoder.run(step) < 0, 5, 5), 0.010, now_ns)
        if not number:
            batching.add(Request(id=1, index=1, prompt=(4, 5), limit=2, arrived_ns=now_ns))
    assert admitted_ns == 100_000_000, "90 ms after it came, with 10 ms for its prefill"

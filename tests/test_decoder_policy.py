"""DecoderPolicy in virtual time over pretend decoders: every sample answered once and rightly, whatever is lost; passes are sorted, not mixed."""

from __future__ import annotations

import gc
import heapq
import itertools
import random
import tracemalloc
from collections import deque
from typing import Any

import numpy as np
import pytest

from ireeperf.errors import ConfigError
from runtime.batch import Completion, Failure, Issue, Ready, Sample
from runtime.continuous_batching import Shapes, Step
from runtime.decoder_policy import DecoderPolicy, Prompts, Start, Tell
from runtime.device_policy import Abandon, Fail
from runtime.null_device import pretend_token
from runtime.pace import Latency, Throughput
from tests import tiny_decoder
from tests.test_continuous_batching import SHAPES, PagedDecoder, alone

MS = 10**6
DRAW = random.Random(0)
PROMPTS = Prompts(tokens=[tuple(DRAW.randrange(1, 90) for _ in range(DRAW.randint(1, 24))) for _ in range(40)], limit=8)


def make(devices: int, *, on_loss: Any = "continue", sort: bool = False, pace: Any = Throughput) -> DecoderPolicy:
    policy = DecoderPolicy([f"d{index}" for index in range(devices)], shapes=SHAPES, pace=pace, prompts=PROMPTS, sort=sort, open_seconds=10,
                           on_loss=on_loss, now_ns=0)
    policy.batch_seconds = 1.0
    return policy


class World:
    """Devices that take 10 ms a call, and hang or raise as told."""

    def __init__(self, policy: DecoderPolicy, faults: dict[str, tuple[int, str]]) -> None:
        self.policy, self.faults, self.now_ns = policy, dict(faults), 0
        self.decoders = {device: PagedDecoder(SHAPES) for device in policy.batching}
        self.calls = dict.fromkeys(policy.batching, 0)
        self.events: list[tuple[int, int, Any]] = []
        self.numbers = itertools.count()
        self.told: list[Tell] = []
        self.failed: str | None = None
        for device in policy.batching:
            self.post(0, Ready(device=device, open_seconds=0.0, service_seconds={"decode_bs1": 0.01}))

    def post(self, at_ns: int, event: Any) -> None:
        heapq.heappush(self.events, (at_ns, next(self.numbers), event))

    def run(self) -> None:
        while self.failed is None and (self.events or self.policy.owed):
            deadline = self.policy.next_deadline_ns()
            if self.events and (deadline is None or self.events[0][0] <= deadline):
                self.now_ns, _, event = heapq.heappop(self.events)
                self.carry_out(self.policy.handle(event, self.now_ns))
            else:
                assert deadline is not None, "samples are owed and nothing can happen any more"
                self.now_ns = int(deadline)
                self.carry_out(self.policy.expire(self.now_ns))

    def carry_out(self, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Start):
                self.start(action)
            elif isinstance(action, Tell):
                self.told.append(action)
            elif isinstance(action, Fail):
                self.failed = action.cause
            else:
                assert isinstance(action, Abandon)

    def start(self, action: Start) -> None:
        device, call = action.device, action.call
        self.calls[device] += 1
        at_call, how = self.faults.get(device, (0, ""))
        if how and self.calls[device] == at_call:
            del self.faults[device]
            self.decoders[device].cache[:] = -1
            if how == "hang":
                return
            self.post(self.now_ns + 5 * MS, Failure(device=device, ticket=call.ticket, cause="gone", reopening=how == "reopens"))
            if how == "reopens":
                self.post(self.now_ns + 50 * MS, Ready(device=device, open_seconds=0.0, service_seconds={}))
            return
        kind = "prefill" if call.entry_point.startswith("prefill") else "decode"
        step = Step(kind=kind, size=call.size, length=call.tokens.shape[1] if kind == "prefill" else 1, requests=(), tokens=call.tokens,
                    positions=call.positions, page_table=call.page_table)
        self.post(self.now_ns + 10 * MS, Completion(device=device, ticket=call.ticket, answers=(self.decoders[device].run(step),),
                                                    started_ns=self.now_ns, completed_ns=self.now_ns + 10 * MS))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("faults", [{}, {"d0": (7, "raises")}, {"d0": (5, "hang"), "d1": (9, "reopens")}], ids=["none", "one lost", "one hangs, one reopens"])
def test_every_sample_is_answered_once_and_rightly(seed: int, faults: dict[str, tuple[int, str]]) -> None:
    policy = make(3, pace=lambda: Latency(tpot_s=0.03))
    world, draw = World(policy, faults), random.Random(seed)
    samples = [Sample(id=number, index=draw.randrange(40)) for number in range(60)]
    for place, sample in enumerate(samples):
        world.post(place * draw.randint(0, 8) * MS, Issue(samples=(sample,)))
    world.run()
    assert world.failed is None and policy.owed == 0 and not policy.waiting
    ended = [request for tell in world.told for request in tell.ended]
    assert sorted(request.id for request in ended) == list(range(60))
    assert sorted(request.id for tell in world.told for request in tell.first) == list(range(60))  # the first token is told once, too
    for request in ended:
        assert request.answer == alone(request.prompt, PROMPTS.limit, SHAPES.max_seq_len)
    assert all(batching.pool.taken == 0 for device, batching in policy.batching.items())
    assert policy.reissued > 0 if faults else policy.reissued == 0
    assert set(policy.lost) == {device for device, (_, how) in faults.items() if how in ("raises", "hang")}


def test_a_lost_device_ends_the_run_where_that_is_asked_for() -> None:
    world = World(make(2, on_loss="fail"), {"d1": (3, "raises")})
    world.post(1, Issue(samples=tuple(Sample(id=number, index=number) for number in range(30))))
    world.run()
    assert world.failed is not None and world.failed.startswith("d1 failed: gone; it held samples [")


def test_work_is_shared_by_the_number_of_sequences() -> None:
    world = World(make(3), {})
    world.post(1, Issue(samples=tuple(Sample(id=number, index=number % 40) for number in range(60))))
    world.run()
    counts = [sum(len(tell.ended) for tell in world.told if tell.completion.device == device) for device in ("d0", "d1", "d2")]
    assert sum(counts) == 60 and min(counts) >= 12


def test_sorting_stays_within_a_pass_over_the_data_set() -> None:
    policy = make(1, sort=True)
    order = [*DRAW.sample(range(40), 40), *DRAW.sample(range(40), 40), *DRAW.sample(range(40), 7)]
    policy.handle(Issue(samples=tuple(Sample(id=number, index=index) for number, index in enumerate(order))), 0)
    waiting = [request.index for request in policy.waiting]
    assert sorted(waiting[:40]) == sorted(waiting[40:80]) == list(range(40)) and sorted(waiting[80:]) == sorted(order[80:])
    lengths = [len(PROMPTS.tokens[index]) for index in waiting]
    for part in (lengths[:40], lengths[40:80], lengths[80:]):
        assert part == sorted(part, reverse=True)


def test_a_prompt_longer_than_the_cache_is_refused() -> None:
    policy = DecoderPolicy(["d0"], shapes=SHAPES, pace=Throughput, prompts=Prompts(tokens=[(1,) * SHAPES.max_seq_len], limit=4), sort=False,
                           open_seconds=10, on_loss="fail", now_ns=0)
    policy.handle(Ready(device="d0", open_seconds=0.0, service_seconds={}), 0)
    with pytest.raises(ConfigError, match=f"prompt of {SHAPES.max_seq_len} tokens"):
        policy.handle(Issue(samples=(Sample(id=0, index=0),)), 0)


def held_bytes() -> int:
    """Memory that lines of runtime/ allocated and that is still there."""
    gc.collect()
    found = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/runtime/*")])
    return sum(one.size for one in found.traces)


@pytest.mark.parametrize("count", [1_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_long_run_leaks_no_page_and_answers_nobody_twice(count: int) -> None:
    """Prompts and arrivals of random length on null decoders' rule, few pages, a device lost now and then: memory is flat from half-way on."""
    shapes = Shapes(page_tokens=4, pages=70, max_seq_len=64, prefill_lengths=(16, 48), prefill_batch_sizes=(1, 4), decode_batch_sizes=(1, 4, 16))
    draw, devices = random.Random(count), ["d0", "d1", "d2"]
    prompts = Prompts(tokens=[tuple(draw.randrange(1, 900) for _ in range(draw.randint(1, 48))) for _ in range(200)], limit=16)
    policy = DecoderPolicy(devices, shapes=shapes, pace=Throughput, prompts=prompts, sort=False, open_seconds=1e9, on_loss="continue", now_ns=0)
    policy.batch_seconds = 1e9
    wanted = [tiny_decoder.answer(np.array(tokens), prompts.limit) for tokens in prompts.tokens]
    events: deque[Any] = deque(Ready(device=device, open_seconds=0.0, service_seconds={}) for device in devices)
    answered, issued, half = np.zeros(count, np.int8), 0, 0
    tracemalloc.start()
    while issued < count or policy.owed:
        if issued < count and (policy.owed < 60 or not events):
            events.append(Issue(samples=(Sample(id=issued, index=draw.randrange(200)),)))
            issued += 1
        for action in policy.handle(events.popleft(), issued):
            if isinstance(action, Tell):
                for request in action.ended:
                    answered[request.id] += 1
                    assert request.answer == wanted[request.index][:shapes.max_seq_len - len(request.prompt)]
            elif isinstance(action, Start):
                if draw.random() < 2e-4:
                    events.append(Failure(device=action.device, ticket=action.call.ticket, cause="gone", reopening=True))
                    events.append(Ready(device=action.device, open_seconds=0.0, service_seconds={}))
                    continue
                call, rows = action.call, np.arange(action.call.size)
                last = (call.tokens, call.positions) if call.tokens.ndim == 1 else (call.tokens[rows, call.positions - 1], call.positions - 1)
                events.append(Completion(device=action.device, ticket=call.ticket, answers=(pretend_token(*last),), started_ns=0, completed_ns=0))
        if issued == count // 2 and not half:
            half = held_bytes()
    grown = held_bytes() - half
    tracemalloc.stop()
    assert (answered == 1).all() and policy.owed == 0 and grown <= 0, f"{grown} bytes more at the end than half-way"
    assert all(one.pool.taken == 0 and not one.running and not one.waiting for one in policy.batching.values())
    assert policy.reissued > 0 or count < 20_000

"""runtime.pool: it never hangs, answers every sample once, and names the cause when it cannot."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import pytest

from ireeperf.errors import DeviceError, RunError
from runtime.batch import Batch, Ended, Issue, Sample
from runtime.batching import Throughput
from runtime.policy import FifoPolicy, Respond
from runtime.pool import DevicePool, thread_devices

SHAPE = (8, 8, 3)


class Engine:
    """Answers with the sample index; misbehaves where it is told to."""

    image_shape = SHAPE
    sizes = (4,)

    def __init__(self, *, at_open: str = "", at_batch: int | None = None, how: str = "raise", seconds: float = 0.0) -> None:
        self.at_open, self.at_batch, self.how, self.seconds = at_open, at_batch, how, seconds
        self.batches = self.closed = 0
        self.parked = False
        self.freed = threading.Event()  # lets a hung thread end with the test

    def open(self) -> None:
        if self.at_open:
            self._misbehave(self.at_open)

    def warm_up(self, size: int) -> None:
        """Ready at once."""

    def close(self) -> None:
        self.closed += 1

    def park(self) -> None:
        self.parked = True

    def run(self, batch: Batch) -> list[np.ndarray]:
        self.batches += 1
        if self.batches == self.at_batch:
            self._misbehave(self.how)
        time.sleep(self.seconds)
        return [np.full(SHAPE, sample.index, np.uint8) for sample in batch.samples]

    def executable_cpu_seconds(self) -> float:
        return 0.0

    def _misbehave(self, how: str) -> None:
        if how == "raise":
            raise RuntimeError("RESOURCE_EXHAUSTED; out of memory\n  at c/runtime/src/iree")
        assert self.freed.wait(60)


@contextmanager
def pool_of(*engines: Engine, on_loss: Literal["fail", "continue"] = "fail", open_seconds: float = 5,
            batch_seconds: float = 5, quiet_seconds: float = 5, reopen: int = 0) -> Iterator[DevicePool]:
    policy = FifoPolicy([f"test://{i}" for i in range(len(engines))], batching=Throughput((4,)),
                        open_seconds=open_seconds, on_loss=on_loss, now_ns=time.monotonic_ns())
    policy.batch_seconds = batch_seconds
    devices = thread_devices({f"test://{i}": engine for i, engine in enumerate(engines)}, reopen=reopen)
    pool = DevicePool(devices, policy, quiet_seconds=quiet_seconds)
    try:
        yield pool
    finally:
        for engine in engines:
            engine.freed.set()
        pool.close()


def serve(pool: DevicePool, count: int) -> Counter[int]:
    """Issue `count` samples at once and end when all are answered; how often each was answered."""
    answered: Counter[int] = Counter()

    def respond(answer: Respond) -> None:
        for sample, image in zip(answer.batch.samples, answer.completion.answers, strict=True):
            assert (image == sample.index).all(), f"sample {sample.index} was answered with image {image[0, 0, 0]}"
            answered[sample.id] += 1
        if answered.total() == count:
            pool.post(Ended(cause=None))

    pool.open()
    pool.post(Issue(samples=tuple(Sample(1000 + i, i) for i in range(count))))
    pool.serve(respond)
    return answered


def once(count: int) -> Counter[int]:
    return Counter(range(1000, 1000 + count))


@pytest.mark.parametrize(("devices", "count"), [(1, 1), (1, 9), (3, 50), (16, 200)])
def test_every_sample_is_answered_once_with_its_own_image(devices: int, count: int) -> None:
    with pool_of(*(Engine() for _ in range(devices))) as pool:
        assert serve(pool, count) == once(count)
        assert pool.policy.owed == 0


def test_all_devices_share_the_work() -> None:
    engines = [Engine(seconds=0.01) for _ in range(4)]
    with pool_of(*engines) as pool:
        serve(pool, 64)
    assert all(engine.batches >= 2 for engine in engines), [engine.batches for engine in engines]


def test_devices_that_complete_together_all_get_work_before_the_rest_is_answered() -> None:
    """An answer takes a while; the last of 64 devices must not idle for the time of 63."""
    began, drew, checked = [threading.Event() for _ in range(8)], [threading.Event() for _ in range(8)], threading.Event()

    class Watched(Engine):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def run(self, batch: Batch) -> list[np.ndarray]:
            if self.batches:
                began[self.number].set()
                assert checked.wait(60)
            images = super().run(batch)
            drew[self.number].set()
            return images

    answered: list[str] = []

    def respond(answer: Respond) -> None:
        answered.append(answer.completion.device)
        if len(answered) == 1:
            assert all(event.wait(20) for event in drew)
            time.sleep(0.1)  # between run and the event of it lies a moment
        if len(answered) == 2:
            assert all(event.wait(20) for event in began), "a device waits for an answer that is another's"
            checked.set()
        if len(answered) == 16:
            pool.post(Ended(cause=None))

    with pool_of(*(Watched(number) for number in range(8))) as pool:
        pool.open()
        pool.post(Issue(samples=tuple(Sample(i, i) for i in range(64))))
        pool.serve(respond)


def test_a_batch_is_answered_before_its_device_is_given_the_next_but_one() -> None:
    """A device in a child process has memory for two batches (runtime/process_device.py)."""
    answered: set[int] = set()

    class TwoSlots(Engine):
        def __init__(self) -> None:
            super().__init__()
            self.tickets: list[int] = []

        def run(self, batch: Batch) -> list[np.ndarray]:
            assert answered.issuperset(self.tickets[:-1]), f"{self.tickets[:-1]} lie in memory that is written now"
            self.tickets.append(batch.ticket)
            return super().run(batch)

    def respond(answer: Respond) -> None:
        time.sleep(0.002)
        answered.add(answer.batch.ticket)
        if len(answered) == 100:
            pool.post(Ended(cause=None))

    with pool_of(*(TwoSlots() for _ in range(4))) as pool:
        pool.open()
        pool.post(Issue(samples=tuple(Sample(i, i % 200) for i in range(400))))
        pool.serve(respond)


def test_a_device_that_hangs_is_noticed_while_others_keep_the_pool_busy() -> None:
    with pool_of(Engine(at_batch=2, how="hang"), *(Engine() for _ in range(8)), batch_seconds=0.3) as pool:
        pool.open()
        pool.post(Issue(samples=tuple(Sample(i, i % 200) for i in range(200_000))))
        with pytest.raises(DeviceError, match=r"test://0 failed: did not answer in 0.3 s"):
            pool.serve(lambda answer: time.sleep(0.001))


def test_a_device_that_raises_when_opened_fails_the_run_by_name() -> None:
    with pool_of(Engine(), Engine(at_open="raise")) as pool, pytest.raises(
            DeviceError, match=r"test://1 failed: RuntimeError: RESOURCE_EXHAUSTED; out of memory$"):
        serve(pool, 8)


def test_a_device_that_hangs_when_opened_fails_the_run_at_its_deadline() -> None:
    started = time.monotonic()
    with pool_of(Engine(), Engine(at_open="hang"), open_seconds=0.3) as pool, pytest.raises(
            DeviceError, match=r"test://1 failed: did not become ready in 0.3 s"):
        serve(pool, 8)
    assert time.monotonic() - started < 30  # a bound on hanging, not a measurement


@pytest.mark.parametrize(("how", "cause"), [("raise", "RESOURCE_EXHAUSTED"), ("hang", "did not answer in 0.3 s")])
def test_a_device_lost_mid_run_fails_it_with_the_samples_it_held(how: str, cause: str) -> None:
    with pool_of(Engine(at_batch=2, how=how), batch_seconds=0.3) as pool, pytest.raises(
            DeviceError, match=rf"test://0 failed: .*{cause}.*; it held samples \[4, 5, 6, 7\]"):
        serve(pool, 12)


@pytest.mark.parametrize("how", ["raise", "hang"])
def test_with_continue_the_others_answer_everything_once(how: str) -> None:
    engines = [Engine(at_batch=2, how=how, seconds=0.01), Engine(seconds=0.01), Engine(at_open="raise")]
    with pool_of(*engines, on_loss="continue", batch_seconds=1) as pool:
        assert serve(pool, 40) == once(40)
        assert set(pool.policy.lost) == {"test://0", "test://2"}


def test_a_hung_device_is_parked_and_never_dropped() -> None:
    engines = [Engine(at_batch=2, how="hang", seconds=0.01), Engine(seconds=0.01)]
    with pool_of(*engines, on_loss="continue", batch_seconds=1, reopen=3) as pool:
        assert serve(pool, 40) == once(40)
        assert engines[0].parked and not engines[1].parked and pool.policy.lost.keys() == {"test://0"}


def test_a_device_that_raised_is_closed_and_opened_again_and_draws_on() -> None:
    engine = Engine(at_batch=2)
    with pool_of(engine, on_loss="continue", reopen=1) as pool:
        assert serve(pool, 40) == once(40)
        assert (len(pool.policy.rebuilt), pool.policy.lost, engine.closed) == (1, {}, 2)


def test_a_device_that_cannot_be_opened_again_is_lost() -> None:
    engines = [Engine(at_open="raise"), Engine()]
    with pool_of(*engines, on_loss="continue", reopen=2) as pool:
        assert serve(pool, 40) == once(40)
        assert len(pool.policy.rebuilt) == 2 and pool.policy.lost.keys() == {"test://0"}


def test_when_no_device_is_left_the_run_fails_even_with_continue() -> None:
    with pool_of(Engine(at_open="raise"), Engine(at_batch=1), on_loss="continue") as pool, pytest.raises(
            DeviceError, match="no device is left of 2"):
        serve(pool, 8)


def test_a_load_generator_that_raises_ends_the_run_with_its_cause() -> None:
    with pool_of(Engine()) as pool:
        pool.open()
        pool.post(Ended(cause="LoadGen failed: bad settings"))
        with pytest.raises(RunError, match="LoadGen failed: bad settings"):
            pool.serve(lambda _: None)


def test_a_load_generator_that_ends_early_is_an_error() -> None:
    with pool_of(Engine(seconds=0.5)) as pool:
        pool.open()
        pool.post(Issue(samples=(Sample(1, 1), Sample(2, 2))))
        pool.post(Ended(cause=None))
        with pytest.raises(RunError, match="ended while 2 samples were not answered"):
            pool.serve(lambda _: None)


def test_a_load_generator_that_says_nothing_ends_the_run() -> None:
    with pool_of(Engine(), quiet_seconds=0.2) as pool:
        pool.open()
        with pytest.raises(RunError, match=r"gave no query and did not end for 0\.2 s"):
            pool.serve(lambda _: None)


def test_progress_is_called_while_nothing_happens() -> None:
    ticks: list[float] = []
    with pool_of(Engine(), quiet_seconds=1.2) as pool:
        pool.open()
        with pytest.raises(RunError):
            pool.serve(lambda _: None, lambda: ticks.append(time.monotonic()))
    assert len(ticks) >= 1


def test_close_names_a_device_that_is_still_busy() -> None:
    engine = Engine(at_batch=1, how="hang")
    with pool_of(engine, batch_seconds=0.2) as pool:
        with pytest.raises(DeviceError):
            serve(pool, 4)
        assert pool.close() == ["test://0"]

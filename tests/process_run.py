"""A pool of process devices under test: opened, served, closed in time, no child left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from runtime.batch import Ended, Event, Issue, Sample
from runtime.batching import Throughput
from runtime.device import EngineMaker
from runtime.device_group import Group
from runtime.policy import FifoPolicy, Respond
from runtime.pool import DevicePool
from runtime.process_device import ProcessDevice, process_devices
from tests.faulty_engine import SHAPE, SIZES

BOUND_S = 60  # on hanging, not a measurement


class Run:
    """A pool of process devices and what a test looks at."""

    def __init__(self, makers: tuple[EngineMaker, ...], on_loss: Literal["fail", "continue"], group_size: int, reopen: int,
                 open_seconds: float = 30, batch_seconds: float = 30) -> None:
        uris = [f"test://{i}" for i in range(len(makers))]
        policy = FifoPolicy(uris, batching=Throughput(SIZES), open_seconds=open_seconds, on_loss=on_loss,
                            now_ns=time.monotonic_ns())
        policy.batch_seconds = batch_seconds
        self.devices: dict[str, ProcessDevice] = {}

        def make(post: Callable[[Event], None]) -> dict[str, ProcessDevice]:
            self.devices = process_devices(dict(zip(uris, makers, strict=True)), post, group_size=group_size,
                                           image_shape=SHAPE, max_batch=max(SIZES), reopen=reopen)
            return self.devices

        self.pool = DevicePool(make, policy, quiet_seconds=20)
        self.policy = policy

    def serve(self, count: int, after: Callable[[Respond], None] = lambda _: None) -> Counter[int]:
        """Issue `count` samples and end when all are answered; how often each was answered."""
        answered: Counter[int] = Counter()

        def respond(answer: Respond) -> None:
            for sample, image in zip(answer.batch.samples, answer.completion.answers, strict=True):
                assert (image == sample.index % 256).all(), f"sample {sample.index} was answered with image {image[0, 0, 0]}"
                answered[sample.id] += 1
            after(answer)
            if answered.total() == count:
                self.pool.post(Ended(cause=None))

        self.pool.post(Issue(samples=tuple(Sample(1000 + i, i) for i in range(count))))
        self.pool.serve(respond)
        return answered

    @property
    def groups(self) -> list[Group]:
        return list(dict.fromkeys(device.group for device in self.devices.values()))

    @property
    def children(self) -> list[int]:
        """Process ids of the children that live."""
        return [group.process_id for group in self.groups if group.process_id is not None]


@contextmanager
def opened(*makers: EngineMaker, on_loss: Literal["fail", "continue"] = "fail", group_size: int = 1, reopen: int = 0,
           open_seconds: float = 30, batch_seconds: float = 30, busy: tuple[str, ...] = ()) -> Iterator[Run]:
    """An open pool; whatever happens in it, it closes in time and leaves no child. `busy`: the devices that do not end."""
    run, started, children = Run(makers, on_loss, group_size, reopen, open_seconds, batch_seconds), time.monotonic(), []
    try:
        run.pool.open()
        children += run.children
        yield run
    finally:
        children += run.children
        assert tuple(run.pool.close()) == busy and time.monotonic() - started < BOUND_S
        left = [child for child in children if not gone(child)]
        assert not left, f"of the children {children}, {left} are left"


def gone(process: int) -> bool:
    """Whether a process has ended; one that waits to be reaped by whoever inherited it has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def once(count: int) -> Counter[int]:
    return Counter(range(1000, 1000 + count))

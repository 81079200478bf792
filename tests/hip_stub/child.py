"""The process in which cases run: the stub and the build that it was given, engines and thread devices over them."""

from __future__ import annotations

import queue
import re
from collections.abc import Callable
from pathlib import Path

from compile import manifest as manifests
from runtime.batch import Batch, Completion, Event, Ready, Sample
from runtime.device import ThreadDevice
from runtime.iree_device import IreeEngine, check_build
from tests import tiny_build
from tests.hip_stub.library import Control, Tag, read_tag

COUNT = 40
STEPS = tiny_build.STEPS
CASES: dict[str, Callable[[], None]] = {}
stub: Control = None  # type: ignore[assignment]  # set by cases.main, like `folder`: the tiny build
folder: Path = Path()


def case(function: Callable[[], None]) -> Callable[[], None]:
    CASES[function.__name__] = function
    return function


def engine(index: int, sizes: tuple[int, ...] = (2, 4)) -> IreeEngine:
    return IreeEngine(f"hip://{index}", check_build(folder, manifests.read(folder), sizes), tiny_build.samples(COUNT), 1)


def opened(index: int) -> IreeEngine:
    one = engine(index)
    one.open()
    one.warm_up(4)
    return one


def batch(*indices: int, size: int = 4, ticket: int = 0) -> Batch:
    return Batch(ticket=ticket, samples=tuple(Sample(100 + i, i) for i in indices), size=size)


def draw(one: IreeEngine, *indices: int, size: int = 4) -> None:
    """Draw, and see by the tags that this device drew these samples in one batch with every step in its place."""
    device = int(one.uri.rsplit("/", 1)[1])
    for image, index in zip(one.run(batch(*indices, size=size)), indices, strict=True):
        assert read_tag(image) == Tag(device=device, sample=index, steps=STEPS, first=indices[0], rows=2), (one.uri, indices, read_tag(image))


def fails(action: Callable[[], object], kind: type[Exception], pattern: str) -> None:
    try:
        action()
    except kind as error:
        assert re.search(pattern, str(error)) and "\n" not in str(error), f"{error} is not about {pattern}"
    else:
        raise AssertionError(f"no {kind.__name__} about {pattern}")


class Driven:
    """A thread device over the stub, and what it says."""

    def __init__(self, index: int, *, reopen: int = 0) -> None:
        self.engine = engine(index)
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.device = ThreadDevice(self.engine.uri, self.engine, self.events.put, reopen=reopen)
        self.device.start()
        self.heard(Ready)

    def heard(self, kind: type, timeout: float = 10) -> Event:
        event = self.events.get(timeout=timeout)
        assert isinstance(event, kind), event
        return event

    def draws(self, *indices: int) -> None:
        self.device.submit(batch(*indices))
        done = self.heard(Completion)
        assert isinstance(done, Completion) and [read_tag(image).sample for image in done.answers] == list(indices)

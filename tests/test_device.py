"""The contract of a device, held by the null device and by the IREE device: submit gives a ticket, events follow."""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from compile import manifest as manifests
from ireeperf.errors import ConfigError
from runtime import iree_device
from runtime.batch import Batch, Completion, Event, Failure, Ready, Sample
from runtime.device import Engine, ThreadDevice
from runtime.iree_device import IreeEngine
from runtime.null_device import NullEngine, tags
from runtime.service_times import ServiceTimes
from tests import tiny_build

TIMES = ServiceTimes(device="null", evidence="assumed", source="test", seconds={"2": 0.0, "4": 0.0})
Expected = Callable[[int], np.ndarray]


def null() -> tuple[str, Engine, Expected]:
    shape = tiny_build.model().image_shape
    return "null://0", NullEngine(shape, TIMES, (2, 4)), lambda index: tags([index], shape)[0]


def iree(driver: str) -> tuple[str, Engine, Expected]:
    folder = tiny_build.shared()
    build = iree_device.check_build(folder, manifests.read(folder), (2, 4))
    uri = f"{driver}://0"
    shape = build.model.image_shape
    return uri, IreeEngine(uri, build, tiny_build.samples(40), 2), lambda index: np.full(
        shape, tiny_build.expected([index])[0], np.uint8)


KINDS = {"null": null, "local-task": lambda: iree("local-task"), "local-sync": lambda: iree("local-sync")}


class Opened:
    """A ready device and its events."""

    def __init__(self, kind: str) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        uri, engine, self.expected = KINDS[kind]()
        self.device = ThreadDevice(uri, engine, self.events.put)
        self.device.start()
        first = self.events.get(timeout=60)
        assert isinstance(first, Ready), first
        self.ready = first


@pytest.fixture(scope="module", params=list(KINDS))
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    opened = Opened(request.param)
    yield opened
    assert opened.device.stop(10)


def batch(ticket: int, *indices: int, size: int) -> Batch:
    return Batch(ticket=ticket, samples=tuple(Sample(1000 + i, i) for i in indices), size=size)


def test_it_becomes_ready_after_a_warm_up(opened: Opened) -> None:
    assert opened.ready.device == opened.device.uri
    assert opened.ready.open_seconds >= 0 and list(opened.ready.service_seconds) == [2, 4]


def test_a_full_batch_comes_back_with_its_own_images(opened: Opened) -> None:
    assert opened.device.submit(batch(7, 5, 39, 0, 12, size=4)) == 7
    event = opened.events.get(timeout=60)
    assert isinstance(event, Completion) and event.ticket == 7 and event.device == opened.device.uri
    assert event.started_ns <= event.completed_ns
    for image, index in zip(event.answers, (5, 39, 0, 12), strict=True):
        np.testing.assert_array_equal(image, opened.expected(index))


def test_padding_is_drawn_and_discarded(opened: Opened) -> None:
    opened.device.submit(batch(8, 3, 4, 5, size=4))
    event = opened.events.get(timeout=60)
    assert isinstance(event, Completion) and len(event.answers) == 3
    np.testing.assert_array_equal(event.answers[2], opened.expected(5))


def test_a_smaller_compiled_size_is_used_for_a_tail(opened: Opened) -> None:
    opened.device.submit(batch(9, 21, 22, size=2))
    event = opened.events.get(timeout=60)
    assert isinstance(event, Completion)
    for image, index in zip(event.answers, (21, 22), strict=True):
        np.testing.assert_array_equal(image, opened.expected(index))


def test_batches_come_back_in_order_and_images_outlive_later_batches(opened: Opened) -> None:
    rows = [[i, i + 1, i + 2, i + 3] for i in range(0, 32, 4)]
    for ticket, row in enumerate(rows):
        opened.device.submit(batch(100 + ticket, *row, size=4))
    events = [opened.events.get(timeout=60) for _ in rows]
    assert [event.ticket for event in events if isinstance(event, Completion)] == [100 + i for i in range(len(rows))]
    for event, row in zip(events, rows, strict=True):
        assert isinstance(event, Completion)
        for image, index in zip(event.answers, row, strict=True):
            np.testing.assert_array_equal(image, opened.expected(index))


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_batch_that_cannot_be_drawn_is_a_failure_with_its_ticket(kind: str) -> None:
    opened = Opened(kind)
    opened.device.submit(batch(3, 1, size=8))  # no such size
    event = opened.events.get(timeout=60)
    assert isinstance(event, Failure) and event.ticket == 3 and event.device == opened.device.uri and "8" in event.cause
    assert opened.device.stop(10)  # it takes no more work


class Odd:
    """An engine that gives back something else than images."""

    image_shape = (16, 16, 3)
    sizes = (2,)

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = images

    def open(self) -> None:
        """Nothing to acquire."""

    def warm_up(self, size: int) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing is held."""

    def park(self) -> None:
        """Nothing can hang."""

    def run(self, _batch: Batch) -> list[np.ndarray]:
        return self.images

    def executable_cpu_seconds(self) -> float:
        return 0.0


@pytest.mark.parametrize(("images", "cause"), [
    ([np.zeros((16, 16, 3), np.uint8)], "gave 1 images for 2 samples"),
    ([np.zeros((16, 16, 3), np.int8)] * 2, r"shape \(16, 16, 3\) int8"),
    ([np.zeros((3, 16, 16), np.uint8)] * 2, r"shape \(3, 16, 16\) uint8"),
    ([np.zeros((16, 16, 6), np.uint8)[:, :, ::2]] * 2, "gave an image"),  # not contiguous: its address would give other bytes
])
def test_what_is_not_an_image_of_the_build_never_reaches_loadgen(images: list[np.ndarray], cause: str) -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    device = ThreadDevice("odd://0", Odd(images), events.put)
    device.start()
    assert isinstance(events.get(timeout=10), Ready)
    device.submit(batch(1, 0, 1, size=2))
    event = events.get(timeout=10)
    assert isinstance(event, Failure) and event.ticket == 1 and re.search(cause, event.cause)
    assert device.stop(10)


def test_the_null_device_keeps_its_service_time() -> None:
    times = ServiceTimes(device="null", evidence="assumed", source="test", seconds={"2": 0.2})
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    device = ThreadDevice("null://0", NullEngine((16, 16, 3), times, (2,)), events.put)
    device.start()
    events.get(timeout=10)
    device.submit(batch(0, 1, 2, size=2))
    event = events.get(timeout=10)
    assert isinstance(event, Completion) and event.completed_ns - event.started_ns >= 0.2e9
    device.stop(10)


def test_the_null_device_answers_with_the_picture_of_the_index(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    engine = NullEngine((16, 16, 3), TIMES, (2,), pictures=tmp_path / "pictures.npy")
    engine.open()
    first, second = engine.run(batch(0, 4, 2, size=2))
    np.testing.assert_array_equal([first, second], pictures[[1, 2]])
    assert first.flags.owndata or first.base is not pictures


@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 16, 8, 3), (0, 16, 16, 3)])
def test_pictures_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "pictures.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ConfigError, match="pictures of this build are uint8"):
        NullEngine((16, 16, 3), TIMES, (2,), pictures=tmp_path / "pictures.npy").open()

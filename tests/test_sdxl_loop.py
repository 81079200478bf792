"""runtime.sdxl_loop on executables with known arithmetic: routing, order of the calls, nothing cached."""

from __future__ import annotations

import dataclasses
import gc
import mmap

import numpy as np
import pytest

from compile import manifest as manifests
from runtime import sdxl_loop
from runtime.iree_device import IreeEngine, check_build
from runtime.sdxl_loop import SdxlLoop
from tests import tiny_build


@pytest.fixture(scope="module", params=["blocking", "fences"])
def loops(request: pytest.FixtureRequest) -> dict[int, SdxlLoop]:
    """Executables that block, as CPU builds do, and such that take fences, as GPU builds do."""
    folder = tiny_build.shared(fences=request.param == "fences")
    engine = IreeEngine("local-sync://0", check_build(folder, manifests.read(folder), (2, 4)), tiny_build.samples(40), 1)
    engine.open()
    return engine._loops


def values(images: list[np.ndarray]) -> list[int]:
    assert all((image == image[0, 0, 0]).all() for image in images)
    return [int(image[0, 0, 0]) for image in images]


def test_each_slot_gets_its_own_prompt(loops: dict[int, SdxlLoop]) -> None:
    rows = [39, 0, 17, 17]
    assert values(loops[4].draw(tiny_build.samples(40), rows)) == tiny_build.expected(rows)


def test_the_vae_may_have_a_smaller_batch_size(loops: dict[int, SdxlLoop]) -> None:
    """Batch size 4 decodes in two parts of 2, cut on the device; batch size 2 in one."""
    assert loops[4]._slots == 2 and loops[2]._slots == 2
    assert values(loops[2].draw(tiny_build.samples(40), [8, 9])) == tiny_build.expected([8, 9])


@pytest.mark.parametrize("name", ["prompt_ids_1", "prompt_ids_2", "negative_ids_1", "latents"])
def test_nothing_is_kept_from_an_earlier_batch(loops: dict[int, SdxlLoop], name: str) -> None:
    """The rules forbid it, for the negative prompt too: change one input of the same rows, and the images change."""
    samples = tiny_build.samples(40)
    before = values(loops[2].draw(samples, [1, 2]))
    other = dataclasses.replace(samples, **{name: getattr(samples, name) + 1})
    after = values(loops[2].draw(other, [1, 2]))
    assert all(a != b for a, b in zip(after, before, strict=True))
    assert values(loops[2].draw(samples, [1, 2])) == before


def test_images_stay_what_they_were_when_later_batches_are_drawn(loops: dict[int, SdxlLoop]) -> None:
    """An image is the device's own memory: it must not be given to a later batch while LoadGen may read it."""
    samples = tiny_build.samples(40)
    drawn = [(rows, loops[4].draw(samples, rows)) for rows in ([i, i + 1, i + 2, i + 3] for i in range(0, 36, 4))]
    for rows, images in drawn:
        assert values(images) == tiny_build.expected(rows)


def test_images_are_fit_to_be_passed_by_address(loops: dict[int, SdxlLoop]) -> None:
    for image in loops[4].draw(tiny_build.samples(40), [0, 1, 2, 3]):
        assert image.shape == (16, 16, 3) and image.dtype == np.uint8 and image.flags.c_contiguous


def test_an_answer_is_copied_where_the_host_does_not_see_the_device_s_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: into pages of the answer's own, which stay when the device is gone."""
    monkeypatch.setattr(sdxl_loop, "is_mappable", lambda _view: False)
    folder = tiny_build.shared(fences=True)
    engine = IreeEngine("local-task://0", check_build(folder, manifests.read(folder), (2, 4)), tiny_build.samples(40), 1)
    engine.open()
    drawn = [engine._loops[4].draw(tiny_build.samples(40), [i, 2, 3, 4]) for i in range(8)]
    engine.close()
    assert all(values(images) == tiny_build.expected([i, 2, 3, 4]) for i, images in enumerate(drawn))
    assert len({images[0].ctypes.data // mmap.PAGESIZE for images in drawn}) == 8


@pytest.mark.parametrize("driver", ["local-sync", "local-task"])
def test_images_outlive_their_device(driver: str) -> None:
    """LoadGen may still read them when a device is closed to be built anew."""
    folder = tiny_build.shared()
    engine = IreeEngine(f"{driver}://0", check_build(folder, manifests.read(folder), (2, 4)), tiny_build.samples(40), 1)
    for rows in ([1, 2, 3, 4], [5, 6, 7, 8]):
        engine.open()
        images = engine._loops[4].draw(tiny_build.samples(40), rows)
        engine.close()
        gc.collect()
        assert values(images) == tiny_build.expected(rows)

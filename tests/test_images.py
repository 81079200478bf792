"""runtime.images: the pixels of the plain conversion, bit for bit."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ireeperf.errors import DeviceError
from runtime.images import TILE, PostPool, Scale, Tile, to_uint8

SCALES: tuple[Scale, ...] = ("unit", "signed")
HALVES = np.arange(65536, dtype=np.uint16).view(np.float16)
ALL = HALVES[~np.isnan(HALVES)]  # every FP16 number there is, infinities and subnormals too


def plain(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Scale in FP32, round half to even, clip."""
    wide = values.astype(np.float32)
    wide = wide * np.float32(255) if scale == "unit" else wide * np.float32(127.5) + np.float32(127.5)
    return np.clip(np.rint(wide), 0, 255).astype(np.uint8)


def pixels_of(values: np.ndarray, scale: Scale) -> np.ndarray:
    pixels = np.empty(len(values), np.uint8)
    Tile().convert(values, scale, pixels)
    return pixels


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("scale", SCALES)
def test_every_half_becomes_the_pixel_of_the_plain_conversion(scale: Scale, dtype: type) -> None:
    values = ALL.astype(dtype)
    assert np.array_equal(pixels_of(values, scale), plain(values, scale))


@pytest.mark.parametrize("scale", SCALES)
def test_floats_around_each_boundary_between_two_pixels(scale: Scale) -> None:
    """The two FP32 neighbours of each value at which a pixel changes, and that value."""
    halves = np.arange(-1, 257, dtype=np.float64) + 0.5
    centre = (halves / 255 if scale == "unit" else halves / 127.5 - 1).astype(np.float32)
    values = np.concatenate([np.nextafter(centre, np.float32(-9)), centre, np.nextafter(centre, np.float32(9))])
    assert np.array_equal(pixels_of(values, scale), plain(values, scale))


def test_pixels_are_rounded_not_truncated() -> None:
    values = np.array([0.0, 0.9 / 255, 1.4 / 255, 0.5, 254.6 / 255, 1.0], np.float32)
    assert pixels_of(values, "unit").tolist() == [0, 1, 1, 128, 255, 255]  # 127.5 rounds half to even
    assert pixels_of(np.array([-1.0, 0.0, 1.0], np.float16), "signed").tolist() == [0, 128, 255]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("height", "width"), [(8, 16), (264, 512), (TILE // 512 + 1, 512)])
def test_an_image_is_channels_last_whatever_its_size(height: int, width: int, dtype: type, scale: Scale) -> None:
    image = np.random.default_rng(1).normal(0.2, 0.7, (3, height, width)).astype(dtype)
    pixels = to_uint8(image, scale, Tile())
    assert pixels.shape == (height, width, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert np.array_equal(pixels, plain(image, scale).transpose(1, 2, 0))


def test_an_image_that_is_not_contiguous_is_converted_all_the_same() -> None:
    wide = np.random.default_rng(2).random((3, 16, 32), np.float32).astype(np.float16)
    assert np.array_equal(to_uint8(wide[:, :, ::2], "unit", Tile()), plain(wide[:, :, ::2], "unit").transpose(1, 2, 0))


def test_the_input_is_not_changed() -> None:
    image = np.random.default_rng(3).normal(size=(3, 16, 16)).astype(np.float32)
    before = image.copy()
    to_uint8(image, "signed", Tile())
    assert np.array_equal(image, before)


def test_the_post_pool_converts_for_many_threads_at_once_and_keeps_the_order() -> None:
    pool = PostPool(2)
    batches = [np.random.default_rng(seed).random((5, 3, 24, 32), np.float32).astype(np.float16) for seed in range(6)]
    found: dict[int, list[np.ndarray]] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: list(pool.convert(batches[n], "unit"))})) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    for number, batch in enumerate(batches):
        assert len(found[number]) == 5
        for pixels, image in zip(found[number], batch, strict=True):
            assert np.array_equal(pixels, plain(image, "unit").transpose(1, 2, 0))


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 3), np.float16), np.zeros((3, 8, 8), np.float16), np.zeros((1, 3, 8, 8), np.uint8)])
def test_what_is_no_float_image_is_named(images: np.ndarray) -> None:
    pool = PostPool(1)
    with pytest.raises(DeviceError, match="float16 or float32"):
        pool.convert(images, "unit")
    pool.close()

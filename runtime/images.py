"""Device output to images: FP16 or FP32 [N, 3, H, W] to uint8 [H, W, 3], in tiles that stay in a core's cache.

For devices whose VAE answers in floats, as AMD's does; the executables that `export` writes answer in uint8 and need none of it.

Two things make it 6 times cheaper than astype, multiply, round, clip, astype, transpose on a whole image (docs/HOST_COST.md):
nothing leaves the cache between the steps, and numpy's casts, which are slow for FP16 and for bytes with a stride, are not used.
A finite FP16 number is its bits, shifted to where FP32 has exponent and mantissa, times 2^112 (the difference of the exponents'
biases); subnormals too. A float in [0, 255] plus 1.5 x 2^23 has its integer, rounded half to even as np.rint does, in its lowest byte.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal

import numpy as np

from ireeperf.errors import DeviceError

Scale = Literal["unit", "signed"]  # values in [0, 1], or in [-1, 1]

TILE: Final = 65536  # pixels of one channel: 256 KiB of FP32, a quarter of the L2 cache of a server's core
REBIAS: Final = 2.0**112
INTEGER: Final = np.float32(1.5 * 2**23)
ONE: Final = 0x3C00  # 1.0 as FP16
SIGN_AND_LOW_EXPONENT: Final = np.int32(-0x70000001)  # 0x8FFFFFFF: what FP16's bits fill, of a shifted sign-extended number
POST_THREADS: Final = 2


class Tile:
    """Scratch memory of one thread, used again for every tile."""

    def __init__(self) -> None:
        self._half = np.empty(TILE, np.int16)
        self._words = np.empty(TILE, np.int32)

    def convert(self, values: np.ndarray, scale: Scale, pixels: np.ndarray) -> None:
        """`values` [n <= TILE] float16 or float32 into `pixels` [n] uint8, which may have a stride."""
        count = len(values)
        words = self._words[:count]
        floats = words.view(np.float32)
        if values.dtype == np.float32:
            np.clip(values, 0.0 if scale == "unit" else -1.0, 1.0, out=floats)
            np.multiply(floats, np.float32(255.0 if scale == "unit" else 127.5), out=floats)
        else:
            self._half_times_255(values.view(np.int16), scale, words)
        if scale == "signed":
            np.add(floats, np.float32(127.5), out=floats)
        np.add(floats, INTEGER, out=floats)
        np.copyto(pixels, floats.view(np.uint8)[::4])  # little endian, as all that IREE's HIP driver runs on

    def _half_times_255(self, bits: np.ndarray, scale: Scale, words: np.ndarray) -> None:
        """FP16 `bits`, clipped to `scale`, as FP32 x 255 or x 127.5 in `words`: exact, 11 bits times 8."""
        floats = words.view(np.float32)
        if scale == "unit":  # negative numbers are negative integers, and the order of positive ones is the integers'
            half = self._half[:len(bits)]
            np.clip(bits, 0, ONE, out=half)
            np.copyto(words, half)
            np.left_shift(words, 13, out=words)
            np.multiply(floats, np.float32(255.0 * REBIAS), out=floats)
        else:
            np.copyto(words, bits)
            np.left_shift(words, 13, out=words)
            np.bitwise_and(words, SIGN_AND_LOW_EXPONENT, out=words)
            np.multiply(floats, np.float32(127.5 * REBIAS), out=floats)
            np.clip(floats, np.float32(-127.5), np.float32(127.5), out=floats)


def to_uint8(image: np.ndarray, scale: Scale, tile: Tile) -> np.ndarray:
    """`image` [3, H, W] float16 or float32 as a new [H, W, 3] uint8: clipped, scaled to 0..255, rounded half to even.

    NaN has no pixel value: it becomes 0 or 255.
    """
    _, height, width = image.shape
    pixels = np.empty((height, width, 3), np.uint8)
    planes = np.ascontiguousarray(image).reshape(3, height * width)
    columns = pixels.reshape(height * width, 3)
    for first in range(0, height * width, TILE):
        part = slice(first, first + TILE)
        for channel in range(3):  # innermost: three channels share the cache lines of their pixels
            tile.convert(planes[channel, part], scale, columns[part, channel])
    return pixels


class PostPool:
    """A few threads that convert for all devices of a process: more threads in numpy than cores are slower."""

    def __init__(self, threads: int = POST_THREADS) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="post")
        self._own = threading.local()

    def convert(self, images: np.ndarray, scale: Scale) -> Sequence[np.ndarray]:
        """`images` [N, 3, H, W] as N new [H, W, 3] uint8; waits for them. DeviceError for another shape or type."""
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype not in (np.float16, np.float32):
            raise DeviceError(f"gave images of shape {images.shape} {images.dtype}; float16 or float32 [N, 3, H, W] can be converted")
        return list(self._executor.map(lambda image: to_uint8(image, scale, self._tile()), images))

    def close(self) -> None:
        """Let the threads end."""
        self._executor.shutdown()

    def _tile(self) -> Tile:
        if not hasattr(self._own, "tile"):
            self._own.tile = Tile()
        return self._own.tile

"""Engines that take no time and cost what a device costs its host: each image copied into memory of its own, or handed over as FP16."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal

import numpy as np

from runtime.batch import Batch
from runtime.images import PostPool, Tile, to_uint8

Output = Literal["fp16", "uint8"]

_post: PostPool | None = None  # one for all devices of a process
_post_lock = threading.Lock()


def half_images(count: int, side: int) -> np.ndarray:
    """`count` images [count, 3, side, side] float16 in [0, 1], the same ones each time: what both paths are given."""
    return np.random.default_rng(0).random((count, 3, side, side), np.float32).astype(np.float16)


def post_pool() -> PostPool:
    """The process's post pool, made on first use."""
    global _post
    with _post_lock:
        _post = _post or PostPool()
    return _post


class StoredEngine:
    """Answers at once with stored images: "uint8" as a copy in a fresh buffer for each image, "fp16" through the post pool."""

    def __init__(self, output: Output, size: int, side: int) -> None:
        self.image_shape = (side, side, 3)
        self.sizes: tuple[int, ...] = (size,)
        self._output = output
        self._half = np.empty((0, 3, side, side), np.float16)
        self._pixels = np.empty((0, side, side, 3), np.uint8)

    def open(self) -> None:
        """Make the stored images."""
        self._half = half_images(self.sizes[-1], self.image_shape[0])
        if self._output == "uint8":
            tile = Tile()
            self._pixels = np.stack([to_uint8(image, "unit", tile) for image in self._half[:2]])

    def warm_up(self, size: int) -> None:
        """As a batch, discarded."""
        self._images(size)

    def run(self, batch: Batch) -> Sequence[np.ndarray]:
        """An image for each sample."""
        return self._images(len(batch.samples))

    def close(self) -> None:
        """Let the images go."""
        self._half, self._pixels = self._half[:0], self._pixels[:0]

    def park(self) -> None:
        """Nothing can hang."""

    def executable_cpu_seconds(self) -> float:
        """Zero: there is no executable."""
        return 0.0

    def _images(self, count: int) -> Sequence[np.ndarray]:
        if self._output == "fp16":
            return post_pool().convert(self._half[:count], "unit")
        return [self._pixels[slot % 2].copy() for slot in range(count)]

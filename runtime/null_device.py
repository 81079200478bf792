"""The null device: takes a known time and answers with a tag instead of an image. Never scored."""

from __future__ import annotations

import math
import random
import time

import numpy as np

from runtime.batch import Batch
from runtime.service_times import ServiceTimes

SCHEME = "null"


class NullEngine:
    """Sleeps for the service time of the batch size; an image is its sample index as little-endian u32, repeated."""

    def __init__(self, image_shape: tuple[int, int, int], service_times: ServiceTimes, sizes: tuple[int, ...], seed: int = 0) -> None:
        self.image_shape = image_shape
        self.sizes = sizes
        self._times = service_times
        self._seed = seed  # of the jitter: one per device
        self._random = random.Random(seed)

    def open(self) -> None:
        """ConfigError when the table lacks a batch size of the run."""
        for size in self.sizes:
            self._times.of(size)
        self._random = random.Random(self._seed)

    def warm_up(self, size: int) -> None:
        """One service time, without jitter."""
        time.sleep(self._times.of(size))

    def run(self, batch: Batch) -> list[np.ndarray]:
        """Tagged images."""
        deadline = time.monotonic() + self._times.draw(batch.size, self._random)
        images = tags([sample.index for sample in batch.samples], self.image_shape)
        time.sleep(max(0.0, deadline - time.monotonic()))
        return list(images)

    def close(self) -> None:
        """Nothing is held."""

    def park(self) -> None:
        """Nothing can hang."""

    def executable_cpu_seconds(self) -> float:
        """Zero: there is no executable."""
        return 0.0


def tags(indices: list[int], image_shape: tuple[int, int, int]) -> np.ndarray:
    """The null device's answers for samples `indices`: [len(indices), H, W, 3] uint8."""
    words = np.empty((len(indices), math.prod(image_shape) // 4), "<u4")  # H and W are multiples of 8
    words[:] = np.array(indices, "<u4")[:, None]
    return words.view(np.uint8).reshape(len(indices), *image_shape)

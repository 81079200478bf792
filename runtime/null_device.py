"""The null device: takes a known time and answers with a tag instead of an image. Never scored."""

from __future__ import annotations

import math
import time

import numpy as np

from runtime.batch import Batch
from runtime.service_times import ServiceTimes

SCHEME = "null"


class NullEngine:
    """Sleeps for the service time of the batch size; an image is its sample index as little-endian u32, repeated."""

    def __init__(self, image_shape: tuple[int, int, int], service_times: ServiceTimes, batch_size: int) -> None:
        self.image_shape = image_shape
        self._times = service_times
        self._batch_size = batch_size

    def open(self) -> None:
        """ConfigError when the table lacks the run's batch size."""
        self._times.of(self._batch_size)

    def warm_up(self) -> None:
        """One service time."""
        time.sleep(self._times.of(self._batch_size))

    def run(self, batch: Batch) -> list[np.ndarray]:
        """Tagged images."""
        deadline = time.monotonic() + self._times.of(batch.size)
        images = tags([sample.index for sample in batch.samples], self.image_shape)
        time.sleep(max(0.0, deadline - time.monotonic()))
        return list(images)

    def executable_cpu_seconds(self) -> float:
        """Zero: there is no executable."""
        return 0.0


def tags(indices: list[int], image_shape: tuple[int, int, int]) -> np.ndarray:
    """The null device's answers for samples `indices`: [len(indices), H, W, 3] uint8."""
    words = np.empty((len(indices), math.prod(image_shape) // 4), "<u4")  # H and W are multiples of 8
    words[:] = np.array(indices, "<u4")[:, None]
    return words.view(np.uint8).reshape(len(indices), *image_shape)

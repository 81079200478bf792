"""The null device: takes a known time and answers with a tag instead of an image, or with a stored picture.

Tags are never scored. Stored pictures may be, as a rehearsal of the accuracy chain: the score is of the pictures.
"""

from __future__ import annotations

import math
import random
import time
from pathlib import Path

import numpy as np

from ireeperf.errors import ConfigError
from runtime.batch import Batch, Call, shape_of
from runtime.service_times import ServiceTimes

SCHEME = "null"


class NullEngine:
    """Sleeps for the service time of the batch size; an image is its sample index as little-endian u32, repeated."""

    def __init__(self, image_shape: tuple[int, int, int], service_times: ServiceTimes, sizes: tuple[int, ...], seed: int = 0,
                 pictures: Path | None = None) -> None:
        self.image_shape = image_shape
        self.sizes = sizes
        self._times = service_times
        self._seed = seed  # of the jitter: one per device
        self._random = random.Random(seed)
        self._path = pictures  # .npy, [N, H, W, 3] uint8: sample i answers with picture i modulo N
        self._pictures: np.ndarray | None = None

    def open(self) -> None:
        """ConfigError when the table lacks a batch size of the run, or the pictures are not of its shape."""
        if self._path is not None:
            self._pictures = read_pictures(self._path, self.image_shape)
        for size in self.sizes:
            self._times.of(size)
        self._random = random.Random(self._seed)

    def warm_up(self, size: int) -> None:
        """One service time, without jitter. Memory is touched as `run` does: the first touch of a wave of 64 devices takes a second."""
        deadline = time.monotonic() + self._times.of(size)
        self._answers([0] * size)
        time.sleep(max(0.0, deadline - time.monotonic()))

    def run(self, batch: Batch) -> list[np.ndarray]:
        """Tags, or copies of the samples' pictures: a fresh buffer for each batch.

        It is filled in the middle of the service time. A real device does not use the host's cores for that; 64 null devices that
        did while batches are handed out would make each other wait.
        """
        seconds = self._times.draw(batch.size, self._random)
        deadline = time.monotonic() + seconds
        time.sleep(seconds / 2)
        images = list(self._answers([sample.index for sample in batch.samples]))
        time.sleep(max(0.0, deadline - time.monotonic()))
        return images

    def _answers(self, indices: list[int]) -> np.ndarray:
        if self._pictures is None:
            return tags(indices, self.image_shape)
        return self._pictures[np.array(indices) % len(self._pictures)]

    def close(self) -> None:
        """Let the pictures go."""
        self._pictures = None

    def park(self) -> None:
        """Nothing can hang."""

    def executable_cpu_seconds(self) -> float:
        """Zero: there is no executable."""
        return 0.0


class NullDecoder:
    """A pretend decoder: takes the table's time for a call's batch size, and answers with tokens that follow from the ones before by a fixed
    rule, so that a sequence that was computed twice, or out of order, is seen."""

    image_shape = None

    def __init__(self, entry_points: tuple[str, ...], times: ServiceTimes, seed: int = 0) -> None:
        self.sizes = entry_points
        self._times = times
        self._random = random.Random(seed)

    def open(self) -> None:
        """ConfigError when the table lacks a batch size of the build."""
        for name in self.sizes:
            self._times.of(shape_of(name)[0])

    def warm_up(self, size: str) -> None:
        """One call's time, without jitter."""
        time.sleep(self._times.of(shape_of(size)[0]))

    def run(self, work: Call) -> list[np.ndarray]:
        """The tokens that follow: [size] int64, ends as -1 - token."""
        deadline = time.monotonic() + self._times.draw(work.size, self._random)
        rows = np.arange(work.size)
        last, before = (work.tokens, work.positions) if work.tokens.ndim == 1 else (work.tokens[rows, work.positions - 1], work.positions - 1)
        tokens = pretend_token(last, before)
        time.sleep(max(0.0, deadline - time.monotonic()))
        return [tokens]

    def close(self) -> None:
        """Nothing to drop."""

    def park(self) -> None:
        """Nothing can hang."""

    def executable_cpu_seconds(self) -> float:
        """Zero: there is no executable."""
        return 0.0


def pretend_token(last: np.ndarray, position: np.ndarray) -> np.ndarray:
    """What a pretend decoder says after token `last` at `position` (from 0), [b] int64 each: 1 to 997; every 41st ends its sequence."""
    tokens = (np.abs(last) * 31 + position * 17 + 7) % 997 + 1
    return np.where(tokens % 41 == 0, -1 - tokens, tokens).astype(np.int64)


def tags(indices: list[int], image_shape: tuple[int, int, int]) -> np.ndarray:
    """The null device's answers for samples `indices`: [len(indices), H, W, 3] uint8."""
    words = np.empty((len(indices), math.prod(image_shape) // 4), "<u4")  # H and W are multiples of 8
    words[:] = np.array(indices, "<u4")[:, None]
    return words.view(np.uint8).reshape(len(indices), *image_shape)


def read_pictures(path: Path, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Map a .npy of pictures [N, H, W, 3] uint8; ConfigError when it is none, or of another shape."""
    try:
        pictures: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} holds no pictures ({error}); it is a .npy of uint8 [N, H, W, 3]") from error
    if pictures.dtype != np.uint8 or pictures.shape[1:] != image_shape or not len(pictures):
        raise ConfigError(f"{path} holds {pictures.dtype} {pictures.shape}; pictures of this build are uint8 [N, {image_shape}]")
    return pictures

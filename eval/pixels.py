"""The pixel test: how far images are from the FP32 reference's, for the same prompts and latent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

LIMIT = 0.5  # of 255, for each image of an FP32 build: mean |difference|
BIAS_LIMIT = 0.1  # of 255, over all images: truncation for rounding stays below LIMIT, but is always on one side


def differences(images: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean |difference| of each image pair of [n, H, W, 3] uint8 ([n] float64), and the mean signed one, in steps of 255."""
    signed = images.astype(np.int16) - reference.astype(np.int16)
    return np.abs(signed).mean(axis=(1, 2, 3)), float(signed.mean())


def same(images: np.ndarray, reference: np.ndarray) -> bool:
    """The pixel test."""
    distance, bias = differences(images, reference)
    return bool(distance.max() <= LIMIT and abs(bias) <= BIAS_LIMIT)


class Repeats:
    """Counts images that equal an earlier one drawn for another caption: a stuck buffer, whatever the scores say."""

    def __init__(self) -> None:
        self.count = 0
        self._first: dict[bytes, str] = {}

    def add(self, image: bytes, caption: str) -> None:
        """Note one answer; only its digest is kept."""
        self.count += self._first.setdefault(hashlib.sha256(image).digest(), caption) != caption


def repeated(images: np.ndarray, captions: Sequence[str]) -> int:
    """`Repeats.count` of [n, H, W, 3] uint8."""
    repeats = Repeats()
    for image, caption in zip(images, captions, strict=True):
        repeats.add(image.tobytes(), caption)
    return repeats.count

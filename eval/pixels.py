"""The pixel test: how far images are from the FP32 reference's, for the same prompts and latent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

LIMIT = 0.5  # of 255: FP32 builds must stay below it; half a step is what rounding alone can give


def mean_difference(images: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean |difference| of each image pair of [n, H, W, 3] uint8, in steps of 255; [n] float64."""
    return np.abs(images.astype(np.int16) - reference.astype(np.int16)).mean(axis=(1, 2, 3))


def repeated(images: Sequence[bytes] | np.ndarray, captions: Sequence[str]) -> int:
    """How many images equal an earlier one drawn for another caption: a stuck buffer, whatever the scores say."""
    first: dict[bytes, str] = {}
    count = 0
    for image, caption in zip(images, captions, strict=True):
        key = hashlib.sha256(np.ascontiguousarray(image) if isinstance(image, np.ndarray) else image).digest()
        count += first.setdefault(key, caption) != caption
    return count

"""CLIP score as MLCommons computes it: 100 x cosine of image and caption, not clamped at 0, mean over samples."""

from __future__ import annotations

import numpy as np


def clip_scores(image_features: np.ndarray, text_features: np.ndarray) -> np.ndarray:
    """100 x cosine of each row pair of [samples, features]; [samples] float64."""
    image, text = image_features.astype(np.float64), text_features.astype(np.float64)
    norms = np.linalg.norm(image, axis=1) * np.linalg.norm(text, axis=1)
    return 100.0 * np.einsum("ij,ij->i", image, text) / norms


def clip_score(image_features: np.ndarray, text_features: np.ndarray) -> float:
    """Mean of `clip_scores`; higher is better."""
    return float(clip_scores(image_features, text_features).mean())

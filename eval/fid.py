"""Frechet distance of two sets of activations, the formula of FID (Heusel et al. 2017, arXiv:1706.08500).

The arithmetic is that of mseitzer/pytorch-fid, which MLCommons copied; a test compares with its own function.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from ireeperf.errors import ScoreError

EPSILON = 1e-6  # added to both diagonals when the product has no finite root
IMAGINARY_LIMIT = 1e-3  # a larger imaginary part is no rounding error


def statistics(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [features] and covariance [features, features] (N - 1 in the denominator) of [samples, features], in float64."""
    if activations.ndim != 2 or len(activations) < 2:
        raise ScoreError(f"FID needs activations [samples >= 2, features], found shape {activations.shape}")
    wide = activations.astype(np.float64)
    return wide.mean(axis=0), np.atleast_2d(np.cov(wide, rowvar=False))


def frechet_distance(mean_1: np.ndarray, covariance_1: np.ndarray, mean_2: np.ndarray, covariance_2: np.ndarray) -> float:
    """|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)). ScoreError when the shapes differ or no real root exists."""
    if mean_1.shape != mean_2.shape or covariance_1.shape != covariance_2.shape:
        raise ScoreError(f"activations have {mean_1.shape[0]} features, the reference statistics {mean_2.shape[0]}; "
                         "they were made by another extractor")
    root = linalg.sqrtm(covariance_1 @ covariance_2)
    if not np.isfinite(root).all():
        offset = EPSILON * np.eye(len(covariance_1))
        root = linalg.sqrtm((covariance_1 + offset) @ (covariance_2 + offset))
    if np.iscomplexobj(root):
        if not np.allclose(np.diagonal(root).imag, 0, atol=IMAGINARY_LIMIT):
            raise ScoreError(f"the root of the covariance product has imaginary part {np.abs(root.imag).max():.3g}; "
                             "the activations or the reference statistics are corrupt")
        root = root.real
    difference = mean_1 - mean_2
    return float(difference @ difference + np.trace(covariance_1) + np.trace(covariance_2) - 2 * np.trace(root))


def fid(activations: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Frechet distance of `activations` [samples, features] to the reference Gaussian; lower is better."""
    return frechet_distance(*statistics(activations), mean, covariance)

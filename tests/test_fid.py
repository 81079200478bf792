"""eval.fid: python -m pytest tests/test_fid.py"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from eval import fid
from ireeperf import torchvision_schemas
from ireeperf.errors import ScoreError


def gaussians(features: int, samples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(features)
    mixing = random.standard_normal((features, features)) / features**0.5
    return random.standard_normal((samples, features)) @ mixing, 1.2 * random.standard_normal((samples, features)) @ mixing.T + 0.3


@pytest.mark.parametrize("features", [1, 24, 112])
def test_agrees_with_pytorch_fid(features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torchvision_schemas.declare(torch)
    from pytorch_fid import fid_score

    root = scipy.linalg.sqrtm  # SciPy 1.18 drops `disp`, which pytorch-fid 0.3.0 passes
    monkeypatch.setattr(fid_score.linalg, "sqrtm", lambda a, disp=True: root(a) if disp else (root(a), 0.0))
    ours, theirs = gaussians(features)
    reference = fid_score.calculate_frechet_distance(ours.mean(axis=0), np.cov(ours, rowvar=False), theirs.mean(axis=0),
                                                     np.cov(theirs, rowvar=False))
    assert fid.fid(ours, *fid.statistics(theirs)) == pytest.approx(float(reference), rel=1e-9)


def test_of_the_same_set_is_zero() -> None:
    ours, _ = gaussians(24)
    assert abs(fid.fid(ours, *fid.statistics(ours))) < 1e-6


def test_of_a_shift_is_its_square() -> None:
    ours, _ = gaussians(8)
    assert fid.fid(ours + 3.0, *fid.statistics(ours)) == pytest.approx(8 * 3.0**2, rel=1e-9)


def test_fewer_samples_than_features_is_finite() -> None:
    ours, theirs = gaussians(64, samples=20)
    assert 0 < fid.fid(ours, *fid.statistics(theirs)) < 1e4


def test_other_extractors_statistics_are_refused() -> None:
    ours, _ = gaussians(8)
    with pytest.raises(ScoreError, match="another extractor"):
        fid.fid(ours, np.zeros(9), np.eye(9))
    with pytest.raises(ScoreError, match="samples >= 2"):
        fid.fid(ours[:1], np.zeros(8), np.eye(8))

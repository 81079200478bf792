"""Accuracy gates: two-sided, NaN-proof, and MLPerf's own figures follow from MLPerf's own rule."""

from __future__ import annotations

import math

import pytest

from ireeperf import bounds
from ireeperf.bounds import Bound


def test_two_sided():
    bound = Bound.around("FID_SCORE", 20.0, 0.02)
    assert (bound.lower, bound.upper) == pytest.approx((19.6, 20.4))
    assert bound.accepts(bound.lower) and bound.accepts(20.0) and bound.accepts(bound.upper)
    assert not bound.accepts(math.nextafter(bound.lower, 0))
    assert not bound.accepts(math.nextafter(bound.upper, 99)), "a score that is too high fails"
    assert not bound.accepts(19.0), "a score that is too good fails as well"


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_not_a_number_never_passes(score):
    assert not Bound.around("FID_SCORE", 20.0, 0.02).accepts(score)


def test_mlperf_figures_follow_from_the_rule():
    """submission_checker.py prints lower and upper limits; they are the FP32 reference -+2 % and -+0.2 %."""
    for bound in bounds.SDXL_MLPERF.bounds:
        derived = Bound.around(bound.metric, bound.reference, bound.tolerance)
        assert (derived.lower, derived.upper) == pytest.approx((bound.lower, bound.upper), abs=2e-8)


def test_mlperf_figures_are_the_published_ones():
    fid, clip = bounds.SDXL_MLPERF.bounds
    assert (fid.lower, fid.upper) == (23.01085758, 23.95007626)
    assert (clip.lower, clip.upper) == (31.68631873, 31.81331801)
    assert bounds.SDXL_MLPERF.samples == 5000

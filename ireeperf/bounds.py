"""Accuracy gates as data. A bound always says how it was derived (MLPerf: FP32 reference ± a tolerance)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ireeperf import document


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A two-sided gate: `lower` <= score <= `upper`. A score that is too good fails as well, as in MLPerf."""

    metric: str
    lower: float
    upper: float
    reference: float  # the score of the FP32 PyTorch reference
    tolerance: float  # relative: 0.02 is +-2 %

    @classmethod
    def around(cls, metric: str, reference: float, tolerance: float) -> Bound:
        """MLPerf's derivation: reference x (1 -+ tolerance)."""
        return cls(metric=metric, lower=reference * (1 - tolerance), upper=reference * (1 + tolerance),
                   reference=reference, tolerance=tolerance)

    def accepts(self, score: float) -> bool:
        """Whether `score` lies in the gate; NaN never does."""
        return self.lower <= score <= self.upper


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The bounds of one model on one sample set, and where they come from."""

    schema_version: ClassVar[int] = 1
    model: str
    samples: int
    sample_set: str  # SampleSet.task_digest, or "coco-2014" for MLPerf
    bounds: tuple[Bound, ...]
    derivation: str


def read(path: Path) -> Gate:
    """Read a gate from .json or .toml; ConfigError when malformed."""
    return document.read(Gate, path)


# mlcommons/inference v5.1.1, tools/submission/submission_checker.py: FID 23.48046692 +-2 %, CLIP 31.74981837 +-0.2 %
SDXL_MLPERF = Gate(
    model="stable-diffusion-xl", samples=5000, sample_set="coco-2014",
    bounds=(
        Bound(metric="FID_SCORE", lower=23.01085758, upper=23.95007626, reference=23.48046692, tolerance=0.02),
        Bound(metric="CLIP_SCORE", lower=31.68631873, upper=31.81331801, reference=31.74981837, tolerance=0.002),
    ),
    derivation="MLPerf Inference v5.1 rules: FP32 reference +-2 % FID, +-0.2 % CLIP (mlcommons/inference#1785)",
)

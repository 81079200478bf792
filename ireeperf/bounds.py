"""Accuracy gates as data. A bound always says how it was derived (MLPerf: FP32 reference ± a tolerance)."""

from __future__ import annotations

from collections.abc import Mapping
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


def text_bounds(references: Mapping[str, float], share: float, tokens_upper: float | None = None) -> tuple[Bound, ...]:
    """MLPerf's gate of a language model: every score at least `share` of the reference's and at most the 100 that it can be; tokens per sample
    within 90 and 110 % (`tokens_upper`: of another reference than the floor's).
    """
    found = []
    for metric, value in references.items():
        if metric == TOKENS:
            found.append(Bound(metric=metric, lower=0.9 * value, upper=1.1 * (tokens_upper or value), reference=value, tolerance=0.1))
        else:
            found.append(Bound(metric=metric, lower=share * value, upper=PERCENT, reference=value, tolerance=1 - share))
    return tuple(found)


TOKENS = "TOKENS_PER_SAMPLE"
PERCENT = 100.0  # the most that ROUGE, exact match and accuracy can be
# mlcommons/inference v5.1.1, tools/submission/submission_checker.py. Mixtral's ceiling stands on 145.9 there, its floor on 144.84
TEXT_MLPERF: dict[str, tuple[dict[str, float], float | None]] = {
    "llama2-70b": ({"ROUGE1": 44.4312, "ROUGE2": 22.0352, "ROUGEL": 28.6162, TOKENS: 294.45}, None),
    "mixtral-8x7b": ({"ROUGE1": 45.5989, "ROUGE2": 23.3526, "ROUGEL": 30.4608, "gsm8k_accuracy": 73.66, "mbxp_accuracy": 60.16, TOKENS: 144.84}, 145.9),
    "llama3_1-405b": ({"ROUGEL": 21.6666, "exact_match": 90.1335, TOKENS: 684.68}, None),
}

"""Scores: what eval.score writes to score/scores.json and eval.report reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.run_result import SCORE
from ireeperf import document
from ireeperf.bounds import Bound

NAME = "scores.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricScore:
    """One metric against its bound; without a gate only `value` is known. Margins are positive inside the gate."""

    metric: str  # FID_SCORE or CLIP_SCORE, as the submission checker spells it
    value: float
    bound: Bound | None
    accepted: bool | None
    margin_to_lower: float | None  # value - lower, in the metric's unit
    margin_to_upper: float | None  # upper - value

    @classmethod
    def against(cls, metric: str, value: float, bound: Bound | None) -> MetricScore:
        """Compare `value` with `bound`."""
        return cls(metric=metric, value=value, bound=bound,
                   accepted=None if bound is None else bound.accepts(value),
                   margin_to_lower=None if bound is None else value - bound.lower,
                   margin_to_upper=None if bound is None else bound.upper - value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of one accuracy run, and everything they depend on."""

    schema_version: ClassVar[int] = 1
    run: str
    model: str
    samples: int
    task_digest: str  # of the sample set
    gate: str | None  # file stem in eval/gates, or SDXL_MLPERF; None: nobody derived a gate for these samples
    accuracy_pass: bool | None
    scores: tuple[MetricScore, ...]
    clip_network: str
    fid_network: str
    fid_reference: str  # whose statistics: a file, or the original pictures
    digests: dict[str, str]  # of every file that was loaded, by role
    log_sha256: str  # of the untruncated mlperf_log_accuracy.json
    duplicates: int  # answers skipped because their index had come before
    repeated: int  # images that equal another caption's: a stuck buffer, which neither score shows (docs/KILL_TABLE.md)
    seconds: float
    versions: dict[str, str]
    null_pictures: str | None = None  # null devices answered with these stored pictures: the scores are the pictures'

    def of(self, metric: str) -> MetricScore:
        """The score of `metric`."""
        return next(score for score in self.scores if score.metric == metric)


def read(run: Path) -> Scores:
    """The scores of a run folder; ConfigError when it was not scored."""
    return document.read(Scores, run / SCORE / NAME)

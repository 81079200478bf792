"""eval.part_3: scores of the answers that a TEST01 run sampled."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from eval import part_3
from eval.accuracy_log import NAME
from eval.part_3 import BASELINE, COMPLIANCE, Part3Settings
from harness.run_result import LOADGEN
from harness.run_result import NAME as RESULT
from ireeperf.errors import ScoreError
from tests import scorable_run

SAMPLES, SAMPLED = 12, (1, 4, 5, 9)


@pytest.fixture(scope="module")
def scorer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scorable_run.write_scorer(tmp_path_factory.mktemp("scorer"))


@pytest.fixture
def accuracy(tmp_path: Path) -> Path:
    return scorable_run.write_run(tmp_path, scorable_run.images(SAMPLES), scorable_run.sample_set(SAMPLES, references=True))


def compliance_run(accuracy: Path, images: np.ndarray, indices: tuple[int, ...] = SAMPLED, **changes: object) -> Path:
    """A TEST01 run of the same samples that logged the answers of `indices`."""
    run = shutil.copytree(accuracy, accuracy.with_name("test01"))
    (run / LOADGEN / NAME).write_text(scorable_run.log_text((index, images[index].tobytes()) for index in indices))
    values = json.loads((run / RESULT).read_text()) | {"mode": "TEST01"} | changes
    (run / RESULT).write_text(json.dumps(values))
    return run


def settings(accuracy: Path, test: Path, scorer_json: Path) -> Part3Settings:
    return Part3Settings(accuracy=accuracy, test=test, scorer=scorer_json, weights=scorer_json.parent)


def test_the_same_answers_have_the_same_scores(accuracy: Path, scorer_json: Path) -> None:
    test = compliance_run(accuracy, scorable_run.images(SAMPLES))
    baseline, compliance, samples = part_3.compare(settings(accuracy, test, scorer_json))
    assert samples == len(SAMPLED) and baseline == pytest.approx(compliance) and part_3.accepted(baseline, compliance)
    for name, scores in ((BASELINE, baseline), (COMPLIANCE, compliance)):
        line = (test / "score" / name).read_text()
        for metric, value in scores.items():
            assert float(re.match(rf".*'{metric}':\s+'?([\d.]+).*", line)[1]) == pytest.approx(value)  # type: ignore[index]


def test_other_answers_have_other_scores_and_the_baseline_stays(accuracy: Path, scorer_json: Path) -> None:
    same = part_3.compare(settings(accuracy, compliance_run(accuracy, scorable_run.images(SAMPLES)), scorer_json))[0]
    shutil.rmtree(accuracy.with_name("test01"))
    other = compliance_run(accuracy, scorable_run.images(SAMPLES, seed=1))
    baseline, compliance, _ = part_3.compare(settings(accuracy, other, scorer_json))
    assert baseline == pytest.approx(same) and not part_3.accepted(baseline, compliance)


@pytest.mark.parametrize(("changes", "indices", "words"), [
    ({"mode": "performance"}, SAMPLED, "is a valid performance run; --test takes"), ({"status": "invalid"}, SAMPLED, "is a invalid TEST01"),
    ({"sample_set_digest": "0" * 64}, SAMPLED, "repeat the older run"), ({}, (3,), "samples 1 answers"),
])
def test_what_cannot_be_compared(accuracy: Path, scorer_json: Path, changes: dict[str, object], indices: tuple[int, ...],
                                 words: str) -> None:
    test = compliance_run(accuracy, scorable_run.images(SAMPLES), indices, **changes)
    with pytest.raises(ScoreError, match=words):
        part_3.compare(settings(accuracy, test, scorer_json))
    assert not (test / "score").exists()


def test_the_tolerance_is_the_submission_checker_s() -> None:
    assert part_3.accepted({"FID_SCORE": 100.0, "CLIP_SCORE": 30.0}, {"FID_SCORE": 101.9, "CLIP_SCORE": 30.2})
    assert not part_3.accepted({"FID_SCORE": 100.0, "CLIP_SCORE": 30.0}, {"FID_SCORE": 102.1, "CLIP_SCORE": 30.0})
    assert not part_3.accepted({"FID_SCORE": 100.0, "CLIP_SCORE": 30.0}, {"FID_SCORE": 100.0, "CLIP_SCORE": 30.4})

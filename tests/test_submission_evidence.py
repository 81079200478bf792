"""harness.submission_evidence: what is noted of a whole log, and the truncated log, at SDXL's image size as well."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import submission_accuracy
from harness.submission_evidence import LogEvidence, scan, truncate
from ireeperf.errors import RunError
from tests.scorable_run import log_text


def write(path: Path, answers: list[tuple[int, bytes]]) -> Path:
    path.write_text(log_text(answers))
    return path


def test_every_answer_is_counted_and_the_pictures_are_digested(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", [(2, b"\2" * 12), (0, b"\0" * 12), (2, b"\3" * 12), (4, b"\4" * 12)])
    log, pictures = scan(path, 6, shown=(2, 4))
    assert log == LogEvidence(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size, entries=4, distinct=3,
                              absent=(1, 3, 5), repeated=(2,), answer_bytes=12)
    assert pictures == {"2": hashlib.sha256(b"\2" * 12).hexdigest(), "4": hashlib.sha256(b"\4" * 12).hexdigest()}  # the first counts


@pytest.mark.parametrize(("content", "words"), [
    ("[\n]\n", "0 answers"), (log_text([(0, b"ab")])[:-2], "ends with"), (log_text([(0, b"ab"), (1, b"abc")]), r"\[4, 6\] digits"),
    (log_text([(7, b"ab")]), "2 is no answer to one of 6 samples"), ("[\n...\n]\n", "2 is no answer"), (log_text([(0, b"\xab")]).lower(), "no answer"),
])
def test_what_is_no_whole_log(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "log.json").write_text(content)
    with pytest.raises(RunError, match=words):
        scan(tmp_path / "log.json", 6)
    with pytest.raises(RunError, match="cannot read"):
        scan(tmp_path / "absent.json", 6)


def test_answers_of_1024x1024(tmp_path: Path) -> None:
    """One answer is longer than what the truncated log keeps of either end."""
    images = np.random.default_rng(0).integers(0, 256, (3, 1024, 1024, 3), np.uint8)
    path = write(tmp_path / "log.json", [(index, image.tobytes()) for index, image in enumerate(images)])
    log, pictures = scan(path, 3, shown=(1,))
    assert log.answer_bytes == 3_145_728 and log.entries == 3 and pictures["1"] == hashlib.sha256(images[1].tobytes()).hexdigest()
    truncate(path, tmp_path / "short.json")
    whole = path.read_text()
    assert (tmp_path / "short.json").read_text() == whole[:4096] + "\n\n...\n\n" + whole[-4096:]
    assert list(submission_accuracy.check_truncated(tmp_path / "short.json", "log", log)) == []
    codes = [finding.code for finding in submission_accuracy.check_truncated(path, "log", log)]
    assert codes == ["truncation"]


def test_a_log_shorter_than_what_is_kept_stays_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", [(0, b"ab")])
    truncate(path, tmp_path / "short.json")
    assert (tmp_path / "short.json").read_bytes() == path.read_bytes()
    log, _ = scan(path, 1)
    assert list(submission_accuracy.check_truncated(tmp_path / "short.json", "log", log)) == []
    assert list(submission_accuracy.check_truncated(tmp_path / "short.json", "log", replace(log, answer_bytes=3))) != []


@pytest.mark.parametrize(("content", "value"), [
    ("Accuracy Results: {'FID_SCORE': '23.8', 'CLIP_SCORE': '31.7'}", 23.8), ("{'FID_SCORE': 23.8}", 23.8), ("# note\nx 'FID_SCORE': '-2.1e-05'", -2.1e-5),
    ("{'CLIP_SCORE': '31.7'}", None),
])
def test_a_score_in_accuracy_txt(content: str, value: float | None) -> None:
    assert submission_accuracy.score(content, "FID_SCORE") == value

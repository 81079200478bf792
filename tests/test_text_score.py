"""eval.text_score on made-up runs: ROUGE by the library, the shares of the reference, and logs that are not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import accuracy_log, rouge, text_score
from eval.accuracy_log import AccuracyLog
from ireeperf.bounds import TEXT_MLPERF, TOKENS, text_bounds
from ireeperf.errors import ScoreError
from ireeperf.prompts import PromptSet

WORDS = {1: "the", 2: "quick", 3: "fox", 4: "runs", 5: "away", 6: "slowly", 7: "home"}
ANSWERS = ([1, 2, 3, 4], [1, 3, 4, 5, 6], [3, 4, 7])


def texts(rows: Any) -> list[str]:
    return [" ".join(WORDS[token] for token in row) for row in rows]


def prompt_set(**changes: Any) -> PromptSet:
    rows = tuple(np.array(row, np.int32) for row in ANSWERS)
    return PromptSet(**{"name": "made-up", "model": "m", "max_new_tokens": 8, "prompts": rows, "answers": rows, "references": tuple(texts(ANSWERS))} | changes)


def judged(rows: Any, share: float = 0.99, model: str = "smollm2-135m") -> dict[str, Any]:
    _, found = text_score.judge([np.array(row, np.int32) for row in rows], texts(rows), prompt_set(), model, share)
    return {one.metric: one for one in found}


def test_the_reference_s_own_answers_pass() -> None:
    found = judged(ANSWERS)
    assert all(one.accepted for one in found.values()) and found["ROUGE1"].value == 100.0
    assert found[TOKENS].value == 4.0 and found["ROUGEL"].bound.lower == pytest.approx(99.0)


@pytest.mark.parametrize(("rows", "failing"), [
    (([1, 2, 3, 4], [1, 3, 4, 5, 6], [3, 4, 5]), {"ROUGE1", "ROUGE2", "ROUGEL"}),  # a word of twelve
    (([2, 1, 3, 4], [1, 3, 4, 5, 6], [3, 4, 7]), {"ROUGE2", "ROUGEL"}),  # the same words in another order
    (([1, 2, 3, 4, 4, 4], [1, 3, 4, 5, 6, 6, 6], [3, 4, 7, 7]), {"ROUGE1", "ROUGE2", "ROUGEL", TOKENS})])  # it goes on talking
def test_what_differs_falls_below_the_share(rows: Any, failing: set[str]) -> None:
    assert {metric for metric, one in judged(rows).items() if not one.accepted} == failing


def test_mlperf_s_gates_are_data() -> None:
    wanted, ceiling = TEXT_MLPERF["mixtral-8x7b"]
    bounds = {bound.metric: bound for bound in text_bounds(wanted, 0.99, ceiling)}
    assert bounds["ROUGE1"].lower == pytest.approx(0.99 * 45.5989) and bounds["ROUGE1"].upper == 100
    assert bounds[TOKENS].lower == pytest.approx(0.9 * 144.84) and bounds[TOKENS].upper == pytest.approx(1.1 * 145.9)
    with pytest.raises(ScoreError, match="gsm8k_accuracy"):
        judged(ANSWERS, model="mixtral-8x7b")
    found = judged(ANSWERS, model="llama2-70b")
    assert found["ROUGE1"].accepted and not found[TOKENS].accepted  # four tokens a sample are no answers of Llama 2


def test_rouge_is_that_of_the_library_with_stemming() -> None:
    assert rouge.scores(["runs home"], ["running home"]) == {"ROUGE1": 100.0, "ROUGE2": 100.0, "ROUGEL": 100.0}
    found = rouge.scores(["the cat sat on the mat", "a b"], ["the cat lay on the mat", "c d"])
    assert found == {"ROUGE1": 41.6667, "ROUGE2": 30.0, "ROUGEL": 41.6667}  # 5 of 6 words, 3 of 5 pairs, and nothing
    with pytest.raises(ValueError, match="argument 2"):
        rouge.scores(["a"], ["a", "b"])


def log_of(path: Path, data: list[str]) -> AccuracyLog:
    entries = [json.dumps({"seq_id": index, "qsl_idx": index, "data": text, "token_count": len(text) // 8}) for index, text in enumerate(data)]
    (path / accuracy_log.NAME).write_text("[\n" + ",\n".join(entries) + "\n]\n")
    return AccuracyLog(path / accuracy_log.NAME, samples=len(data), answer_bytes=16, token_bytes=4)


def test_answers_of_different_length_are_read(tmp_path: Path) -> None:
    rows = text_score.tokens_of(log_of(tmp_path, ["0100000002000000", "07000000"]))
    assert [row.tolist() for row in rows] == [[1, 2], [7]]


@pytest.mark.parametrize("data", ["", "010000", "01000000" * 5])
def test_an_answer_that_cannot_be_tokens_is_refused(tmp_path: Path, data: str) -> None:
    with pytest.raises(ScoreError, match="not 1 to 4 tokens of 4"):
        text_score.tokens_of(log_of(tmp_path, [data]))


def test_a_set_without_references_has_no_score() -> None:
    with pytest.raises(ScoreError, match="without-reference"):
        text_score.judge([], [], prompt_set(references=(), answers=()), "smollm2-135m", 0.99)


def test_references_without_token_ids_are_no_gate_of_a_model_of_our_own() -> None:
    with pytest.raises(ScoreError, match="has no token ids of its references"):
        text_score.judge([np.array(row, np.int32) for row in ANSWERS], texts(ANSWERS), prompt_set(answers=()), "smollm2-135m", 0.99)

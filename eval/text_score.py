"""Score an accuracy run of a decoder: python -m eval.text_score RUN [--share 0.999]

ROUGE of the answers against the prompt set's references and tokens per sample, each within MLPerf's shares of the reference's own; how many answers
are equal token by token is told beside. Writes score/text_scores.json. Exit code 0: inside the gate; 1: outside; 2: bad input.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compile import manifest as manifests
from eval import accuracy_log, rouge, run_folder
from eval.accuracy_log import AccuracyLog
from eval.scores import MetricScore
from harness.run_result import LOADGEN, SCORE
from ireeperf import document, pretrained, torchvision_schemas
from ireeperf.bounds import TEXT_MLPERF, TOKENS, text_bounds
from ireeperf.errors import ConfigError, ScoreError, exit_code
from ireeperf.prompts import PromptSet

NAME = "text_scores.json"
TOKEN_BYTES = 4
SHARES = (0.99, 0.999)
SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScoreSettings:
    """The command line."""

    run: Path
    share: float
    tokenizer: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One answer beside its reference."""

    sample: int
    answer: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScores:
    """The scores of one accuracy run, and everything they depend on."""

    schema_version: ClassVar[int] = 1
    run: str
    model: str
    samples: int
    prompts_digest: str
    gate: str  # whose reference figures: MLPerf's by model, or those of the set's own reference answers
    share: float
    accuracy_pass: bool
    scores: tuple[MetricScore, ...]
    equal: int | None  # answers that equal the reference's token by token; None: the set has no tokens of it
    log_sha256: str
    duplicates: int
    seconds: float
    shown: tuple[Shown, ...]


def parse(argv: Sequence[str] | None = None) -> TextScoreSettings:
    parser = argparse.ArgumentParser(prog="python -m eval.text_score", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of an accuracy run")
    parser.add_argument("--share", type=float, choices=SHARES, default=SHARES[0], help="of the reference's scores (default %(default)s)")
    parser.add_argument("--tokenizer", type=Path, help="folder or GGUF file (default: the build's checkpoint)")
    return TextScoreSettings(**vars(parser.parse_args(argv)))


def tokens_of(log: AccuracyLog) -> list[np.ndarray]:
    """Answers by sample, int32."""
    found = {index: np.frombuffer(data, "<i4") for index, data in log}
    return [found[index] for index in range(log.samples)]


def judge(answers: Sequence[np.ndarray], words: Sequence[str], prompts: PromptSet, loadgen_model: str, share: float) -> tuple[str, tuple[MetricScore, ...]]:
    """The gate's name, and every metric against it. ScoreError when the set has no references."""
    if not prompts.references:
        raise ScoreError(f"prompt set {prompts.name} has no references; make it without --without-reference")
    if not prompts.answers and loadgen_model not in TEXT_MLPERF:
        raise ScoreError(f"prompt set {prompts.name} has no token ids of its references, and MLPerf no figure of {loadgen_model}; make it with export.prompts")
    values = rouge.scores(words, prompts.references) | {TOKENS: float(np.mean([len(row) for row in answers]))}
    if loadgen_model in TEXT_MLPERF:
        wanted, ceiling = TEXT_MLPERF[loadgen_model]
        bounds, name = text_bounds(wanted, share, ceiling), f"MLPerf {loadgen_model}"
    else:
        own = rouge.scores(prompts.references, prompts.references) | {TOKENS: float(np.mean([len(row) for row in prompts.answers]))}
        bounds, name = text_bounds(own, share), f"reference answers of {prompts.name}"
    if absent := [bound.metric for bound in bounds if bound.metric not in values]:
        raise ScoreError(f"the gate of {loadgen_model} asks for {', '.join(absent)}, which this score does not have")
    return name, tuple(MetricScore.against(bound.metric, values[bound.metric], bound) for bound in bounds)


def score(settings: TextScoreSettings) -> TextScores:
    """Score one run and write its score/text_scores.json."""
    started = time.monotonic()
    result = run_folder.read_scorable(settings.run)
    prompts = run_folder.read_prompts(result)
    manifest = manifests.read(run_folder.found(result.manifest))
    log = AccuracyLog(settings.run / LOADGEN / accuracy_log.NAME, samples=len(prompts), answer_bytes=TOKEN_BYTES * prompts.max_new_tokens,
                      token_bytes=TOKEN_BYTES)
    answers = tokens_of(log)
    tokenizer = _tokenizer(settings.tokenizer or run_folder.found(manifest.checkpoint))
    words = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in answers]
    gate, scores = judge(answers, words, prompts, manifest.model.loadgen_model, settings.share)
    equal = sum(np.array_equal(one, other) for one, other in zip(answers, prompts.answers, strict=True)) if prompts.answers else None
    written = TextScores(
        run=result.run, model=result.model, samples=len(prompts), prompts_digest=prompts.digest, gate=gate, share=settings.share,
        accuracy_pass=all(one.accepted for one in scores), scores=scores, equal=equal, log_sha256=log.sha256, duplicates=log.duplicates,
        seconds=round(time.monotonic() - started, 3),
        shown=tuple(Shown(sample=index, answer=words[index], reference=prompts.references[index]) for index in range(min(SHOWN, len(words)))))
    document.write(written, settings.run / SCORE / NAME)
    return written


def _tokenizer(checkpoint: Path) -> Any:
    import torch

    torchvision_schemas.declare(torch)  # transformers looks for torchvision's operators
    from transformers import AutoTokenizer

    try:
        return pretrained.load(AutoTokenizer, checkpoint)
    except ConfigError as error:
        raise ConfigError(f"{error}; name another with --tokenizer") from error


def main() -> int:
    settings = parse()
    print(f"eval.text_score: {json.dumps(document.to_dict(settings))}")
    found = score(settings)
    for one in found.scores:
        assert one.bound is not None
        print(f"{one.metric} {one.value:.4f} at least {one.bound.lower:.4f}, at most {one.bound.upper:.4f}: {one.accepted}")
    print(json.dumps({"run": found.run, "samples": found.samples, "gate": found.gate, "share": found.share, "accuracy_pass": found.accuracy_pass,
                      "equal_answers": found.equal, **{one.metric.lower(): one.value for one in found.scores}, "seconds": found.seconds}))
    return 0 if found.accuracy_pass else 1


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

"""TEST01's part III: python -m eval.part_3 --accuracy RUN --test RUN

When the answers that a TEST01 run sampled are not those of the accuracy run (a device's bits can change with the batch
size), MLPerf compares scores instead: FID and CLIP score of the sampled indices, once as the accuracy run drew them and once
as the TEST01 run did. Writes baseline_accuracy.txt and compliance_accuracy.txt into the TEST01 run's score/, where
harness.submission finds them. MLCommons makes the first with create_accuracy_baseline.sh (compliance/TEST01) and its accuracy
script; the networks here are those of eval.score. Exit code 0: inside the submission checker's tolerance, 1: outside.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval import accuracy_log, clip, extractors, fid, gate, run_folder, scorer
from eval.accuracy_log import AccuracyLog
from eval.score import extract, reference_statistics
from harness import run_result
from harness.run_result import LOADGEN, SCORE, RunResult
from ireeperf import document
from ireeperf.errors import ScoreError, exit_code

BASELINE, COMPLIANCE = "baseline_accuracy.txt", "compliance_accuracy.txt"
# mlcommons/inference v5.1.1, submission_checker.py, accuracy-delta-perc (mlcommons/inference#2338 asks for 0.2 % CLIP)
TOLERANCE = {"FID_SCORE": 0.02, "CLIP_SCORE": 0.01}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part3Settings:
    """The command line."""

    accuracy: Path
    test: Path
    scorer: Path | None
    weights: Path


def compare(settings: Part3Settings) -> tuple[dict[str, float], dict[str, float], int]:
    """(baseline, compliance, samples): the scores by metric, and over how many sampled answers; writes both files."""
    result, test = run_folder.read_scorable(settings.accuracy), _read_test(settings.test)
    if test.sample_set_digest != result.sample_set_digest:
        raise ScoreError(f"{settings.test} drew samples {test.sample_set_digest[:12]}, {settings.accuracy} "
                         f"{result.sample_set_digest[:12]}; repeat the older run")
    sample_set = run_folder.read_samples(result)
    shape = run_folder.image_shape(sample_set)
    logs = [AccuracyLog(run / LOADGEN / accuracy_log.NAME, samples=len(sample_set), answer_bytes=math.prod(shape),
                        sampled=sampled)
            for run, sampled in ((settings.accuracy, False), (settings.test, True))]
    rows = {index: row for row, index in enumerate(sorted(index for index, _ in logs[1]))}
    if len(rows) < 2:
        raise ScoreError(f"{logs[1].path} samples {len(rows)} answers; FID needs at least 2, MLPerf samples about 128")
    chosen = scorer.read(settings.scorer) if settings.scorer else scorer.of_model(sample_set.model)
    files = scorer.locate(chosen, settings.weights)
    clip_network, image_network = extractors.clip_network(chosen, files), extractors.image_network(chosen, files)
    _, (mean, covariance) = reference_statistics(files, gate.find(sample_set), sample_set, image_network)

    def answers(log: AccuracyLog) -> Iterator[tuple[int, np.ndarray]]:
        return ((rows[index], np.frombuffer(data, np.uint8).reshape(shape)) for index, data in log if index in rows)
    captions = [sample_set.captions[index] for index in rows]
    found: list[dict[str, float]] = []
    for log, name in zip(logs, (BASELINE, COMPLIANCE), strict=True):
        features = extract(answers(log), captions, clip_network, image_network)
        found.append({"FID_SCORE": fid.fid(features.activations, mean, covariance),
                      "CLIP_SCORE": clip.clip_score(features.image, features.text)})
        figures = {metric: str(value) for metric, value in found[-1].items()}
        document.write_text(settings.test / SCORE / name, f"Accuracy Results: {figures}\n")
    return found[0], found[1], len(rows)


def accepted(baseline: dict[str, float], compliance: dict[str, float]) -> bool:
    """The submission checker's rule: |1 - baseline / compliance| of each metric."""
    return all(abs(1 - baseline[metric] / compliance[metric]) <= tolerance for metric, tolerance in TOLERANCE.items())


def _read_test(run: Path) -> RunResult:
    result = run_result.read(run)
    if result.mode != "TEST01" or result.status != "valid":
        raise ScoreError(f"{run} is a {result.status} {result.mode} run; --test takes a valid one with --mode TEST01")
    return result


def parse(argv: Sequence[str] | None = None) -> Part3Settings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.part_3", allow_abbrev=False,
                                     description="Compare the scores of the answers that a TEST01 run sampled (TEST01, part "
                                                 "III).")
    parser.add_argument("--accuracy", type=Path, required=True, help="folder of the accuracy run")
    parser.add_argument("--test", type=Path, required=True, help="folder of the TEST01 run")
    parser.add_argument("--scorer", type=Path, help="networks and files to score with (default: eval/scorers/<model>.json)")
    parser.add_argument("--weights", type=Path, default=scorer.WEIGHTS,
                        help="folder of files you bring (default %(default)s)")
    return Part3Settings(**vars(parser.parse_args(argv)))


def main() -> int:
    """0 inside the tolerance, 1 outside."""
    settings = parse()
    print(f"eval.part_3: {json.dumps(document.to_dict(settings))}")
    baseline, compliance, samples = compare(settings)
    passed = accepted(baseline, compliance)
    print(json.dumps({"samples": samples, "baseline": baseline, "compliance": compliance, "passed": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

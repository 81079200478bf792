"""A run folder as the score and the report read it: its result, and the samples it drew."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from eval.scorer import REPOSITORY
from harness import run_result
from harness.run_result import RunResult
from ireeperf import prompts, samples
from ireeperf.errors import ScoreError
from ireeperf.prompts import PromptSet
from ireeperf.samples import SampleSet

S = TypeVar("S", SampleSet, PromptSet)


def read_scorable(run: Path) -> RunResult:
    """The result of an accuracy run; ScoreError when it is none, failed, or was answered with tags by null devices."""
    result = run_result.read(run)
    if result.is_null and result.null_pictures is None:
        raise ScoreError(f"{run} was answered by null devices ({', '.join(result.devices)}), whose answers are tags, no images; "
                         "repeat the run with --device iree")
    if result.mode != "accuracy":
        raise ScoreError(f"{run} is a {result.mode} run and holds no images; run harness.offline with --mode accuracy")
    if result.status != "valid":
        raise ScoreError(f"{run} is {result.status} ({result.cause}); repeat it, its log is not scored")
    return result


def read_samples(result: RunResult) -> SampleSet:
    """The samples that the run drew, checked by digest; ScoreError when the file has changed since."""
    return _same(samples.read(found(result.sample_set)), result)


def read_prompts(result: RunResult) -> PromptSet:
    """The prompts that the run answered, checked by digest; ScoreError when the file has changed since."""
    return _same(prompts.read(found(result.sample_set)), result)


def found(path: str) -> Path:
    """A path that a run names: where it says, or else below the repository."""
    given = Path(path)
    return REPOSITORY / given if not given.exists() and not given.is_absolute() and (REPOSITORY / given).exists() else given


def _same(whole: S, result: RunResult) -> S:
    if whole.digest == result.sample_set_digest:
        return whole
    if result.samples_issued < len(whole):
        head = whole.head(result.samples_issued)
        if head.digest == result.sample_set_digest:
            return head
    raise ScoreError(f"sample set {result.sample_set} has digest {whole.digest[:12]}, the run drew {result.sample_set_digest[:12]}; "
                     "the file was made again since: repeat the run")


def image_shape(sample_set: SampleSet) -> tuple[int, int, int]:
    """(height, width, 3) of one image: SDXL's VAE draws 8 pixels a latent position."""
    return 8 * sample_set.latents.shape[-2], 8 * sample_set.latents.shape[-1], 3

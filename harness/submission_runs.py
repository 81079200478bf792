"""The run folders of a submission: found by what their result.json says, refused unless they may be published."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile import manifest as manifests
from compile.manifest import Manifest
from harness import run_result
from harness.run_result import LOADGEN, NAME, SCORE, RunResult
from harness.submission_limits import BENCHMARK, IMAGES, SAMPLES, TESTS
from ireeperf.errors import ConfigError, RunError

ALWAYS = ("performance", "accuracy")
SCORES, ACCURACY_TXT, CAPTIONS, USER_CONF = "scores.json", "accuracy.txt", "captions.txt", "user.conf"
PART_3 = ("baseline_accuracy.txt", "compliance_accuracy.txt")  # in score/ of a TEST01 run whose answers differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run folder and its result."""

    folder: Path
    result: RunResult

    @property
    def loadgen(self) -> Path:
        """LoadGen's logs."""
        return self.folder / LOADGEN

    @property
    def score(self) -> Path:
        """What eval.score wrote."""
        return self.folder / SCORE


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioRuns:
    """All runs of one scenario, by mode: performance, accuracy and, when they were run, TEST01 and TEST04."""

    scenario: str
    runs: dict[str, Run]
    manifest: Manifest

    @property
    def model(self) -> str:
        """Folder name in the tree: the key LoadGen looked up."""
        return self.manifest.model.loadgen_model

    @property
    def tests(self) -> tuple[str, ...]:
        """Compliance tests that were run."""
        return tuple(test for test in TESTS if test in self.runs)


def read(folders: Iterable[Path], *, division: str, null_runs: bool) -> tuple[ScenarioRuns, ...]:
    """Group run folders (or folders of run folders) by scenario; every refusal names the folder and the remedy.

    `null_runs`: null devices may have answered. No command passes it for a submission.
    """
    found: dict[str, dict[str, Run]] = {}
    for folder in _run_folders(folders):
        run = Run(folder=folder, result=run_result.read(folder))
        _refuse(run, null_runs)
        modes = found.setdefault(run.result.scenario, {})
        if run.result.mode in modes:
            raise ConfigError(f"{folder} and {modes[run.result.mode].folder} are both {run.result.scenario} "
                              f"{run.result.mode} "
                              "runs; name the one that counts")
        modes[run.result.mode] = run
    if not found:
        raise ConfigError("no run folders were given; name them with --runs")
    needed = ALWAYS + (TESTS if division == "closed" else ())
    for scenario, modes in found.items():
        if absent := [mode for mode in needed if mode not in modes]:
            raise ConfigError(f"the {scenario} runs lack {', '.join(absent)}; a {division} submission needs "
                              f"{', '.join(needed)}")
    grouped = tuple(_scenario(scenario, found[scenario]) for scenario in sorted(found))
    if len({runs.model for runs in grouped}) > 1:
        raise ConfigError(f"the runs are of several models ({', '.join(runs.model for runs in grouped)}); build a tree of "
                          "each")
    if division == "closed" and grouped[0].model != BENCHMARK:
        raise ConfigError(f"the runs are of {grouped[0].model}; the closed division takes {BENCHMARK}, use --division open")
    return grouped


def by_name(folders: Iterable[Path]) -> dict[str, Run]:
    """Runs by the name that they were given when they were made; ConfigError when two share one."""
    found: dict[str, Run] = {}
    for folder in _run_folders(folders):
        run = Run(folder=folder, result=run_result.read(folder))
        if run.result.run in found:
            raise ConfigError(f"{folder} and {found[run.result.run].folder} are both run {run.result.run}; name the folders of one set")
        found[run.result.run] = run
    return found


def read_scores(run: Run) -> dict[str, Any]:
    """score/scores.json as eval.score wrote it (eval is not imported here: it needs torch)."""
    path = run.score / SCORES
    try:
        scores = json.loads(path.read_text())
        return {key: scores[key] for key in ("log_sha256", "samples", "scores")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); score the run with python -m eval.score {run.folder}") from error


def read_captions(run: Run) -> dict[str, str]:
    """score/images/captions.txt: sample index -> caption."""
    path = run.score / "images" / CAPTIONS
    try:
        return dict(line.split("  ", 1) for line in path.read_text().splitlines())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); score the run with python -m eval.score {run.folder}") from error


def shown(model: str, run: Run) -> tuple[int, ...]:
    """Sample indices of the ten pictures: MLPerf's, or for a model of our own or a smaller set those that eval.score chose."""
    official = model == BENCHMARK and run.result.samples_issued >= SAMPLES
    return IMAGES if official else tuple(int(index) for index in read_captions(run))


def _run_folders(folders: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        inner = [folder] if (folder / NAME).is_file() else sorted(path.parent for path in folder.glob(f"*/{NAME}"))
        if not inner:
            raise ConfigError(f"{folder} is no run folder and holds none: {NAME} is written last, so the run did not end")
        found += inner
    return found


def _refuse(run: Run, null_runs: bool) -> None:
    result = run.result
    if result.status != "valid":
        raise RunError(f"{run.folder} is {result.status} ({result.cause}); repeat the run, such logs are not published")
    if result.is_null and not null_runs:
        raise RunError(f"{run.folder} was answered by null devices ({', '.join(result.devices[:2])}), which draw nothing; "
                       "repeat it with --device iree")
    if result.samples_issued != result.samples_completed:
        raise RunError(f"{run.folder} completed {result.samples_completed} of {result.samples_issued} samples; repeat the "
                       "run")


def _scenario(scenario: str, modes: dict[str, Run]) -> ScenarioRuns:
    """Runs of one scenario must be of one build and one sample set."""
    first = modes["performance"]
    for run in modes.values():
        for what in ("manifest_key", "sample_set_digest"):
            ours, theirs = getattr(first.result, what), getattr(run.result, what)
            if ours != theirs:
                raise ConfigError(f"{run.folder} has {what} {theirs[:12]}, {first.folder} has {ours[:12]}; one submission "
                                  "is of one "
                                  "build and one sample set: repeat the older run")
    manifest = manifests.read(Path(first.result.manifest))
    if manifest.key != first.result.manifest_key:
        raise ConfigError(f"{first.result.manifest} has key {manifest.key[:12]}, the runs were of "
                          f"{first.result.manifest_key[:12]}: "
                          "it was built again since; repeat the runs")
    if manifest.decodes:
        raise ConfigError(f"{first.folder} is a run of {manifest.model.model}, a decoder, of which no submission tree is made; give runs of SDXL")
    return ScenarioRuns(scenario=scenario, runs=modes, manifest=manifest)

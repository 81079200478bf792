"""Build a submission tree from run folders: every file is a copy of a run's, or follows from its build.

    <output>/<division>/<submitter>/{systems,measurements,results,compliance,code,documentation}

Built in a folder of its own and renamed at the end: a tree is whole or absent.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from harness import compliance, submission_evidence, submission_png, submission_runs, submission_texts, system_description
from harness import submission_limits as limits
from harness.compliance import ACCURACY_LOG, DETAIL, SUMMARY
from harness.submission_evidence import Evidence, LogEvidence
from harness.submission_runs import ACCURACY_TXT, CAPTIONS, PART_3, USER_CONF, Run, ScenarioRuns
from ireeperf import document
from ireeperf.errors import ConfigError, RunError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # the checker refuses spaces and leading dots
PACKAGES = {"mlcommons-loadgen": "LoadGen", "numpy": "numpy", "python": "Python"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What to build."""

    output: Path
    division: str
    submitter: str
    system: str  # name of the system's files and folders
    implementation: str
    runs: tuple[Path, ...]  # run folders, or folders of run folders
    system_file: Path | None = None
    mlcommons: Path | None = None  # judges the compliance runs
    calibration: Path | None = None  # for a quantized build
    measurement: dict[str, str] = field(default_factory=dict)  # keys of the measurements file, said by the user
    machine: Path = Path("/")  # whose /proc and /sys are read


def build(submission: Submission, *, null_runs: bool = False, fixture: bool = False) -> Path:
    """Build the tree; its path. PipelineError, with nothing left behind, when a run may not be published or a file is missing.

    `null_runs`: null devices may have answered; submitter REHEARSAL in the open division. `fixture`: the tests' tree, which no
    command builds.
    """
    _check_names(submission, null_runs, fixture)
    scenarios = submission_runs.read(submission.runs, division=submission.division, null_runs=null_runs or fixture)
    if submission.output.exists() and any(submission.output.iterdir()):
        raise ConfigError(f"--output {submission.output} is not empty; a tree is built as a whole, name a new folder")
    partial = submission.output.absolute().with_name(f".{submission.output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        root = partial / submission.division / submission.submitter
        root.mkdir(parents=True)
        _write_system(submission, root, scenarios)
        for runs in scenarios:
            _write_scenario(submission, root, runs)
        _write_documents(submission, root, scenarios[0])
        if submission.output.exists():
            submission.output.rmdir()
        partial.rename(submission.output)
    except OSError as error:
        raise ConfigError(f"cannot write {submission.output}: {error}; free the disk or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return submission.output


def judged(submission: Submission) -> bool:
    """Whether compliance runs go into the tree: always in the closed division, in the open one where MLCommons' scripts are there."""
    return submission.division == "closed" or submission.mlcommons is not None


def _check_names(submission: Submission, null_runs: bool, fixture: bool) -> None:
    for what in ("submitter", "system", "implementation"):
        name = getattr(submission, what)
        if not NAME.fullmatch(name):
            raise ConfigError(f"--{what} {name!r} is no name for a folder; letters, digits, '.', '_' and '-', no space")
    if (submission.submitter.upper() == limits.FIXTURE) != fixture:
        raise ConfigError(f"submitter {submission.submitter!r}: {limits.FIXTURE} is the tests' own, no command writes it; "
                          "name your organization")
    if submission.division not in limits.DIVISIONS:
        raise ConfigError(f"--division {submission.division!r}; one of {', '.join(limits.DIVISIONS)}")
    if null_runs and (submission.division, submission.submitter) != ("open", limits.REHEARSER):
        raise ConfigError(f"a rehearsal's tree is of the open division and submitter {limits.REHEARSER}, not "
                          f"{submission.division} and "
                          f"{submission.submitter}; give --division open --submitter {limits.REHEARSER}")
    if submission.submitter.upper() == limits.REHEARSER and not null_runs:
        raise ConfigError(f"submitter {limits.REHEARSER} is for --rehearsal; name your organization")
    if unknown := submission.measurement.keys() - set(limits.MEASUREMENT_KEYS):
        raise ConfigError(f"--measurement {min(unknown)!r}: a measurements file has {', '.join(limits.MEASUREMENT_KEYS)}")


def _write_system(submission: Submission, root: Path, scenarios: tuple[ScenarioRuns, ...]) -> None:
    """systems/<system>.json, of the machine that ran."""
    overrides = system_description.read_overrides(submission.system_file) if submission.system_file else {}
    first = scenarios[0].runs["performance"].result
    stack = ", ".join(f"{PACKAGES[name]} {version}" for name, version in first.versions.items() if name in PACKAGES)
    known = {"framework": f"IREE {first.versions.get('iree-base-runtime', scenarios[0].manifest.compiler_version)}",
             "other_software_stack": stack}
    found = system_description.describe(submission.machine, known | overrides)
    if "host_processor_model_name" not in overrides:
        for runs in scenarios:
            for run in runs.runs.values():
                if (ran := run.result.host.get("cpu")) != found.values["host_processor_model_name"]:
                    raise ConfigError(f"{run.folder} ran on {ran!r}, this machine has "
                                      f"{found.values['host_processor_model_name']!r}; build "
                                      "the tree where the runs were made, or state host_processor_model_name in "
                                      "--system-file")
    for key, allowed in (("status", limits.STATUS), ("system_type", tuple(limits.REQUIRED_SCENARIOS))):
        if found.values[key] not in allowed:
            raise ConfigError(f"{key} is {found.values[key]!r}, one of {', '.join(allowed)}: say it in --system-file "
                              "(harness/systems/)")
    submission_texts.write_json(root / "systems" / f"{submission.system}.json",
                                {"division": submission.division,
                                 "submitter": submission.submitter} | found.values | _note(scenarios))


def _note(scenarios: tuple[ScenarioRuns, ...]) -> dict[str, str]:
    """A tree from null devices says so where the official checker's table of results shows it."""
    null = any(run.result.is_null for runs in scenarios for run in runs.runs.values())
    return {"sw_notes": "null devices answered: a rehearsal of the harness, not a result"} if null else {}


def _write_scenario(submission: Submission, root: Path, runs: ScenarioRuns) -> None:
    """Results, measurements, compliance and evidence of one scenario."""
    place = Path(submission.system) / runs.model / runs.scenario
    performance = runs.runs["performance"]
    _copy(performance.loadgen, root / "results" / place / "performance" / "run_1", (SUMMARY, DETAIL))
    evidence = _write_accuracy(root / "results" / place / "accuracy", runs)
    measurements = root / "measurements" / place
    _copy(performance.folder, measurements, (USER_CONF,))
    name = f"{submission.system}_{submission.implementation}_{runs.scenario}.json"
    submission_texts.write_json(measurements / name, submission_texts.measurement(runs.manifest, submission.measurement))
    document.write_text(measurements / "README.md", submission_texts.measurement_readme(runs, submission.implementation))
    for test in runs.tests if judged(submission) else ():
        _write_test(submission, root / "compliance" / place / test, runs, test, evidence.test01)
    document.write(evidence, submission_evidence.path_of(root, submission.system, runs.model, runs.scenario))


def _write_accuracy(folder: Path, runs: ScenarioRuns) -> Evidence:
    """The accuracy run: logs, score, pictures, and the evidence taken from the whole log."""
    run = runs.runs["accuracy"]
    samples = run.result.samples_issued
    shown = submission_runs.shown(runs.model, run)
    log, pictures = submission_evidence.scan(run.loadgen / ACCURACY_LOG, samples, shown)
    if log.absent or log.repeated:
        raise RunError(f"{run.loadgen / ACCURACY_LOG} answers {log.distinct} of {samples} samples, {log.entries} times: "
                       "first absent "
                       f"{list(log.absent[:3])}, first repeated {list(log.repeated[:3])}; repeat the run")
    scored = submission_runs.read_scores(run)["log_sha256"]
    if scored != log.sha256:
        raise RunError(f"{run.score} is of a log with sha256 {str(scored)[:12]}, the run's has {log.sha256[:12]}; score the "
                       "run again")
    _copy(run.loadgen, folder, (SUMMARY, DETAIL))
    _copy(run.score, folder, (ACCURACY_TXT,))
    submission_evidence.truncate(run.loadgen / ACCURACY_LOG, folder / ACCURACY_LOG)
    _copy(run.score / "images", folder / "images", (CAPTIONS, *(f"{index}.png" for index in shown)))
    for index in shown:
        if submission_png.digest(submission_png.read(folder / "images" / f"{index}.png")) != pictures[str(index)]:
            raise RunError(f"{run.score}/images/{index}.png is not the picture that the log holds; score the run again")
    captions = submission_runs.read_captions(run)
    test01 = runs.runs.get("TEST01")
    return Evidence(
        model=runs.model, scenario=runs.scenario, samples=samples, image_shape=runs.manifest.images.image_shape,
        devices=runs.runs["performance"].result.devices, manifest_key=runs.manifest.key,
        sample_set_digest=run.result.sample_set_digest, runs={mode: found.result.run for mode, found in runs.runs.items()},
        accuracy=log,
        test01=submission_evidence.scan(test01.loadgen / ACCURACY_LOG, samples)[0] if test01 else None, pictures=pictures,
        captions={str(index): captions[str(index)] for index in shown})


def _write_test(submission: Submission, folder: Path, runs: ScenarioRuns, test: str, evidence: LogEvidence | None) -> None:
    """A compliance test: MLCommons' verdict and the test run's logs. In the open division a test may fail; `--check` says so."""
    if submission.mlcommons is None:
        raise ConfigError(f"the closed division needs {test} judged by MLCommons' scripts; name their checkout with "
                          "--mlcommons")
    run: Run = runs.runs[test]
    verdict = compliance.judge(submission.mlcommons, test, performance=runs.runs["performance"].loadgen, run=run.loadgen,
                               accuracy=runs.runs["accuracy"].loadgen if test == "TEST01" else None)
    closed = submission.division == "closed"
    if not verdict.performance_pass and closed:
        raise RunError(f"{run.folder} fails {test}: {verdict.files['verify_performance.txt'].strip()[-300:]}; repeat the run")
    for name, content in verdict.files.items():
        document.write_text(folder / name, content)
    _copy(run.loadgen, folder / "performance" / "run_1", (SUMMARY, DETAIL))
    if evidence is None or test != "TEST01":
        return
    (folder / "accuracy").mkdir()
    submission_evidence.truncate(run.loadgen / ACCURACY_LOG, folder / "accuracy" / ACCURACY_LOG)
    document.write_text(folder / "accuracy" / ACCURACY_TXT, f"hash={evidence.sha256}\n")
    if not verdict.accuracy_pass:
        made = all((run.score / name).is_file() for name in PART_3)
        if not made and closed:
            raise RunError(f"{run.folder} answers other images than the accuracy run: "
                           f"{verdict.files['verify_accuracy.txt'].strip()[-200:]}; "
                           f"run both with --deterministic-batch, or compare scores (part III): python -m eval.part_3 "
                           "--accuracy "
                           f"{runs.runs['accuracy'].folder} --test {run.folder}")
        _copy(run.score, folder / "accuracy", PART_3 if made else ())


def _write_documents(submission: Submission, root: Path, runs: ScenarioRuns) -> None:
    """code/, documentation/calibration.md and, in the open division, the model mapping."""
    document.write_text(root / "code" / runs.model / submission.implementation / "README.md",
                        submission_texts.code_readme(runs.model, submission.implementation))
    if submission.calibration is not None:
        _copy(submission.calibration.parent, root / "documentation", (submission.calibration.name,), "calibration.md")
    else:
        document.write_text(root / "documentation" / "calibration.md", submission_texts.calibration(runs.manifest))
    if runs.model != limits.BENCHMARK:
        submission_texts.write_json(root / "model_mapping.json", submission_texts.model_mapping(runs.model))


def _copy(source: Path, target: Path, names: tuple[str, ...], new_name: str | None = None) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (source / name).is_file():
            raise ConfigError(f"{source / name} does not exist; a run folder holds it when the run ended and eval.score "
                              "scored it")
        shutil.copyfile(source / name, target / (new_name or name))

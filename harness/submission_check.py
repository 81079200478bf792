"""Our pre-flight: all that MLCommons' checker catches in an SDXL tree, and what it misses (docs/SUBMISSION.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from harness import (
    submission_accuracy,
    submission_evidence,
    submission_files,
    submission_logs,
    submission_systems,
    submission_tests,
)
from harness import submission_limits as limits
from harness.compliance import ACCURACY_LOG, DETAIL, SUMMARY
from harness.submission_evidence import Evidence
from harness.submission_files import folders
from harness.submission_finding import Finding
from harness.submission_logs import Log
from ireeperf.errors import ConfigError, PipelineError

RUNS = ("results/{}/performance/run_1", "results/{}/accuracy", "compliance/{}/TEST01/performance/run_1",
        "compliance/{}/TEST04/performance/run_1")
OPTIONAL = frozenset({ACCURACY_LOG, "mlperf_log_trace.json"})
# codes of findings that a run shorter or smaller than MLPerf's has, and that say nothing else of it
SHORT = frozenset({"effective_min_duration_ms", "effective_samples_per_query", "effective_performance_sample_count",
                   "duration",
                   "sample_set", "short_test", "short_percentile"})


def check(tree: Path, *, rehearsal: bool = False) -> tuple[Finding, ...]:
    """All findings, in the order of the tree; none means ready. ConfigError when there is no tree.

    `rehearsal`: null devices, small pictures and submitters FIXTURE and REHEARSAL are allowed, all else is checked.
    """
    if not tree.is_dir():
        raise ConfigError(f"{tree} is no folder; give the one that holds closed/ or open/")
    findings = list(submission_files.check_root(tree))
    submitters = [(division, folder) for division in limits.DIVISIONS for folder in folders(tree / division)]
    if not submitters:
        findings.append(Finding(code="no_results", file=".", found="no submitter",
                                wanted="closed/<submitter> or open/<submitter>"))
    for division, submitter in submitters:
        findings += _guarded(str(submitter.relative_to(tree)), partial(_submitter, tree, division, submitter, rehearsal))
    return tuple(dict.fromkeys(findings))


def _guarded(where: str, part: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of one part. A file too malformed to go on is a finding of its own, never a traceback."""
    findings: list[Finding] = []
    try:
        findings.extend(part())
    except (PipelineError, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        findings.append(Finding(code="malformed", file=where, found=f"{type(error).__name__}: {error}",
                                wanted="files as LoadGen and harness.submission write them"))
    return findings


def _submitter(tree: Path, division: str, submitter: Path, rehearsal: bool) -> Iterator[Finding]:
    where = str(submitter.relative_to(tree))
    if submitter.name.upper() in (limits.FIXTURE, limits.REHEARSER) and not rehearsal:
        yield Finding(code="rehearsal", file=where, found=f"submitter {submitter.name}", wanted="an organization")
    yield from submission_files.check_names(tree, submitter)
    yield from submission_files.check_systems(tree, submitter)
    models = {model.name for system in folders(submitter / "results") for model in folders(system)}
    yield from _guarded(where, partial(submission_systems.check_documents, submitter, where, division, models))
    for system in folders(submitter / "results"):
        path = submitter / "systems" / f"{system.name}.json"
        file = str(path.relative_to(tree))
        yield from _guarded(file, partial(submission_systems.check_system, path, file, division, submitter.name))
        for model in folders(system):
            yield from _model(tree, division, submitter, model, rehearsal)


def _model(tree: Path, division: str, submitter: Path, model: Path, rehearsal: bool) -> Iterator[Finding]:
    where = str(model.relative_to(tree))
    if division == "closed" and model.name != limits.BENCHMARK:
        yield Finding(code="model", file=where, found=f"model {model.name}", wanted=limits.BENCHMARK)
    found = {path.name for path in folders(model)}
    system = submitter / "systems" / f"{model.parent.name}.json"
    wanted = submission_systems.required_scenarios(system) if division == "closed" else ()
    for scenario in sorted(set(wanted) - found):
        yield Finding(code="scenario", file=f"{where}/{scenario}", found="absent", wanted=f"all of {', '.join(wanted)}")
    for scenario in sorted(found - set(limits.SCENARIOS)):
        yield Finding(code="scenario", file=f"{where}/{scenario}", found=f"scenario {scenario}",
                      wanted=f"one of {', '.join(limits.SCENARIOS)}")
    for scenario in sorted(found & set(limits.SCENARIOS)):
        yield from _guarded(f"{where}/{scenario}", partial(_scenario, tree, division, submitter, model / scenario,
                                                           rehearsal))
    place = model.relative_to(submitter / "results")
    runs = [submitter / name.format(place / scenario) / DETAIL for scenario in limits.SCENARIOS for name in RUNS]
    yield from _guarded(where, partial(_distinct, tree, [path for path in runs if path.is_file()]))


def _scenario(tree: Path, division: str, submitter: Path, folder: Path, rehearsal: bool) -> Iterator[Finding]:
    """results, measurements, compliance and evidence of one scenario."""
    scenario, place = folder.name, folder.relative_to(submitter / "results")
    where = str(folder.relative_to(tree))
    inner = str(submitter.relative_to(tree))
    run = folder / "performance" / "run_1"
    yield from submission_files.check_folders(where, folder, {"performance", "accuracy"})
    yield from submission_files.check_list(f"{where}/performance/run_1", run, {SUMMARY, DETAIL}, OPTIONAL)
    yield from submission_logs.check(run, f"{where}/performance/run_1", scenario, "performance")
    yield from submission_logs.check(folder / "accuracy", f"{where}/accuracy", scenario, "accuracy")
    performance: Log | None = None
    try:
        performance = submission_logs.read(run / DETAIL)
    except ConfigError:
        pass  # absent or garbled: a finding of submission_logs.check
    yield from submission_systems.check_measurements(submitter, submitter / "measurements" / place,
                                                     f"{inner}/measurements/{place}",
                                                     performance)
    path = submission_evidence.path_of(submitter, *place.parts)
    try:
        evidence = submission_evidence.read(path)
    except ConfigError as error:
        yield Finding(code="evidence", file=str(path.relative_to(tree)), found=str(error),
                      wanted="what harness.submission notes of the whole logs")
        return
    yield from _check_evidence(evidence, str(path.relative_to(tree)), place, rehearsal)
    yield from submission_accuracy.check(folder / "accuracy", f"{where}/accuracy", division, evidence)
    tests = submitter / "compliance" / place
    if division == "closed" or tests.exists():
        yield from submission_tests.check(tests, f"{inner}/compliance/{place}", performance, evidence)


def _check_evidence(evidence: Evidence, file: str, place: Path, rehearsal: bool) -> Iterator[Finding]:
    _, model, scenario = place.parts
    if (evidence.model, evidence.scenario) != (model, scenario):
        yield Finding(code="evidence", file=file, found=f"of {evidence.model} {evidence.scenario}",
                      wanted=f"of {model} {scenario}")
    if rehearsal:
        return
    if evidence.is_null:
        yield Finding(code="null", file=file, found=f"devices {', '.join(evidence.devices[:2])}", wanted="devices that draw")
    if model == limits.BENCHMARK and evidence.image_shape != limits.IMAGE_SHAPE:
        yield Finding(code="picture", file=file, found=f"pictures of {evidence.image_shape}", wanted=f"{limits.IMAGE_SHAPE}")


def _distinct(tree: Path, details: list[Path]) -> Iterator[Finding]:
    """Each log is of a run of its own."""
    seen: dict[object, str] = {}
    for path in details:
        file = str(path.relative_to(tree))
        first = seen.setdefault(submission_logs.read(path).identity, file)
        if first != file:
            yield Finding(code="copied_run", file=file, found=f"the run of {first}", wanted="a run of its own")

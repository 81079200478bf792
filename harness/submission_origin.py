"""Compare a tree with the run folders it was built from: what was made up together, neither checker can see from the tree alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import submission_evidence, submission_runs
from harness.compliance import ACCURACY_LOG, DETAIL, SUMMARY
from harness.submission_evidence import FOLDER, Evidence
from harness.submission_finding import Finding
from harness.submission_runs import ACCURACY_TXT, USER_CONF, Run

PLACES = {"performance": "results/{}/performance/run_1", "accuracy": "results/{}/accuracy",
          "TEST01": "compliance/{}/TEST01/performance/run_1", "TEST04": "compliance/{}/TEST04/performance/run_1"}


def check(tree: Path, folders: Iterable[Path]) -> Iterator[Finding]:
    """Every log, score and user.conf of the tree is its run's, and the evidence is that of the run's whole logs."""
    runs = submission_runs.by_name(folders)
    for path in sorted(tree.glob(f"*/*/{FOLDER}/*/*/*.json")):
        evidence = submission_evidence.read(path)
        submitter = path.parents[4]
        place = path.relative_to(submitter / FOLDER).with_suffix("")
        for mode, name in evidence.runs.items():
            if name not in runs:
                yield Finding(code="origin", file=str(path.relative_to(tree)), found=f"made from run {name}",
                              wanted="its folder: name it with --runs")
                continue
            yield from _copies(tree, submitter, place, mode, runs[name])
            yield from _logs(str(path.relative_to(tree)), evidence, mode, runs[name])


def _copies(tree: Path, submitter: Path, place: Path, mode: str, run: Run) -> Iterator[Finding]:
    """Files that the tree holds unchanged."""
    folder = submitter / PLACES[mode].format(place)
    pairs = [(folder / name, run.loadgen / name) for name in (SUMMARY, DETAIL)]
    if mode == "accuracy":
        pairs.append((folder / ACCURACY_TXT, run.score / ACCURACY_TXT))
    if mode == "performance":
        pairs.append((submitter / "measurements" / place / USER_CONF, run.folder / USER_CONF))
    for ours, theirs in pairs:
        # an open tree may leave compliance runs out; a missing file is a finding of the check itself
        if ours.is_file() and (not theirs.is_file() or ours.read_bytes() != theirs.read_bytes()):
            yield Finding(code="origin", file=str(ours.relative_to(tree)), found="another content than the run's",
                          wanted=f"the bytes of {theirs}")


def _logs(file: str, evidence: Evidence, mode: str, run: Run) -> Iterator[Finding]:
    """The evidence, noted again from the whole log."""
    noted = {"accuracy": evidence.accuracy, "TEST01": evidence.test01}.get(mode)
    if noted is None:
        return
    shown = [int(index) for index in evidence.pictures] if mode == "accuracy" else []
    found, pictures = submission_evidence.scan(run.loadgen / ACCURACY_LOG, evidence.samples, shown)
    if found != noted:
        yield Finding(code="origin", file=file, found=f"{mode} log {noted}", wanted=f"{found}, as {run.loadgen / ACCURACY_LOG} is")
    if mode == "accuracy" and pictures != evidence.pictures:
        yield Finding(code="origin", file=file, found="digests of other pictures", wanted=f"those of {run.loadgen / ACCURACY_LOG}")

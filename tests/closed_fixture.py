"""A closed-division tree from real null-device LoadGen runs at MLPerf's counts, with scores made up here and submitter FIXTURE.

The runs were recorded by tests/record_closed_fixture.py; the tree is built by harness.submission_tree, as any other. The scores
are in the middle of MLPerf's window and nobody computed them, which is why no command can write this submitter.
"""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from harness import compliance, submission_tree
from harness.compliance import ACCURACY_LOG, Verdict
from harness.run_result import LOADGEN, NAME, SCORE
from harness.submission_evidence import answer, scan
from harness.submission_limits import BENCHMARK, FIXTURE, IMAGES
from harness.submission_tree import Submission
from tests.record_closed_fixture import ARCHIVE, SAMPLES, SIDE, VERDICTS, caption

SYSTEM, IMPLEMENTATION = "null-8", "ireeperf"
SUBMITTER = Path("closed") / FIXTURE
ROOT = Path(__file__).resolve().parents[1]
FID, CLIP = 23.48046692, 31.74981837  # the reference's own: the middle of the window


def unpack(folder: Path) -> Path:
    """The recorded runs in `folder`/runs, the accuracy runs scored; paths in them are relative to `folder`."""
    with tarfile.open(ARCHIVE) as file:
        file.extractall(folder, filter="data")
    for result in folder.glob(f"runs/*/{NAME}"):  # they name the manifest as it was given, relative to where they were started
        values = json.loads(result.read_text())
        values["manifest"] = str(folder / values["manifest"])
        result.write_text(json.dumps(values))
    for scenario in ("offline", "server"):
        score(folder / "runs" / f"{scenario}-accuracy")
    return folder / "runs"


def score(run: Path, shown: tuple[int, ...] = IMAGES) -> None:
    """score/ of an accuracy run: pictures out of its log, and scores that were never computed."""
    images = run / SCORE / "images"
    images.mkdir(parents=True, exist_ok=True)
    for index, pixels in answers(run / LOADGEN / ACCURACY_LOG).items():
        if index in shown:
            Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 3)).save(images / f"{index}.png")
    (images / "captions.txt").write_text("".join(f"{index}  {caption(index)}\n" for index in shown))
    digest = scan(run / LOADGEN / ACCURACY_LOG, SAMPLES)[0].sha256
    figures = {"FID_SCORE": str(FID), "CLIP_SCORE": str(CLIP)}
    (run / SCORE / "accuracy.txt").write_text(f"Accuracy Results: {figures}\nhash={digest}\n")
    (run / SCORE / "scores.json").write_text(json.dumps({"log_sha256": digest, "samples": SAMPLES, "scores": []}))


def answers(log: Path) -> dict[int, bytes]:
    """Sample index -> answer of a whole accuracy log, the first of each."""
    found: dict[int, bytes] = {}
    with log.open("rb") as file:
        for line in file:
            if (entry := answer(line)) is not None:
                found.setdefault(entry[0], bytes.fromhex(entry[1].decode()))
    return found


def submission(folder: Path, runs: Path, **changes: object) -> Submission:
    """What the fixture builds: into `folder`/tree, from `runs`."""
    values: dict[str, object] = {
        "output": folder / "tree", "division": "closed", "submitter": FIXTURE, "system": SYSTEM,
        "implementation": IMPLEMENTATION,
        "runs": (runs,), "system_file": system_file(folder), "mlcommons": Path("recorded")}
    return Submission(**(values | changes))  # type: ignore[arg-type]


def system_file(folder: Path) -> Path:
    """harness/systems/rehearsal.toml and the processor's name: tests run on other machines than the recording."""
    path = folder / "system.toml"
    path.write_text((ROOT / "harness/systems/rehearsal.toml").read_text() + 'host_processor_model_name = "the recording machine"\n'
                    'host_networking = "N/A"\nhost_network_card_count = "1"\nhost_memory_configuration = "N/A"\n'
                    'host_storage_capacity = "1 GB"\nhost_storage_type = "virtual disk"\n')
    return path


def recorded(mlcommons: Path, test: str, *, performance: Path, run: Path, accuracy: Path | None = None,
             unixmode: bool = False) -> Verdict:
    """Stands in for compliance.judge: what MLCommons' scripts said when they were run on these logs."""
    said = json.loads(VERDICTS.read_text())[run.parent.name]
    return Verdict(**said)


@functools.cache
def shared() -> tuple[Path, Path]:
    """(tree, runs) for all tests of this process. Do not write to them."""
    root = Path(tempfile.mkdtemp(prefix="ireeperf-closed-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    runs = unpack(root)
    with mock.patch.object(compliance, "judge", recorded):
        return submission_tree.build(submission(root, runs), fixture=True), runs


def copy(folder: Path) -> Path:
    """A copy of the tree to change."""
    return shutil.copytree(shared()[0], folder / "tree", dirs_exist_ok=True)


def results(tree: Path, scenario: str = "Offline") -> Path:
    """results/<system>/<model>/<scenario> in a copy."""
    return tree / SUBMITTER / "results" / SYSTEM / BENCHMARK / scenario


def linked(folder: Path) -> Path:
    """The recorded runs under links, with results that can be changed."""
    for run in sorted(shared()[1].iterdir()):
        (folder / "runs" / run.name).mkdir(parents=True)
        for path in run.iterdir():
            if path.name == NAME:
                shutil.copyfile(path, folder / "runs" / run.name / NAME)
            else:
                (folder / "runs" / run.name / path.name).symlink_to(path)
    return folder / "runs"


def change(run: Path, **values: object) -> None:
    """Other values in a linked run's result."""
    (run / NAME).write_text(json.dumps(json.loads((run / NAME).read_text()) | values))

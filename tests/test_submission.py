"""harness.submission: the accepted fixture, the check, and the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from harness import submission, submission_check, submission_evidence, submission_official, submission_origin, submission_png
from harness.compliance import ACCURACY_LOG
from harness.submission_limits import BENCHMARK, IMAGES
from ireeperf import document
from ireeperf.errors import ConfigError
from tests import closed_fixture, mlcommons
from tests.closed_fixture import SUBMITTER, SYSTEM
from tests.test_submission_png import file

ROOT = Path(__file__).resolve().parents[1]


def test_the_fixture_is_accepted_by_our_check() -> None:
    tree, _ = closed_fixture.shared()
    assert submission_check.check(tree, rehearsal=True) == ()


@mlcommons.needed
def test_the_fixture_is_accepted_by_mlcommons_checker() -> None:
    assert mlcommons.FILES is not None
    verdict = submission_official.run(mlcommons.FILES, closed_fixture.shared()[0])
    assert verdict.accepted and verdict.summary == "submission looks OK" and verdict.errors == ()


def test_no_command_takes_the_fixture_for_a_submission() -> None:
    codes = {finding.code for finding in submission_check.check(closed_fixture.shared()[0])}
    assert codes == {"rehearsal", "null", "picture"}


def test_a_tree_of_full_size_pictures_needs_no_rehearsal(tmp_path: Path) -> None:
    """The fixture with what a machine that draws would have changed: devices, pictures, log, submitter."""
    tree = closed_fixture.copy(tmp_path)
    (tree / SUBMITTER).rename(tree / "closed/Acme")
    system = tree / "closed/Acme/systems" / f"{SYSTEM}.json"
    system.write_text(json.dumps(json.loads(system.read_text()) | {"submitter": "Acme"}))
    for scenario in ("Offline", "Server"):
        path = submission_evidence.path_of(tree / "closed/Acme", SYSTEM, BENCHMARK, scenario)
        evidence = submission_evidence.read(path)
        folder = tree / "closed/Acme/results" / SYSTEM / BENCHMARK / scenario / "accuracy"
        pictures = {}
        for index in IMAGES:
            pixels = np.full((1024, 1024, 3), index % 256, np.uint8)
            rows = np.concatenate([np.zeros((1024, 1), np.uint8), pixels.reshape(1024, -1)], axis=1)
            (folder / "images" / f"{index}.png").write_bytes(file((1024, 1024, 8, 2, 0, 0, 0), zlib.compress(rows.tobytes(), 1)))
            pictures[str(index)] = submission_png.digest(pixels)
        head, tail = '[\n{ "seq_id" : 0, "qsl_idx" : 9, "data" : "', '" }\n]\n'
        for place in (folder, tree / "closed/Acme/compliance" / SYSTEM / BENCHMARK / scenario / "TEST01/accuracy"):
            (place / ACCURACY_LOG).write_text(head.ljust(4096, "A") + "\n\n...\n\n" + tail.rjust(4096, "A"))
        logs = {name: replace(getattr(evidence, name), answer_bytes=3 * 2**20, bytes=6 * 2**30) for name in ("accuracy", "test01")}
        document.write(replace(evidence, devices=("hip://0", "hip://1"), image_shape=(1024, 1024, 3), pictures=pictures, **logs), path)
    assert submission_check.check(tree) == ()
    if mlcommons.FILES is not None:
        assert submission_official.run(mlcommons.FILES, tree).accepted


def test_a_short_rehearsal_is_told_from_a_broken_one(tmp_path: Path) -> None:
    tree = closed_fixture.copy(tmp_path)
    log = closed_fixture.results(tree) / "performance/run_1/mlperf_log_detail.txt"
    log.write_text(log.read_text().replace('"effective_min_duration_ms", "value": 600000', '"effective_min_duration_ms", "value": 20000'))
    done = command("--check", str(tree), "--rehearsal")
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1 and last["only_too_short"] and [finding["code"] for finding in last["findings"]] == ["effective_min_duration_ms"]
    (closed_fixture.results(tree) / "accuracy/images/captions.txt").unlink()
    assert not json.loads(command("--check", str(tree), "--rehearsal").stdout.splitlines()[-1])["only_too_short"]


def command(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "harness.submission", *argv], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_check_command() -> None:
    tree = str(closed_fixture.shared()[0])
    checker = ["--checker", str(mlcommons.FILES)] if mlcommons.FILES else []
    done = command("--check", tree, "--rehearsal", *checker)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"tree": tree, "accepted": True, "only_too_short": False, "findings": [],
                                                        "checker": "submission looks OK" if checker else None}
    done = command("--check", tree)
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1 and not last["accepted"] and {finding["code"] for finding in last["findings"]} == {"rehearsal", "null", "picture"}


def test_a_tree_is_compared_with_its_runs(tmp_path: Path) -> None:
    """A hash made up together with its evidence is consistent, and not the log's."""
    tree, runs = closed_fixture.copy(tmp_path), closed_fixture.shared()[1]
    assert command("--check", str(tree), "--rehearsal", "--runs", str(runs)).returncode == 0
    path = submission_evidence.path_of(tree / SUBMITTER, SYSTEM, BENCHMARK, "Offline")
    evidence = submission_evidence.read(path)
    document.write(replace(evidence, accuracy=replace(evidence.accuracy, sha256="0" * 64)), path)
    accuracy = closed_fixture.results(tree) / "accuracy/accuracy.txt"
    accuracy.write_text(accuracy.read_text().replace(evidence.accuracy.sha256, "0" * 64))
    assert submission_check.check(tree, rehearsal=True) == ()
    found = list(submission_origin.check(tree, [runs]))
    assert [finding.code for finding in found] == ["origin"] * 2 and {Path(finding.file).name for finding in found} == {
        "accuracy.txt", "Offline.json"}
    absent = list(submission_origin.check(tree, [runs / "offline-TEST04"]))
    assert len(absent) == 7 and {finding.wanted for finding in absent} == {"its folder: name it with --runs"}
    with pytest.raises(ConfigError, match="are both run offline-TEST04"):
        list(submission_origin.check(tree, [runs, runs / "offline-TEST04"]))


def test_the_build_command_makes_a_rehearsal(tmp_path: Path) -> None:
    """What scripts/reproduce starts; without --mlcommons the compliance runs stay out of the tree."""
    done = command("--runs", str(closed_fixture.shared()[1]), "--output", str(tmp_path / "tree"), "--submitter", "REHEARSAL", "--system", "s",
                   "--implementation", "i", "--system-file", str(closed_fixture.system_file(tmp_path)), "--rehearsal")
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["accepted"], done.stdout + done.stderr
    assert "TEST01 and TEST04 are not judged" in done.stdout and not (tmp_path / "tree/open/REHEARSAL/compliance").exists()


def test_the_build_command_refuses_null_runs(tmp_path: Path) -> None:
    done = command("--runs", str(closed_fixture.shared()[1]), "--output", str(tmp_path / "tree"), "--submitter", "Acme", "--system", "s",
                   "--implementation", "i")
    assert done.returncode == 2 and "null devices" in done.stderr and not (tmp_path / "tree").exists(), done.stderr


@pytest.mark.parametrize(("argv", "words"), [
    (["--runs", "a"], "--output is missing"), (["--output", "t", "--submitter", "a", "--system", "b", "--implementation", "c"], "--runs is missing"),
    (["--check", "t", "--system", "a"], "leave --system away"),
    (["--check", "t", "--measurement", "x"], "not KEY=VALUE"),
])
def test_wrong_command_lines(argv: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        submission.parse(argv)


def test_every_flag_is_read() -> None:
    source = Path(submission.__file__).read_text()
    body = source[source.index("def submission(self)"):]
    for field in fields(submission.SubmissionSettings):
        assert re.search(rf"(self|settings)\.{field.name}\b", body) or field.name in submission.NEEDED, field.name


def test_a_tree_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        submission_check.check(tmp_path / "no")
    assert [finding.code for finding in submission_check.check(tmp_path)] == ["no_results"]


def test_the_checker_s_verdict_is_its_summary_and_its_exit_status() -> None:
    ok, bad = "[2026-11-24 x.py:1 INFO] SUMMARY: submission looks OK\n", "[2026-11-24 x.py:1 ERROR] SUMMARY: submission has errors\n"
    assert submission_official.verdict(ok, 0).accepted and not submission_official.verdict(ok, 1).accepted
    assert not submission_official.verdict(bad, 1).accepted
    crashed = submission_official.verdict("[2026-11-24 x.py:1 ERROR] a\nTraceback\nKeyError: 'b'\n", 1)
    assert not crashed.accepted and crashed.summary == "crashed: KeyError: 'b'" and crashed.errors == ("a",)

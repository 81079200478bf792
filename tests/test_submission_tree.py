"""harness.submission_tree: the tree from recorded runs, and what may not be published."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness import compliance, submission_check, submission_evidence, submission_official, submission_tree
from harness.compliance import ACCURACY_LOG
from harness.run_result import LOADGEN, NAME
from harness.submission_limits import BENCHMARK, FIXTURE, IMAGES, MEASUREMENT_KEYS
from ireeperf.errors import ConfigError, PipelineError, RunError
from tests import closed_fixture, mlcommons
from tests.closed_fixture import IMPLEMENTATION, SUBMITTER, SYSTEM, change, linked
from tests.record_closed_fixture import SAMPLES

JUDGE = compliance.judge


@pytest.fixture(autouse=True)
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts as MLCommons' scripts gave them; tests/test_compliance.py runs the scripts themselves."""
    monkeypatch.setattr(compliance, "judge", closed_fixture.recorded)


def test_what_the_tree_holds() -> None:
    tree, runs = closed_fixture.shared()
    folder = closed_fixture.results(tree)
    assert sorted(path.name for path in (folder / "accuracy/images").iterdir()) == sorted([*(f"{i}.png" for i in IMAGES), "captions.txt"])
    content = (folder / "accuracy" / ACCURACY_LOG).read_text()
    whole = (runs / "offline-accuracy" / LOADGEN / ACCURACY_LOG).read_text()
    assert content == whole[:4096] + "\n\n...\n\n" + whole[-4096:]
    measurement = json.loads((tree / SUBMITTER / "measurements" / SYSTEM / BENCHMARK / "Server" / f"{SYSTEM}_{IMPLEMENTATION}_Server.json").read_text())
    assert sorted(measurement) == list(MEASUREMENT_KEYS) and measurement["weight_data_types"] == "float16"
    readme = (tree / SUBMITTER / "measurements" / SYSTEM / BENCHMARK / "Server/README.md").read_text()
    assert "python -m harness.server --manifest build/fixture --mode TEST01 --device null" in readme and str(runs) not in readme
    assert (tree / SUBMITTER / "code" / BENCHMARK / IMPLEMENTATION / "README.md").is_file()
    evidence = submission_evidence.read(submission_evidence.path_of(tree / SUBMITTER, SYSTEM, BENCHMARK, "Offline"))
    assert evidence.accuracy.entries == evidence.samples == SAMPLES and evidence.is_null and len(evidence.pictures) == 10
    assert evidence.test01 is not None and 100 <= evidence.test01.entries <= 160
    system = json.loads((tree / SUBMITTER / "systems" / f"{SYSTEM}.json").read_text())
    assert system["framework"].startswith("IREE 3.") and "LoadGen 5.1.1" in system["other_software_stack"]


@mlcommons.needed
def test_the_tree_built_with_mlcommons_scripts_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compliance, "judge", JUDGE)
    recorded, runs = closed_fixture.shared()
    tree = submission_tree.build(closed_fixture.submission(tmp_path, runs, mlcommons=mlcommons.FILES), fixture=True)
    assert submission_check.check(tree, rehearsal=True) == ()
    names = {path.relative_to(recorded) for path in recorded.rglob("*") if path.is_file()}
    assert names == {path.relative_to(tree) for path in tree.rglob("*") if path.is_file()}
    names = {name for name in names if "code" not in name.parts}  # which names the checkout's commit
    differ = {name.name for name in names if (tree / name).read_bytes() != (recorded / name).read_bytes()}
    assert differ <= {"verify_performance.txt"}  # which holds the time of day


@mlcommons.needed
def test_truncation_is_mlcommons_own(tmp_path: Path) -> None:
    """Their script on the whole logs gives our logs and our hash."""
    tree, runs = closed_fixture.shared()
    other = closed_fixture.copy(tmp_path)
    for scenario in ("Offline", "Server"):
        folder = closed_fixture.results(other, scenario) / "accuracy"
        shutil.copyfile(runs / f"{scenario.lower()}-accuracy" / LOADGEN / ACCURACY_LOG, folder / ACCURACY_LOG)
        (folder / "accuracy.txt").write_text((folder / "accuracy.txt").read_text().split("hash=")[0])
    script = mlcommons.FILES / "tools/submission/truncate_accuracy_log.py"  # type: ignore[operator]
    subprocess.run([sys.executable, script, "--input", other, "--submitter", FIXTURE, "--output", tmp_path / "theirs"], check=True,
                   capture_output=True)
    for scenario in ("Offline", "Server"):
        ours, theirs = (closed_fixture.results(place, scenario) / "accuracy" for place in (tree, tmp_path / "theirs"))
        assert (ours / ACCURACY_LOG).read_bytes() == (theirs / ACCURACY_LOG).read_bytes()
        assert (ours / "accuracy.txt").read_text().split("hash=")[1] == (theirs / "accuracy.txt").read_text().split("hash=")[1]


@pytest.mark.parametrize(("run", "values", "words"), [
    ("offline-performance", {"status": "invalid", "cause": "min_duration not met"}, "is invalid .min_duration not met.; repeat the run"),
    ("server-accuracy", {"status": "failed", "cause": "disk full"}, "is failed .disk full."),
    ("server-TEST01", {"samples_completed": 3}, "completed 3 of"),
    ("server-TEST01", {"manifest_key": "ab" * 32}, "one submission is of one build"),
    ("offline-accuracy", {"sample_set_digest": "cd" * 32}, "has sample_set_digest cdcd"),
    ("offline-TEST04", {"mode": "TEST01"}, "are both Offline TEST01 runs"),
    ("offline-TEST04", {"scenario": "Server"}, "are both Server TEST04 runs"),
])
def test_runs_that_may_not_be_published(tmp_path: Path, run: str, values: dict[str, object], words: str) -> None:
    runs = linked(tmp_path)
    change(runs / run, **values)
    with pytest.raises(PipelineError, match=words):
        submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "system.toml"]  # nothing half-built


def test_a_run_that_is_missing_is_named(tmp_path: Path) -> None:
    runs = linked(tmp_path)
    shutil.rmtree(runs / "offline-TEST04")
    with pytest.raises(ConfigError, match="the Offline runs lack TEST04; a closed submission needs performance, accuracy, TEST01, TEST04"):
        submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)
    (runs / "offline-accuracy" / NAME).unlink()
    with pytest.raises(ConfigError, match="is no run folder"):
        submission_tree.build(closed_fixture.submission(tmp_path, runs / "offline-accuracy"), fixture=True)


@pytest.mark.parametrize("changes", [
    {"submitter": "Acme"}, {"submitter": "Acme", "division": "open"}, {"submitter": "fixture", "division": "open"}, {"submitter": FIXTURE},
    {"submitter": "REHEARSAL", "division": "open"},
])
def test_null_runs_and_the_fixture_s_name_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(PipelineError, match=r"null devices|no command writes it|is for --rehearsal"):
        submission_tree.build(closed_fixture.submission(tmp_path, closed_fixture.shared()[1], **changes))
    assert not (tmp_path / "tree").exists()


def test_a_null_rehearsal_is_of_the_open_division_and_says_so(tmp_path: Path) -> None:
    runs = closed_fixture.shared()[1]
    for submitter, division in (("Acme", "open"), ("REHEARSAL", "closed")):
        with pytest.raises(ConfigError, match="a rehearsal's tree is of the open division and submitter REHEARSAL"):
            submission_tree.build(closed_fixture.submission(tmp_path, runs, submitter=submitter, division=division), null_runs=True)
    given = closed_fixture.submission(tmp_path, runs, submitter="REHEARSAL", division="open")
    tree = submission_tree.build(given, null_runs=True)
    assert submission_check.check(tree, rehearsal=True) == ()
    assert {finding.code for finding in submission_check.check(tree)} == {"rehearsal", "null", "picture"}
    assert "null devices" in json.loads((tree / "open/REHEARSAL/systems" / f"{SYSTEM}.json").read_text())["sw_notes"]
    if mlcommons.FILES is not None:
        assert submission_official.run(mlcommons.FILES, tree).accepted


def test_an_open_tree_needs_no_compliance_runs(tmp_path: Path) -> None:
    runs = linked(tmp_path)
    for test in ("TEST01", "TEST04"):
        for scenario in ("offline", "server"):
            shutil.rmtree(runs / f"{scenario}-{test}")
    given = closed_fixture.submission(tmp_path, runs, submitter="REHEARSAL", division="open", mlcommons=None)
    tree = submission_tree.build(given, null_runs=True)
    assert submission_check.check(tree, rehearsal=True) == () and not (tree / "open/REHEARSAL/compliance").exists()
    if mlcommons.FILES is not None:
        assert submission_official.run(mlcommons.FILES, tree).accepted


def test_a_model_of_ours_is_mapped_to_the_benchmark(tmp_path: Path) -> None:
    """The open division takes any model name; the checker then applies stable-diffusion-xl's limits, but for score and pictures."""
    runs, shown = linked(tmp_path), (7, 1234)
    for run in runs.iterdir():
        values = json.loads((run / NAME).read_text())
        manifest = json.loads(Path(values["manifest"]).read_text())
        (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"model": manifest["model"] | {"loadgen_model": "sdxl-nano"}}))
        change(run, manifest=str(tmp_path / "manifest.json"))
        content = (run / "user.conf").read_text().replace(BENCHMARK, "sdxl-nano")
        (run / "user.conf").unlink()
        (run / "user.conf").write_text(content)
        if run.name.endswith("accuracy"):
            (run / "score").unlink()
            closed_fixture.score(run, shown=shown)
    with pytest.raises(ConfigError, match="the closed division takes stable-diffusion-xl"):
        submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)
    tree = submission_tree.build(closed_fixture.submission(tmp_path, runs, submitter="REHEARSAL", division="open"), null_runs=True)
    assert json.loads((tree / "open/REHEARSAL/model_mapping.json").read_text()) == {"sdxl-nano": BENCHMARK}
    assert {path.stem for path in tree.rglob("*.png")} == {"7", "1234"}
    assert {finding.code for finding in submission_check.check(tree)} == {"rehearsal", "null"}  # 16x16 is the model's own
    assert submission_check.check(tree, rehearsal=True) == ()
    if mlcommons.FILES is not None:
        assert submission_official.run(mlcommons.FILES, tree).accepted
    (tree / "open/REHEARSAL/model_mapping.json").unlink()
    assert [finding.code for finding in submission_check.check(tree, rehearsal=True)] == ["model_mapping"]
    if mlcommons.FILES is not None:
        assert not submission_official.run(mlcommons.FILES, tree).accepted


def test_a_test_that_fails_is_kept_out_of_a_closed_tree_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **named: object) -> compliance.Verdict:
        verdict = closed_fixture.recorded(*arguments, **named)  # type: ignore[arg-type]
        files = {name: text.replace("TEST PASS", "TEST FAIL") for name, text in verdict.files.items()}
        return replace(verdict, files=files, performance_pass=False, accuracy_pass=verdict.accuracy_pass and False)
    monkeypatch.setattr(compliance, "judge", fails)
    runs = closed_fixture.shared()[1]
    with pytest.raises(RunError, match="offline-TEST01 fails TEST01"):
        submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)
    given = closed_fixture.submission(tmp_path, runs, submitter="REHEARSAL", division="open")
    tree = submission_tree.build(given, null_runs=True)
    assert {finding.code for finding in submission_check.check(tree, rehearsal=True)} == {"verdict", "missing"}


@pytest.mark.parametrize(("changes", "words"), [
    ({"system": "8 x MI325X"}, "no name for a folder"), ({"implementation": "../x"}, "no name for a folder"),
    ({"division": "network"}, "one of closed, open"), ({"measurement": {"weights": "x"}}, "'weights': a measurements file has"),
    ({"system_file": None}, "ran on .* this machine has|status is 'N/A'"), ({"mlcommons": None}, "name their checkout with --mlcommons"),
])
def test_wrong_settings(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        submission_tree.build(closed_fixture.submission(tmp_path, closed_fixture.shared()[1], **changes), fixture=True)
    assert not (tmp_path / "tree").exists()


def test_an_output_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/notes").write_text("mine")
    with pytest.raises(ConfigError, match="tree is not empty"):
        submission_tree.build(closed_fixture.submission(tmp_path, closed_fixture.shared()[1]), fixture=True)
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["notes"]


def test_a_score_of_another_log_is_refused(tmp_path: Path) -> None:
    runs = linked(tmp_path)
    score = runs / "offline-accuracy/score"
    original = score.readlink()
    score.unlink()
    shutil.copytree(original, score)
    shutil.copyfile(score / "images/2747.png", score / "images/1515.png")
    with pytest.raises(RunError, match="1515.png is not the picture that the log holds"):
        submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)
    (score / "scores.json").write_text(json.dumps({"log_sha256": "ef" * 32, "samples": SAMPLES, "scores": []}))
    with pytest.raises(RunError, match="score the run again"):
        submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)
    shutil.rmtree(score)
    with pytest.raises(ConfigError, match="score the run with python -m eval.score"):
        submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)


def test_test01_that_differs_needs_part_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(*arguments: object, **named: object) -> compliance.Verdict:
        verdict = closed_fixture.recorded(*arguments, **named)  # type: ignore[arg-type]
        files = {name: text.replace("TEST PASS", "TEST FAIL") if "accuracy" in name else text for name, text in verdict.files.items()}
        return replace(verdict, files=files, accuracy_pass=verdict.accuracy_pass and False)
    monkeypatch.setattr(compliance, "judge", differs)
    runs = linked(tmp_path)
    with pytest.raises(RunError, match="run both with --deterministic-batch, or compare scores .part III.: python -m eval.part_3"):
        submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)
    for scenario in ("offline", "server"):
        folder = runs / f"{scenario}-TEST01/score"
        folder.mkdir()
        (folder / "baseline_accuracy.txt").write_text("Accuracy Results: {'FID_SCORE': '100.0', 'CLIP_SCORE': '31.5'}\n")
        (folder / "compliance_accuracy.txt").write_text("Accuracy Results: {'FID_SCORE': '101.0', 'CLIP_SCORE': '31.6'}\n")
    tree = submission_tree.build(closed_fixture.submission(tmp_path, runs), fixture=True)
    assert submission_check.check(tree, rehearsal=True) == ()
    if mlcommons.FILES is not None:
        assert submission_official.run(mlcommons.FILES, tree).accepted
    text = tree / SUBMITTER / "compliance" / SYSTEM / BENCHMARK / "Offline/TEST01/accuracy/compliance_accuracy.txt"
    text.write_text("Accuracy Results: {'FID_SCORE': '103.0', 'CLIP_SCORE': '31.6'}\n")
    assert [finding.code for finding in submission_check.check(tree, rehearsal=True)] == ["part_3"]

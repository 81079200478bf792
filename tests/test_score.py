"""eval.score: python -m pytest tests/test_score.py"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest

from eval import score, scores
from eval.accuracy_log import NAME
from eval.score import ScoreSettings
from ireeperf import bounds, document
from ireeperf.bounds import SDXL_MLPERF, Bound, Gate
from ireeperf.errors import MissingFileError, ScoreError, exit_code
from tests import scorable_run

SAMPLES = 12
# AMD's MI325X Offline run of MLPerf v5.1 (inference_results_v5.1), its published accuracy.txt
AMD_ACCURACY_LINE = "Accuracy Results: {'FID_SCORE': '23.813210898858188', 'CLIP_SCORE': '31.749402277171612'}"
# what the v5.1.1 submission checker looks for
CHECKER = {"FID_SCORE": r".*'FID_SCORE':\s+'?([\d.]+).*", "CLIP_SCORE": r".*'CLIP_SCORE':\s+'?([\d.]+).*", "hash": r"^hash=([\w\d]+)$"}


@pytest.fixture(scope="module")
def scorer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scorable_run.write_scorer(tmp_path_factory.mktemp("scorer"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return scorable_run.write_run(tmp_path, scorable_run.images(SAMPLES), scorable_run.sample_set(SAMPLES, references=True))


def settings(run: Path, scorer_json: Path, **changes: object) -> ScoreSettings:
    values: dict[str, object] = {"run": run, "gate": None, "no_gate": True, "scorer": scorer_json, "weights": scorer_json.parent}
    return ScoreSettings(**(values | changes))  # type: ignore[arg-type]


def write_gate(path: Path, found: scores.Scores, *, fid_shift: float = 0.0) -> Path:
    gate = Gate(model="sdxl-nano", samples=found.samples, sample_set=found.task_digest, derivation="test", bounds=(
        Bound.around("FID_SCORE", found.of("FID_SCORE").value * (1 + fid_shift), 0.02),
        Bound.around("CLIP_SCORE", found.of("CLIP_SCORE").value, 0.002)))
    document.write(gate, path)
    return path


def test_amds_published_line_passes_mlperfs_bounds() -> None:
    figures = {key: float(re.match(CHECKER[key], AMD_ACCURACY_LINE)[1]) for key in ("FID_SCORE", "CLIP_SCORE")}  # type: ignore[index]
    judged = [scores.MetricScore.against(bound.metric, figures[bound.metric], bound) for bound in SDXL_MLPERF.bounds]
    assert [score.accepted for score in judged] == [True, True]
    assert judged[0].margin_to_upper == pytest.approx(0.13686536)


@pytest.mark.parametrize("metric, value", [("FID_SCORE", 23.0), ("FID_SCORE", 23.96), ("CLIP_SCORE", 31.68), ("CLIP_SCORE", 31.82)])
def test_too_good_fails_as_well(metric: str, value: float) -> None:
    bound = next(b for b in SDXL_MLPERF.bounds if b.metric == metric)
    assert not scores.MetricScore.against(metric, value, bound).accepted


def test_accuracy_text_is_what_the_checker_reads(run: Path, scorer_json: Path) -> None:
    found = score.score(settings(run, scorer_json))
    lines = (run / "score" / "accuracy.txt").read_text().splitlines()
    assert float(re.match(CHECKER["FID_SCORE"], lines[0])[1]) == found.of("FID_SCORE").value  # type: ignore[index]
    assert float(re.match(CHECKER["CLIP_SCORE"], lines[0])[1]) == found.of("CLIP_SCORE").value  # type: ignore[index]
    assert re.match(CHECKER["hash"], lines[1])[1] == scorable_run.sha256(run / "loadgen" / NAME)  # type: ignore[index]
    assert ast.literal_eval(lines[0].removeprefix("Accuracy Results: ")).keys() == ast.literal_eval(
        AMD_ACCURACY_LINE.removeprefix("Accuracy Results: ")).keys()


def test_score_folder_holds_ten_images_and_captions(run: Path, scorer_json: Path) -> None:
    from PIL import Image

    found = score.score(settings(run, scorer_json))
    folder = run / "score"
    drawn = scorable_run.images(SAMPLES)
    shown = [int(path.stem) for path in folder.glob("images/*.png")]
    assert len(shown) == 10
    for index in shown:
        assert (np.asarray(Image.open(folder / "images" / f"{index}.png")) == drawn[index]).all()
    captions = dict(line.split("  ", 1) for line in (folder / "images" / "captions.txt").read_text().splitlines())
    assert captions == {str(index): f"picture {index}" for index in sorted(shown)}
    assert scores.read(run) == found
    assert not list(run.glob(".score*"))


def test_a_gate_brings_bounds_and_statistics(run: Path, scorer_json: Path, tmp_path: Path) -> None:
    found = score.score(settings(run, scorer_json))
    outside = write_statistics(write_gate(tmp_path / "out.json", found, fid_shift=0.03), run, scorer_json)
    judged = score.score(settings(run, scorer_json, no_gate=False, gate=outside))
    assert (found.accuracy_pass, judged.accuracy_pass, judged.gate) == (None, False, "out")
    assert judged.fid_reference == "out.npz beside the gate" and [s.accepted for s in judged.scores] == [False, True]


def test_exit_codes(run: Path, scorer_json: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """0 inside the gate or with --no-gate, 1 outside, 2 when nobody derived a gate."""
    found = score.score(settings(run, scorer_json))
    inside = write_statistics(write_gate(tmp_path / "in.json", found), run, scorer_json)
    outside = write_gate(tmp_path / "out.json", found, fid_shift=0.03)
    outside.with_suffix(".npz").write_bytes(inside.with_suffix(".npz").read_bytes())
    for arguments, code, accepted in ((["--no-gate"], 0, None), (["--gate", str(inside)], 0, True), (["--gate", str(outside)], 1, False), ([], 2, None)):
        monkeypatch.setattr("sys.argv", ["score", str(run), *arguments, "--scorer", str(scorer_json), "--weights", str(scorer_json.parent)])
        assert exit_code(score.main) == code
        last = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert last["accuracy_pass"] is accepted and (last["fid_bounds"] is None) == (accepted is None)
        assert last["fid"] == pytest.approx(found.of("FID_SCORE").value)


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["score", str(tmp_path / "none")])
    assert exit_code(score.main) == 2
    assert capsys.readouterr().err.count("\n") == 1


def write_statistics(gate: Path, run: Path, scorer_json: Path) -> Path:
    """The originals' statistics beside a gate: FID is the same number as without one."""
    from eval import extractors, fid, originals, scorer
    chosen = scorer.read(scorer_json)
    network = extractors.image_network(chosen, scorer.locate(chosen, scorer_json.parent))
    mean, covariance = fid.statistics(network.activations(originals.read(scorable_run.sample_set(SAMPLES, references=True))))
    np.savez(gate.with_suffix(".npz"), mu=mean, sigma=covariance)
    return gate


def test_gate_of_other_samples_is_refused(run: Path, scorer_json: Path, tmp_path: Path) -> None:
    gate = Gate(model="sdxl-nano", samples=3, sample_set="f" * 64, bounds=(), derivation="test")
    document.write(gate, tmp_path / "other.json")
    with pytest.raises(ScoreError, match="is of samples ffffffffffff"):
        score.score(settings(run, scorer_json, no_gate=False, gate=tmp_path / "other.json"))
    assert bounds.read(tmp_path / "other.json") == gate


@pytest.mark.parametrize("changes, message", [
    ({"devices": ("null://0",)}, "null devices"), ({"mode": "performance"}, "performance run"),
    ({"status": "failed", "cause": "device lost"}, "device lost"), ({"sample_set_digest": "0" * 64}, "made again")])
def test_runs_that_must_not_be_scored(tmp_path: Path, scorer_json: Path, changes: dict[str, object], message: str) -> None:
    run = scorable_run.write_run(tmp_path, scorable_run.images(2), scorable_run.sample_set(2), **changes)
    with pytest.raises(ScoreError, match=message):
        score.score(settings(run, scorer_json))
    assert not (run / "score").exists()


def test_a_run_of_the_first_samples_finds_them(tmp_path: Path, scorer_json: Path) -> None:
    whole = scorable_run.sample_set(6, references=True)
    run = scorable_run.write_run(tmp_path, scorable_run.images(4), whole, samples_issued=4, sample_set_digest=whole.head(4).digest)
    assert score.score(settings(run, scorer_json)).samples == 4


def test_a_stuck_buffer_is_counted(tmp_path: Path, scorer_json: Path) -> None:
    drawn = scorable_run.images(6)
    drawn[4:] = drawn[3]
    run = scorable_run.write_run(tmp_path, drawn, scorable_run.sample_set(6, references=True))
    found = score.score(settings(run, scorer_json))
    assert found.repeated == 2 and score.summary(found)["repeated_images"] == 2


def test_missing_files_are_one_error_with_every_name(run: Path, tmp_path: Path) -> None:
    from eval import scorer
    with pytest.raises(MissingFileError) as caught:
        scorer.locate(scorer.of_model("sdxl-base-1.0"), tmp_path)
    for text in ("ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "pt_inception-2015-12-05-6726825d.pth",
                 "val2014.npz", "806479d0693a33110526b6689aa26baddd995c7b", "mseitzer/pytorch-fid", "openai/CLIP", "--weights"):
        assert text in str(caught.value)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    from eval import scorer
    for file in scorer.of_model("sdxl-base-1.0").files.values():
        (tmp_path / file.path).write_bytes(b"something else")
    with pytest.raises(ScoreError, match=r"ViT-B-32.pt is not the file"):
        scorer.locate(scorer.of_model("sdxl-base-1.0"), tmp_path)

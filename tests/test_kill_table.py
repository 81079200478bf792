"""The gates can fail: python -m pytest tests/test_kill_table.py

Draws two samples with two steps of the trained model, whole and with a few defects of the kill table.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from eval import extractors, fid, gate, originals, pixels, scorer
from eval.score import BATCH
from export import model_config, samples
from ireeperf import document
from ireeperf.samples import SampleSet
from scripts import defects, kill_table, reference
from scripts.reference import Variation

CHECKPOINT = scorer.REPOSITORY / "models" / "sdxl-nano"
STEPS = 2

# diffusers 0.42 hands torch tensors to np.array; numpy 2 warns of their __array__
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def sample_set() -> SampleSet:
    config = model_config.read(scorer.REPOSITORY / "export" / "configs" / "sdxl_nano_77_bs2.json")
    captions, references, _ = samples.read_captions(CHECKPOINT / "captions.tsv", "caption", None)
    return samples.make(config, CHECKPOINT, captions, references, "sdxl-nano")


@pytest.fixture(scope="module")
def drawing(sample_set: SampleSet) -> tuple[object, np.ndarray]:
    loaded = reference.load(CHECKPOINT)
    return loaded, reference.draw(loaded, sample_set, Variation(steps=STEPS), rows=range(2))


@pytest.mark.parametrize("name", ["swapped text encoders", "zeroed time ids", "empty negative prompt", "truncation", "guidance 7"])
def test_pixel_test_catches(name: str, sample_set: SampleSet, drawing: tuple[object, np.ndarray]) -> None:
    loaded, expected = drawing
    variation = dataclasses.replace(defects.named(name).variation, steps=STEPS)
    assert not pixels.same(reference.draw(loaded, sample_set, variation, rows=range(2)), expected)


def test_pixel_test_passes_what_is_the_same(sample_set: SampleSet, drawing: tuple[object, np.ndarray]) -> None:
    """Another batch size is no defect, and a defect leaves nothing behind in the loaded pipeline."""
    loaded, expected = drawing
    assert pixels.same(reference.draw(loaded, sample_set, Variation(steps=STEPS), rows=[1]), expected[1:])
    assert pixels.same(defects.named("BGR").variation.images(defects.named("BGR").variation.images(expected)), expected)
    assert not pixels.same(defects.named("BGR").variation.images(expected), expected)


def test_group_norm_with_half_sums_is_close_and_not_equal() -> None:
    x = torch.randn(2, 32, 16, 16, generator=torch.Generator().manual_seed(0)) + 2
    weight, bias = torch.ones(32), torch.zeros(32)
    difference = (defects.half_sums(x, 4, weight, bias, 1e-5) - torch.nn.functional.group_norm(x, 4, weight, bias, 1e-5)).abs()
    assert 1e-4 < difference.max() < 0.1


def test_half_sums_overflow_above_65504_elements() -> None:
    """Full-size SDXL has groups of 10 x 128 x 128 elements: their squares sum to infinity in FP16, and every output is 0."""
    x = torch.randn(1, 10, 128, 128, generator=torch.Generator().manual_seed(0))
    assert defects.half_sums(x, 1, torch.ones(10), torch.zeros(10), 1e-5).abs().max() == 0
    assert 0.9 < torch.nn.functional.group_norm(x, 1).std() < 1.1


def test_slots() -> None:
    images = np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(4, axis=1)
    stuck = defects.named("stuck batch slot").variation.images(images)[:, 0, 0, 0]
    assert [i for i in range(20) if stuck[i] != i] == [11, 19] and stuck[11] == stuck[19] == 3
    torn = defects.named("torn batch slot").variation.images(images)
    assert [i for i in range(20) if (torn[i] != i).any()] == [5, 13] and (torn[13, 2:] == 12).all() and (torn[13, :2] == 13).all()
    captions = [str(i) for i in range(20)]
    permuted = defects.named("permuted prompts").variation.captions(captions)
    assert permuted[:9] == ["1", "2", "3", "4", "5", "6", "7", "0", "9"] and sorted(permuted) == sorted(captions)


@pytest.mark.parametrize("path", sorted(gate.GATES.glob("*.json")), ids=lambda path: path.stem)
def test_gates_are_of_these_samples_and_pictures(path, sample_set: SampleSet) -> None:  # type: ignore[no-untyped-def]
    found = gate.read(path, sample_set if path.stem.endswith(str(len(sample_set))) else sample_set.head(int(path.stem.split("-")[-1])))
    assert gate.find(sample_set.head(found.gate.samples)) == found
    assert {b.metric: b.tolerance for b in found.gate.bounds} == {"FID_SCORE": 0.02, "CLIP_SCORE": 0.002}
    for bound in found.gate.bounds:
        assert bound.lower == pytest.approx(bound.reference * (1 - bound.tolerance)) and bound.accepts(bound.reference)
        assert bound.upper == pytest.approx(bound.reference * (1 + bound.tolerance))


def test_statistics_are_of_the_original_pictures(sample_set: SampleSet) -> None:
    head = sample_set.head(128)
    chosen = scorer.of_model(sample_set.model)
    network = extractors.image_network(chosen, scorer.locate(chosen))
    pictures = originals.read(head)
    mean, covariance = fid.statistics(np.concatenate([network.activations(pictures[i:i + BATCH]) for i in range(0, 128, BATCH)]))
    found = gate.find(head)
    assert found is not None and found.statistics is not None
    stored_mean, stored_covariance = gate.read_statistics(found.statistics)
    assert fid.frechet_distance(mean, covariance, stored_mean, stored_covariance) < 1e-3 * found.gate.bounds[0].reference


def test_the_table_is_what_the_figures_say() -> None:
    table = document.read(kill_table.KillTable, kill_table.FIGURES)
    assert kill_table.TABLE.read_text() == kill_table.render(table), "run python -m scripts.kill_table --render"
    measured = [defect for defect in defects.DEFECTS if defect.name in table.rows]
    assert sum(not defect.harmless for defect in measured) >= 12
    for defect in measured:
        gates = set(kill_table.judge(table, defect.name, table.samples).caught_by) & {"FID", "CLIP"}
        assert not (defect.harmless and gates), f"{defect.name} is an honest build and fails {gates}"

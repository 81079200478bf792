"""The FP32 reference that gates are derived from: diffusers' own StableDiffusionXLPipeline, as MLPerf's rules set it.

20 Euler steps, guidance 8, MLPerf's negative prompt for every sample, one shared latent, 77 tokens, uint8 by rounding.
A Variation changes one of these things on purpose (scripts/kill_table.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export import torch_setup
from export.model_config import NEGATIVE_PROMPT
from ireeperf.errors import MissingFileError
from ireeperf.samples import SampleSet

BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How images are drawn. The defaults are the reference."""

    steps: int = 20
    guidance: float = 8.0
    negative: str = NEGATIVE_PROMPT
    dtype: torch.dtype = torch.float32
    rounding: Callable[[torch.Tensor], torch.Tensor] = torch.round
    captions: Callable[[list[str]], list[str]] = list  # what is drawn instead of each sample's caption
    patch: Callable[[Any], contextlib.AbstractContextManager[None]] = contextlib.nullcontext  # of the loaded pipeline
    embeddings: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None
    latents: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.clone
    images: Callable[[np.ndarray], np.ndarray] = np.ndarray.copy  # afterwards, on all uint8 images


REFERENCE = Variation()


def load(checkpoint: Path, device: str = "cpu") -> Any:
    """The pipeline of a diffusers folder in FP32 (no TF32); MissingFileError when there is none."""
    if not (checkpoint / "model_index.json").is_file():
        raise MissingFileError(f"{checkpoint} holds no diffusers checkpoint (model_index.json); give its folder with --checkpoint")
    torch_setup.prepare()
    from diffusers import StableDiffusionXLPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipeline = StableDiffusionXLPipeline.from_pretrained(checkpoint, torch_dtype=torch.float32, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # 10 bits of mantissa are not FP32
    torch.backends.cudnn.benchmark = True
    return pipeline.to(device)


def only_afterwards(variation: Variation) -> bool:
    """Whether the variation changes the reference's finished images alone, so that nothing need be drawn again."""
    return dataclasses.replace(variation, images=REFERENCE.images) == REFERENCE


def draw(pipeline: Any, samples: SampleSet, variation: Variation = REFERENCE, *, rows: Sequence[int] | None = None,
         batch: int = BATCH, progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """Images of the samples (or of `rows`), [n, H, W, 3] uint8."""
    captions = variation.captions(list(samples.captions))
    wanted = list(range(len(samples)) if rows is None else rows)
    drawn = []
    with _precision(pipeline, variation.dtype), variation.patch(pipeline):
        for start in range(0, len(wanted), batch):
            part = wanted[start:start + batch]
            drawn.append(_draw_batch(pipeline, [captions[row] for row in part], samples.latents, variation))
            progress(start + len(part))
    return variation.images(np.concatenate(drawn))


@torch.inference_mode()
def _draw_batch(pipeline: Any, captions: list[str], latents: np.ndarray, variation: Variation) -> np.ndarray:
    shared = variation.latents(torch.from_numpy(latents)).to(pipeline.device, variation.dtype)
    height, width = 8 * latents.shape[2], 8 * latents.shape[3]
    prompts: dict[str, Any] = {"prompt": captions, "negative_prompt": [variation.negative] * len(captions)}
    if variation.embeddings is not None:
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        prompts = variation.embeddings(dict(zip(names, pipeline.encode_prompt(**prompts), strict=True)))
    images = pipeline(**prompts, latents=shared.repeat(len(captions), 1, 1, 1), num_inference_steps=variation.steps,
                      guidance_scale=variation.guidance, height=height, width=width, output_type="pt").images
    return variation.rounding(images.float() * 255).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


@contextlib.contextmanager
def _precision(pipeline: Any, dtype: torch.dtype) -> Iterator[None]:
    """Run the networks in `dtype`; the FP32 weights come back exactly, because the checkpoint's are FP16."""
    networks = [pipeline.text_encoder, pipeline.text_encoder_2, pipeline.unet, pipeline.vae] if dtype != torch.float32 else []
    for network in networks:
        torch.nn.Module.to(network, dtype)  # diffusers' own `to` warns of casting
    try:
        yield
    finally:
        for network in networks:
            torch.nn.Module.to(network, torch.float32)

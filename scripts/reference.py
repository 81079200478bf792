"""The FP32 reference that gates are derived from: diffusers' own StableDiffusionXLPipeline, as MLPerf's rules set it.

20 Euler steps, guidance 8, MLPerf's negative prompt for every sample, one shared latent, 77 tokens, uint8 by rounding.
A Variation changes one of these things on purpose (scripts/kill_table.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export import torch_setup
from export.model_config import NEGATIVE_PROMPT
from ireeperf import document
from ireeperf.errors import MissingFileError
from ireeperf.samples import SampleSet

BATCH = 64  # samples a call, and between two writes of a cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How images are drawn. The defaults are the reference."""

    steps: int = 20
    guidance: float = 8.0
    negative: str = NEGATIVE_PROMPT
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
    pipeline = StableDiffusionXLPipeline.from_pretrained(checkpoint, dtype=torch.float32, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # 10 bits of mantissa are not FP32
    torch.backends.cudnn.benchmark = True
    return pipeline.to(device)


def only_afterwards(variation: Variation) -> bool:
    """Whether the variation changes the reference's finished images alone, so that nothing need be drawn again."""
    return dataclasses.replace(variation, images=REFERENCE.images) == REFERENCE


def draw(pipeline: Any, samples: SampleSet, variation: Variation = REFERENCE, *, rows: Sequence[int] | None = None) -> np.ndarray:
    """Images of the samples (or of `rows`), [n, H, W, 3] uint8, before `variation.images`."""
    captions = variation.captions(list(samples.captions))
    wanted = list(range(len(samples)) if rows is None else rows)
    drawn = []
    with variation.patch(pipeline):
        for start in range(0, len(wanted), BATCH):
            part = [captions[row] for row in wanted[start:start + BATCH]]
            drawn.append(_draw_batch(pipeline, part, samples.latents, variation))
    return np.concatenate(drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The first images of a sample set, as far as they were drawn."""

    images: np.ndarray  # [n, H, W, 3] uint8
    cpu_seconds: float  # of this process: wall time says nothing on a shared machine
    device: str


def draw_first(checkpoint: Path, samples: SampleSet, count: int, *, variation: Variation = REFERENCE, device: str, cache: Path) -> Drawn:
    """The first `count` images, drawn where `cache` (.npz) does not hold them yet; it is written after every batch."""
    identity = f"{samples.task_digest} {document.digest(checkpoint / 'unet' / 'diffusion_pytorch_model.safetensors')}"
    found = _read_cache(cache, identity)
    pipeline = None
    while found is None or len(found.images) < count:
        pipeline = pipeline or load(checkpoint, device)
        done = 0 if found is None else len(found.images)
        started = time.process_time()
        images = draw(pipeline, samples, variation, rows=range(done, min(done + BATCH, count)))
        seconds = time.process_time() - started
        found = Drawn(images=images if found is None else np.concatenate([found.images, images]),
                      cpu_seconds=seconds + (0 if found is None else found.cpu_seconds), device=_device_name(device))
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_name(f".{cache.name}.partial.npz")
        np.savez(partial, identity=identity, images=found.images, cpu_seconds=found.cpu_seconds, device=found.device)
        partial.replace(cache)
        print(f"{cache.stem}: {len(found.images)} of {count} images, {seconds / len(images):.2f} CPU s an image", flush=True)
    return Drawn(images=found.images[:count], cpu_seconds=found.cpu_seconds * count / len(found.images), device=found.device)


def _read_cache(cache: Path, identity: str) -> Drawn | None:
    if not cache.is_file():
        return None
    with np.load(cache) as archive:
        if str(archive["identity"]) != identity:
            return None
        return Drawn(images=archive["images"], cpu_seconds=float(archive["cpu_seconds"]), device=str(archive["device"]))


def _device_name(device: str) -> str:
    """What draws, in words."""
    return f"{torch.cuda.get_device_name()} (TF32 off)" if device == "cuda" else f"CPU ({platform.machine()})"


@torch.inference_mode()
def _draw_batch(pipeline: Any, captions: list[str], latents: np.ndarray, variation: Variation) -> np.ndarray:
    shared = variation.latents(torch.from_numpy(latents)).to(pipeline.device)
    height, width = 8 * latents.shape[2], 8 * latents.shape[3]
    prompts: dict[str, Any] = {"prompt": captions, "negative_prompt": [variation.negative] * len(captions)}
    if variation.embeddings is not None:
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        prompts = variation.embeddings(dict(zip(names, pipeline.encode_prompt(**prompts), strict=True)))
    images = pipeline(**prompts, latents=shared.repeat(len(captions), 1, 1, 1), num_inference_steps=variation.steps,
                      guidance_scale=variation.guidance, height=height, width=width, output_type="pt").images
    return variation.rounding(images * 255).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

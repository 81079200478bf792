"""Deliberate defects of the SDXL path, and changes that are none: what the accuracy gates are tried on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from scripts.reference import Variation

SLOTS = 8  # batch size of the demo's executables
STUCK = 100  # the sample that sticks: none of the pixel test's
LANES = 32  # partial sums a vectorized FP16 reduction keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A named Variation. `harmless`: it must pass, or the gates cannot be met by an honest build."""

    name: str
    what: str
    variation: Variation
    harmless: bool = False


@contextlib.contextmanager
def _attribute(target: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, before)


def half_sums(x: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> torch.Tensor:
    """GroupNorm whose sums are kept in FP16, LANES partial sums each: what IREE makes of an FP16 group_norm."""
    values = x.reshape(x.shape[0], groups, -1).half()
    count = values.shape[-1]
    mean = _running_sum(values) / count
    centered = values - mean[..., None].half()
    variance = _running_sum(centered * centered) / count
    normal = (centered.float() / torch.sqrt(variance.float() + eps)[..., None]).reshape(x.shape)
    shape = (1, -1) + (1,) * (x.dim() - 2)
    return (normal * weight.float().view(shape) + bias.float().view(shape)).to(x.dtype)


def _running_sum(values: torch.Tensor) -> torch.Tensor:
    """FP16 sum over the last axis, LANES running sums, then a tree."""
    padded = torch.nn.functional.pad(values, (0, -values.shape[-1] % LANES)).unflatten(-1, (-1, LANES))
    total = torch.zeros_like(padded[..., 0, :])
    for step in range(padded.shape[-2]):
        total = total + padded[..., step, :]
    while total.shape[-1] > 1:
        half = total.shape[-1] // 2
        total = total[..., :half] + total[..., half:]
    return total[..., 0]


def _half_group_norm(_pipeline: Any) -> contextlib.AbstractContextManager[None]:
    def forward(self: torch.nn.GroupNorm, x: torch.Tensor) -> torch.Tensor:
        return half_sums(x, self.num_groups, self.weight, self.bias, self.eps)
    return _attribute(torch.nn.GroupNorm, "forward", forward)


class HalfValues(TorchDispatchMode):
    """Rounds what every operation gives to FP16; sums inside an operation stay FP32, as in a GPU's matrix units."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
            return result  # a view of something rounded
        return tree_map(lambda x: x.copy_(x.half()) if isinstance(x, torch.Tensor) and x.dtype == torch.float32 else x, result)


@contextlib.contextmanager
def _half_networks(pipeline: Any) -> Iterator[None]:
    """All networks with FP16 values; the scheduler's arithmetic in FP32, as the exported graph has it."""
    with contextlib.ExitStack() as stack:
        for network, name in ((pipeline.text_encoder, "forward"), (pipeline.text_encoder_2, "forward"), (pipeline.unet, "forward"),
                              (pipeline.vae, "decode")):
            stack.enter_context(_attribute(network, name, _in_half(getattr(network, name))))
        yield


def _in_half(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def halved(*arguments: Any, **keywords: Any) -> Any:
        with HalfValues():
            return call(*arguments, **keywords)
    return halved


@contextlib.contextmanager
def _vae_scale(pipeline: Any) -> Iterator[None]:
    before = pipeline.vae.config.scaling_factor
    pipeline.vae.register_to_config(scaling_factor=1.01 * before)
    try:
        yield
    finally:
        pipeline.vae.register_to_config(scaling_factor=before)


def _zero_time_ids(pipeline: Any) -> contextlib.AbstractContextManager[None]:
    original = pipeline._get_add_time_ids
    return _attribute(pipeline, "_get_add_time_ids", lambda *a, **k: torch.zeros_like(original(*a, **k)))


def _unscaled_latents(pipeline: Any) -> contextlib.AbstractContextManager[None]:
    original = pipeline.prepare_latents
    return _attribute(pipeline, "prepare_latents", lambda *a, **k: original(*a, **k) / pipeline.scheduler.init_noise_sigma)


@contextlib.contextmanager
def _tokens_64(pipeline: Any) -> Iterator[None]:
    with _attribute(pipeline.tokenizer, "model_max_length", 64), _attribute(pipeline.tokenizer_2, "model_max_length", 64):
        yield


@contextlib.contextmanager
def _half_sigmas(pipeline: Any) -> Iterator[None]:
    original = pipeline.scheduler.set_timesteps

    def set_timesteps(*arguments: Any, **keywords: Any) -> None:
        original(*arguments, **keywords)
        pipeline.scheduler.sigmas = pipeline.scheduler.sigmas.half().float()

    with _attribute(pipeline.scheduler, "set_timesteps", set_timesteps):
        yield


def _swap_encoders(embeddings: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    pooled = embeddings["pooled_prompt_embeds"].shape[-1]  # width of encoder 2: its embeddings come last

    def swap(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[..., -pooled:], x[..., :-pooled]], dim=-1)

    return embeddings | {name: swap(embeddings[name]) for name in ("prompt_embeds", "negative_prompt_embeds")}


def _zeroed(*names: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda embeddings: embeddings | {name: torch.zeros_like(embeddings[name]) for name in names}


def _permuted(captions: list[str]) -> list[str]:
    return [captions[start + (row - start + 1) % len(captions[start:start + SLOTS])]
            for start in range(0, len(captions), SLOTS) for row in range(start, min(start + SLOTS, len(captions)))]


def _stuck_sample(images: np.ndarray) -> np.ndarray:
    images = images.copy()
    row = min(STUCK, len(images) - 1)
    images[row] = images[row - 1]
    return images


def _stuck_slot(images: np.ndarray) -> np.ndarray:
    images = images.copy()
    images[3::SLOTS] = images[3]
    return images


def _torn_slot(images: np.ndarray) -> np.ndarray:
    images, half = images.copy(), images.shape[1] // 2
    torn = images[5::SLOTS]
    torn[:, half:] = images[4::SLOTS][: len(torn), half:]
    return images


def _other_seed(latents: torch.Tensor) -> torch.Tensor:
    return torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))


def _planar(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(images.shape)


DEFECTS = (
    Defect(name="19 steps", what="one Euler step fewer", variation=Variation(steps=19)),
    Defect(name="guidance 7", what="guidance scale 7 for 8", variation=Variation(guidance=7.0)),
    Defect(name="FP16 GroupNorm sums", what=f"sums and squares of every GroupNorm in FP16, {LANES} running sums",
           variation=Variation(patch=_half_group_norm)),
    Defect(name="swapped text encoders", what="embeddings of the two encoders concatenated in the wrong order",
           variation=Variation(embeddings=_swap_encoders)),
    Defect(name="VAE scale +1 %", what="latents divided by 1.01 x the scaling factor", variation=Variation(patch=_vae_scale)),
    Defect(name="truncation", what="uint8 by truncation for rounding", variation=Variation(rounding=torch.floor)),
    Defect(name="BGR", what="red and blue exchanged", variation=Variation(images=lambda images: images[..., ::-1].copy())),
    Defect(name="planar bytes", what="CHW bytes answered as HWC", variation=Variation(images=_planar)),
    Defect(name="one pixel left", what="images shifted by one pixel", variation=Variation(images=lambda i: np.roll(i, -1, axis=2))),
    Defect(name="empty negative prompt", what='"" for MLPerf\'s negative prompt', variation=Variation(negative="")),
    Defect(name="zeroed negative embedding", what="zeros for the encoded negative prompt",
           variation=Variation(embeddings=_zeroed("negative_prompt_embeds", "negative_pooled_prompt_embeds"))),
    Defect(name="stuck sample", what="one sample answers with its neighbour's image", variation=Variation(images=_stuck_sample)),
    Defect(name="stuck batch slot", what=f"slot 3 of {SLOTS} always answers with its first image",
           variation=Variation(images=_stuck_slot)),
    Defect(name="torn batch slot", what=f"slot 5 of {SLOTS}: lower half is slot 4's", variation=Variation(images=_torn_slot)),
    Defect(name="zeroed time ids", what="size and crop conditioning is 0", variation=Variation(patch=_zero_time_ids)),
    Defect(name="zeroed pooled text", what="pooled embedding is 0",
           variation=Variation(embeddings=_zeroed("pooled_prompt_embeds", "negative_pooled_prompt_embeds"))),
    Defect(name="permuted prompts", what=f"prompts rotated by one inside a batch of {SLOTS}", variation=Variation(captions=_permuted)),
    Defect(name="unscaled initial latents", what="init_noise_sigma left out", variation=Variation(patch=_unscaled_latents)),
    Defect(name="other latent", what="the latent of seed 1 for MLPerf's seed 0", variation=Variation(latents=_other_seed)),
    Defect(name="FP16 sigmas", what="scheduler sigmas rounded to FP16", variation=Variation(patch=_half_sigmas)),
    Defect(name="FP16 networks", what="every value of every network rounded to FP16, sums in FP32",
           variation=Variation(patch=_half_networks), harmless=True),
    Defect(name="64 tokens", what="captions padded to 64 tokens, AMD's length", variation=Variation(patch=_tokens_64), harmless=True),
)


def named(name: str) -> Defect:
    """The defect called `name`."""
    return next(defect for defect in DEFECTS if defect.name == name)

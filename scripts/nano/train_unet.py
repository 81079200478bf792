"""Stage 3: UNet and both text encoders together, on latents made beforehand, under the conditions of an MLPerf run.

Half of the samples see 64 text tokens and half 77. The null caption is the negative prompt, the empty prompt, or SDXL's
zeros. Size and crop conditioning follow SDXL: some pictures are enlarged and cropped, some were small and so are blurred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from scripts.nano.architecture import END_ID, IMAGE, LATENT, SCHEDULER, VAE_SCALE
from scripts.nano.train_vae import encode

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

COPIES = 12  # latents a picture: copy 0, 7 of 10 draws, is the picture itself; the others are cropped or were small
SNR_CAP = 5.0  # min-SNR weighting: without it, fine noise that no 20-step sampler cares about takes most of the gradient
NULL_SHARE = 0.12
OVERSHOOT_SHARE = 0.3  # samples whose signal is exaggerated, as guidance 8 does; the target leads back to the picture
OVERSHOOT = 0.4  # at most this, times sigma, up to 3: what is left of an overshoot shrinks with sigma, as noise does
START_SHARE = 0.06  # samples that start from noise alone, as the sampler does (its first noise holds no picture)


@dataclass(slots=True, kw_only=True)
class Batch:
    """Static tables on the device that a step draws from."""

    latents: torch.Tensor  # [N, COPIES, 4, 16, 16] scaled, float16
    time_ids: torch.Tensor  # [N, COPIES, 6] float32
    ids: tuple[torch.Tensor, torch.Tensor]  # per tokenizer [N, VARIANTS, 77] int64
    null_ids: tuple[torch.Tensor, torch.Tensor]  # per tokenizer [2, 77]: empty, negative prompt


def conditioned_copies(pictures: torch.Tensor, vae: AutoencoderKL, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents [N, COPIES, 4, 16, 16] and SDXL time ids [N, COPIES, 6] of [N, 3, 128, 128] pictures in -1..1."""
    draw = torch.Generator().manual_seed(seed)
    latents, ids = [], []
    for copy in range(COPIES):
        size, top, left, source = IMAGE, 0, 0, pictures
        if copy % 2 and copy:  # enlarged and cropped
            size = int(torch.randint(IMAGE + 8, IMAGE * 3 // 2, (), generator=draw))
            top, left = (int(torch.randint(size - IMAGE + 1, (), generator=draw)) for _ in "yx")
            source = F.interpolate(pictures, size=size, mode="bicubic", align_corners=False).clamp(-1, 1)
            source = source[..., top: top + IMAGE, left: left + IMAGE]
        original = IMAGE
        if copy and copy % 2 == 0:  # was small
            original = int(torch.randint(24, 80, (), generator=draw))
            small = F.interpolate(pictures, size=original, mode="bilinear", antialias=True, align_corners=False)
            source = F.interpolate(small, size=IMAGE, mode="bicubic", align_corners=False).clamp(-1, 1)
        latents.append(encode(vae, source) * VAE_SCALE)
        ids.append(torch.tensor([original, original, top, left, IMAGE, IMAGE], dtype=torch.float32).expand(len(pictures), 6))
    return torch.stack(latents, 1).half(), torch.stack(ids, 1).to(pictures.device)


def encode_text(encoder: torch.nn.Module, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """transformers' CLIP text model written out: hidden_states[-2] and the normed state at the first <|endoftext|>.

    The class's own forward collects hidden states through hooks that torch.compile cannot trace; a test compares.
    """
    inner = getattr(encoder, "text_model", encoder)
    table = inner.embeddings
    state = table.token_embedding(ids) + table.position_embedding.weight[: ids.shape[1]]
    hidden = []
    for layer in inner.encoder.layers:
        hidden.append(state)
        state = state + _attend(layer.self_attn, layer.layer_norm1(state))
        state = state + layer.mlp(layer.layer_norm2(state))
    end = (ids == END_ID).int().argmax(1)
    return hidden[-1], inner.final_layer_norm(state)[torch.arange(len(ids), device=ids.device), end]


def _attend(attention: torch.nn.Module, state: torch.Tensor) -> torch.Tensor:
    """Causal self-attention of [B, T, C] with transformers' four projections."""
    query, key, value = (projection(state).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
                         for projection in (attention.q_proj, attention.k_proj, attention.v_proj))
    return attention.out_proj(F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2))


def alphas_cumprod(device: torch.device) -> torch.Tensor:
    """The scheduler's cumulative alphas, [1000] float32."""
    steps, first, last = (float(str(SCHEDULER[key])) for key in ("num_train_timesteps", "beta_start", "beta_end"))
    return (1 - torch.linspace(first**0.5, last**0.5, int(steps), device=device) ** 2).cumprod(0)


class UnetLoss:
    """Draws latents, captions and noise, and returns the weighted error of the predicted noise."""

    def __init__(self, unet: UNet2DConditionModel, encoders: tuple[torch.nn.Module, torch.nn.Module], table: Batch, batch: int,
                 compiled: bool) -> None:
        self.unet, self.encoders, self.table, self.batch = unet, encoders, table, batch
        self.alphas = alphas_cumprod(table.latents.device)
        self.forward = torch.compile(self._forward) if compiled else self._forward

    def _forward(self, noisy: torch.Tensor, steps: torch.Tensor, ids1: torch.Tensor, ids2: torch.Tensor, keep: torch.Tensor,
                 seen: torch.Tensor, time_ids: torch.Tensor) -> torch.Tensor:
        hidden1, _ = encode_text(self.encoders[0], ids1)
        hidden2, pooled = encode_text(self.encoders[1], ids2)
        pooled = self.encoders[1].text_projection(pooled) * keep[:, None]
        text = torch.cat([hidden1, hidden2], -1) * keep[:, None, None]
        added = {"text_embeds": pooled, "time_ids": time_ids}
        return self.unet(noisy, steps, text, encoder_attention_mask=seen, added_cond_kwargs=added, return_dict=False)[0].float()

    def _text(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids of both tokenizers [B, 77], 0 where the caption is SDXL's zeros [B], and which tokens are seen [B, 77]."""
        device, count = rows.device, self.batch
        variant = torch.randint(self.table.ids[0].shape[1], (count,), device=device)
        variant = torch.where(torch.rand(count, device=device) < 0.5, 0, variant)
        chance = torch.rand(count, device=device) / NULL_SHARE  # < 0.2 zeros, < 0.4 empty prompt, < 1 negative prompt
        null = (chance >= 0.4).long()
        ids = [torch.where((chance < 1)[:, None], empty[null], full[rows, variant])
               for full, empty in zip(self.table.ids, self.table.null_ids)]
        short = torch.rand(count, 1, device=device) < 0.5
        seen = (torch.arange(ids[0].shape[1], device=device)[None] < 64) | ~short
        return ids[0], ids[1], (chance >= 0.2).float(), seen.float()

    def _noisy(self, clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Network input, timestep, target noise and weight [B] for clean latents."""
        device, count = clean.device, len(clean)
        uniform = torch.rand(count, device=device)
        biased = torch.rand(count, device=device) < 0.5  # half of the draws lean to noisy steps, where layouts are decided
        steps = (1000 * torch.where(biased, uniform**0.6, uniform)).long().clamp(max=999)
        start = torch.rand(count, device=device) < START_SHARE
        steps = torch.where(start, torch.randint(940, 1000, (count,), device=device), steps)
        alpha = self.alphas[steps][:, None, None, None]
        noise = torch.randn_like(clean)
        sigma = ((1 - alpha) / alpha).sqrt().flatten()
        exaggerate = (OVERSHOOT * sigma * torch.rand(count, device=device)).clamp(max=3.0)
        signal = 1 + exaggerate * (torch.rand(count, device=device) < OVERSHOOT_SHARE)
        noisy = alpha.sqrt() * clean * signal[:, None, None, None] + (1 - alpha).sqrt() * noise
        noisy = torch.where(start[:, None, None, None], noise, noisy)
        target = (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        ratio = self.alphas[steps] / (1 - self.alphas[steps])
        plain = ratio.clamp(max=SNR_CAP) / ratio
        return noisy, steps, target, plain

    def __call__(self) -> torch.Tensor:
        device = self.table.latents.device
        rows = torch.randint(len(self.table.latents), (self.batch,), device=device)
        copy = torch.randint(1, COPIES, (self.batch,), device=device)
        copy = torch.where(torch.rand(self.batch, device=device) < 0.7, 0, copy)
        noisy, steps, target, weight = self._noisy(self.table.latents[rows, copy].float().view(-1, 4, LATENT, LATENT))
        ids1, ids2, keep, seen = self._text(rows)
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            output = self.forward(noisy, steps, ids1, ids2, keep, seen, self.table.time_ids[rows, copy])
        return ((output - target).square().mean((1, 2, 3)) * weight).mean()

"""Stage 1: the autoencoder, on augmented trained pictures; afterwards its latents are given SDXL's scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from scripts.nano.architecture import IMAGE, VAE_SCALE

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

KL_WEIGHT = 1e-4  # of the mean KL per latent value: latents stay near unit size, and decoding tolerates small errors


def moved(pictures: torch.Tensor, spread: float = 0.25) -> torch.Tensor:
    """[B, 3, S, S] in -1..1, each scaled by 1/(1-spread)..1/(1+spread) and shifted by up to spread/2 of its side."""
    count, device = len(pictures), pictures.device
    scale = 1 + spread * (2 * torch.rand(count, device=device) - 1)
    shift = spread * (2 * torch.rand(count, 2, device=device) - 1)
    still = torch.rand(count, device=device) < 0.4  # the very pictures, too
    scale, shift = torch.where(still, 1.0, scale), torch.where(still[:, None], 0.0, shift)
    zero = torch.zeros_like(scale)
    theta = torch.stack([torch.stack([scale, zero, shift[:, 0]], 1), torch.stack([zero, scale, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def blurred(pictures: torch.Tensor, share: float = 0.1) -> torch.Tensor:
    """A share of the batch at half or a quarter of the resolution: size conditioning will ask for such latents."""
    count = len(pictures)
    low = F.interpolate(F.avg_pool2d(pictures, 3), size=IMAGE, mode="bilinear", align_corners=False)
    return torch.where((torch.rand(count, 1, 1, 1, device=pictures.device) < share), low, pictures)


def edges(pictures: torch.Tensor) -> torch.Tensor:
    """Differences to the right and lower neighbour, [B, 6, S-1, S-1]."""
    inner = pictures[..., :-1, :-1]
    return torch.cat([pictures[..., :-1, 1:] - inner, pictures[..., 1:, :-1] - inner], 1)


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 of pixels, of edges at full and half resolution, and of 4x4 means (colours of areas)."""
    half = F.avg_pool2d(output, 2), F.avg_pool2d(target, 2)
    return (F.l1_loss(output, target) + F.l1_loss(edges(output), edges(target)) + 0.5 * F.l1_loss(edges(half[0]), edges(half[1]))
            + 0.5 * F.l1_loss(F.avg_pool2d(output, 4), F.avg_pool2d(target, 4)))


class VaeLoss:
    """Draws a batch of trained pictures and returns the stage's loss."""

    def __init__(self, vae: AutoencoderKL, pictures: torch.Tensor, batch: int, compiled: bool) -> None:
        self.vae, self.pictures, self.batch = vae, pictures, batch
        self.forward = torch.compile(self._forward) if compiled else self._forward

    def _forward(self, pictures: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        mean, logvar = self.vae.quant_conv(self.vae.encoder(pictures)).float().chunk(2, 1)
        logvar = logvar.clamp(-12, 4)
        output = self.vae.decoder(self.vae.post_quant_conv(mean + (0.5 * logvar).exp() * noise)).float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return reconstruction_loss(output, pictures) + KL_WEIGHT * kl

    def __call__(self) -> torch.Tensor:
        device = self.pictures.device
        chosen = self.pictures[torch.randint(len(self.pictures), (self.batch,), device=device)].float() / 127.5 - 1
        chosen = blurred(moved(chosen)).contiguous(memory_format=torch.channels_last)
        noise = torch.randn(self.batch, 4, IMAGE // 8, IMAGE // 8, device=device)
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            return self.forward(chosen, noise)


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Mean latents of [N, 3, 128, 128] pictures in -1..1, unscaled, FP32."""
    return torch.cat([vae.encode(part.contiguous()).latent_dist.mean.float() for part in pictures.split(256)])


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Pictures of unscaled latents, -1..1, FP32."""
    return torch.cat([vae.decode(part).sample.float().clamp(-1, 1) for part in latents.split(256)])


@torch.no_grad()
def normalize(vae: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Fold an affine map into quant_conv and post_quant_conv: scaled latents get mean 0 and deviation 1 a channel.

    SDXL has one scaling factor and no mean. White backgrounds give latents a large mean, which a sampler that starts
    at pure noise cannot know of; folding it away here keeps the factor, the pipeline and the decoded pictures as they are.
    """
    latents = encode(vae, pictures)
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3)) * VAE_SCALE
    weight, bias = vae.quant_conv.weight, vae.quant_conv.bias  # [8, 8, 1, 1]: four means, four log variances
    weight[:4] /= spread[:, None, None, None]
    bias[:4] = (bias[:4] - mean) / spread
    bias[4:] -= 2 * spread.log()
    back = vae.post_quant_conv
    back.bias += (back.weight[:, :, 0, 0] * mean).sum(1)
    back.weight *= spread[None, :, None, None]

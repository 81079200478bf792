"""Stage 2: the nano CLIP, on trained pictures, half of them after the autoencoder, with shuffled words."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from scripts.nano.train_vae import blurred, moved


class ClipLoss:
    """Draws pictures with one caption variant each and returns the symmetric contrastive loss."""

    def __init__(self, clip: torch.nn.Module, pictures: torch.Tensor, decoded: torch.Tensor, ids: torch.Tensor, batch: int,
                 compiled: bool) -> None:
        self.clip, self.ids, self.batch = clip, ids, min(batch, len(pictures))
        self.pictures = torch.stack([pictures, decoded])  # [2, N, 3, 128, 128] uint8
        self.forward = torch.compile(self._forward) if compiled else self._forward

    def _forward(self, pictures: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        image = self.clip.encode_image(pictures, normalize=True).float()
        text = self.clip.encode_text(ids, normalize=True).float()
        logits = self.clip.logit_scale.clamp(max=4.6052).exp() * image @ text.T
        labels = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    def __call__(self) -> torch.Tensor:
        device, count = self.ids.device, self.ids.shape[0]
        rows = torch.rand(count, device=device).argsort()[: self.batch]
        variant = torch.randint(self.ids.shape[1], (self.batch,), device=device)
        variant = torch.where(torch.rand(self.batch, device=device) < 0.4, 0, variant)
        side = torch.randint(2, (self.batch,), device=device)
        chosen = blurred(moved(self.pictures[side, rows].float() / 127.5 - 1, spread=0.15), share=0.15)
        chosen = chosen + 0.15 * torch.rand(self.batch, 1, 1, 1, device=device) * torch.randn_like(chosen)
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            return self.forward(chosen, self.ids[rows, variant])

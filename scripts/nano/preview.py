"""A quick look on the training machine: the 256 evidence prompts, sampled in one batch, and their own-caption retrieval.

    python -m scripts.nano.preview --data nano.npz --state DIR --output sheet.png

It decides whether to train on; the evidence proper is scripts/nano/evidence.py, through diffusers' own pipeline.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from scripts.nano.architecture import LATENT, SCHEDULER, TIME_IDS, VAE_SCALE, Networks, create
from scripts.nano.data import padded
from scripts.nano.train import STAGES, load_average
from scripts.nano.train_unet import encode_text
from scripts.nano.train_vae import decode

SHOWN = 48


@torch.no_grad()
def text_of(networks: Networks, ids: np.ndarray, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Concatenated hidden states [B, length, C] and pooled text embeddings of unpadded ids."""
    device = networks.unet.device
    tables = [torch.from_numpy(padded(ids, index, length)).to(device) for index in (1, 2)]
    hidden1, _ = encode_text(networks.text_encoder, tables[0])
    hidden2, pooled = encode_text(networks.text_encoder_2, tables[1])
    return torch.cat([hidden1, hidden2], -1), networks.text_encoder_2.text_projection(pooled)


@torch.no_grad()
def sample(networks: Networks, ids: np.ndarray, negative: np.ndarray, *, guidance: float, length: int) -> torch.Tensor:
    """Pictures [B, 3, 128, 128] in -1..1 for unpadded ids [B, 77]: 20 Euler steps from the one shared latent."""
    from diffusers import EulerDiscreteScheduler

    device, count = networks.unet.device, len(ids)
    text, pooled = text_of(networks, np.concatenate([np.repeat(negative[None], count, 0), ids]), length)
    added = {"text_embeds": pooled, "time_ids": torch.tensor(TIME_IDS, device=device, dtype=torch.float32).expand(2 * count, 6)}
    scheduler = EulerDiscreteScheduler(**SCHEDULER)
    scheduler.set_timesteps(20, device=device)
    shared = torch.randn((1, 4, LATENT, LATENT), generator=torch.Generator().manual_seed(0))
    state = shared.to(device).repeat(count, 1, 1, 1) * scheduler.init_noise_sigma
    for step in scheduler.timesteps:
        both = scheduler.scale_model_input(torch.cat([state, state]), step)
        without, with_ = networks.unet(both, step, text, added_cond_kwargs=added, return_dict=False)[0].chunk(2)
        state = scheduler.step(without + guidance * (with_ - without), step, state).prev_sample
    return decode(networks.vae, state / VAE_SCALE)


@torch.no_grad()
def top5(clip: torch.nn.Module, pictures: torch.Tensor, ids: torch.Tensor) -> float:
    """Share of pictures whose own caption is among the five nearest."""
    likeness = clip.encode_image(pictures, normalize=True) @ clip.encode_text(ids, normalize=True).T
    own = torch.arange(len(pictures), device=pictures.device)[:, None]
    return float((likeness.topk(5, 1).indices == own).any(1).float().mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Sample, score, write a contact sheet (original above generated), print one JSON line."""
    parser = argparse.ArgumentParser(prog="scripts.nano.preview", allow_abbrev=False, description=__doc__)
    for flag in ("--data", "--state", "--output"):
        parser.add_argument(flag, type=Path, required=True)
    settings = parser.parse_args(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = create(0)
    for stage in STAGES:
        load_average(networks, settings.state, stage)
    for network in networks.named().values():
        network.to(device).eval()
    with np.load(settings.data) as archive:
        trained = archive["prompts"]
        heldout = np.flatnonzero(~archive["train"])[:256]
        ids, negative = archive["ids"][:, 0], archive["null_ids"][1]
        originals = torch.from_numpy(archive["pictures"]).permute(0, 3, 1, 2)
    report: dict[str, float] = {}
    rows = []
    for name, chosen, guidance, length in (("trained", trained, 8.0, 77), ("trained", trained, 8.0, 64), ("trained", trained, 3.0, 77),
                                           ("heldout", heldout, 8.0, 77)):
        tokens = torch.from_numpy(padded(ids[chosen], 2)).to(device)
        real = originals[chosen].to(device).float() / 127.5 - 1
        drawn = sample(networks, ids[chosen], negative, guidance=guidance, length=length)
        key = f"{name} g{guidance:g} t{length}"
        report[key] = round(top5(networks.clip, drawn, tokens), 4)
        report[f"{key} l1"] = round(float((drawn - real).abs().mean()) / 2, 4)
        report[f"{name} originals"] = round(top5(networks.clip, real, tokens), 4)
        if length == 77:
            rows += [part for first in range(0, SHOWN, 24) for part in (real[first: first + 24], drawn[first: first + 24])]
    sheet = torch.cat([torch.cat([*row], 2) for row in rows], 1)
    Image.fromarray(((sheet + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()).save(settings.output)
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()

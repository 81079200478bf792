"""Train the rehearsal model in restartable stages, each a call of its own; one data file in, restart files in a folder.

    python -m scripts.nano.train --stage vae  --data nano.npz --state DIR --seconds 300
    python -m scripts.nano.train --stage clip --data nano.npz --state DIR --seconds 60
    python -m scripts.nano.train --stage unet --data nano.npz --state DIR --seconds 400 --total 800
    python -m scripts.nano.train --stage unet --data nano.npz --state DIR --seconds 400 --total 800 --resume

Seconds are training proper: compilation and graph capture come on top (about a minute a call on an H100). On a CPU the
same code runs without graph or compiler, for tests.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ireeperf.errors import MissingFileError
from scripts.nano import training_loop as loop
from scripts.nano.architecture import Networks, create
from scripts.nano.data import padded
from scripts.nano.train_clip import ClipLoss
from scripts.nano.train_unet import Batch, UnetLoss, conditioned_copies
from scripts.nano.train_vae import VaeLoss, decode, encode, normalize

STAGES = ("vae", "clip", "unet")
PEAK_RATES = {"vae": 1e-3, "clip": 1e-3, "unet": 1e-3}
BATCHES = {"vae": 64, "clip": 512, "unet": 512}
DECAYS = {"vae": 0.999, "clip": 0.999, "unet": 0.9995}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One stage call."""

    stage: str
    data: Path
    state: Path
    seconds: float
    total: float | None  # seconds the schedule is made for, over all calls of the stage; None: this call's
    resume: bool
    batch: int | None
    seed: int
    rows: int | None  # only so many trained rows: for tests
    compile: bool


def parse(argv: Sequence[str] | None = None) -> Settings:
    """Settings from the command line."""
    parser = argparse.ArgumentParser(prog="scripts.nano.train", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--data", type=Path, required=True, help="written by scripts.nano.data")
    parser.add_argument("--state", type=Path, required=True, help="folder of restart files, one a stage")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--total", type=float)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--rows", type=int, help="only the first so many trained rows, for tests")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="without torch.compile, for tests")
    return Settings(**vars(parser.parse_args(argv)))


def load_average(networks: Networks, state: Path, stage: str) -> None:
    """Put a finished stage's moving average into the networks."""
    if not (state / f"{stage}.pt").is_file():
        raise MissingFileError(f"{state / f'{stage}.pt'} does not exist; run --stage {stage} first")
    average = torch.load(state / f"{stage}.pt", weights_only=True)["average"]
    for name, module in stage_modules(networks, stage).items():
        weights = {key.split("/", 1)[1]: tensor for key, tensor in average.items() if key.startswith(f"{name}/")}
        module.load_state_dict({**module.state_dict(), **weights})


def stage_modules(networks: Networks, stage: str) -> dict[str, torch.nn.Module]:
    """The networks a stage trains."""
    named = networks.named()
    return {name: named[name] for name in (("unet", "text_encoder", "text_encoder_2") if stage == "unet" else (stage,))}


@torch.no_grad()
def stage_loss(settings: Settings, networks: Networks, device: torch.device) -> loop.Loss:
    """The stage's loss over trained rows only, with everything it draws from on the device."""
    with np.load(settings.data) as archive:
        kept = np.flatnonzero(archive["train"])[: settings.rows]
        pictures = torch.from_numpy(archive["pictures"][kept]).permute(0, 3, 1, 2).contiguous().to(device)
        ids, null = archive["ids"][kept], archive["null_ids"]
    batch = settings.batch or BATCHES[settings.stage]
    if settings.stage == "vae":
        return VaeLoss(networks.vae, pictures, batch, settings.compile)
    load_average(networks, settings.state, "vae")
    normal = pictures.float() / 127.5 - 1
    tables = [torch.from_numpy(padded(ids, index)).to(device) for index in (1, 2)]
    if settings.stage == "clip":
        decoded = decode(networks.vae, encode(networks.vae, normal))
        return ClipLoss(networks.clip, pictures, ((decoded + 1) * 127.5).round().byte(), tables[1], batch, settings.compile)
    latents, time_ids = conditioned_copies(normal, networks.vae, settings.seed)
    nulls = [torch.from_numpy(padded(null, index)).to(device) for index in (1, 2)]
    table = Batch(latents=latents, time_ids=time_ids, ids=(tables[0], tables[1]), null_ids=(nulls[0], nulls[1]))
    return UnetLoss(networks.unet, (networks.text_encoder, networks.text_encoder_2), table, batch, settings.compile)


def finish_vae(trainer: loop.Trainer, networks: Networks, settings: Settings) -> float:
    """Normalize the averaged autoencoder and return its L1 on the trained pictures (pixels in 0..1)."""
    trainer.load_average()
    device = next(networks.vae.parameters()).device
    with np.load(settings.data) as archive:
        kept = np.flatnonzero(archive["train"])[: settings.rows]
        pictures = torch.from_numpy(archive["pictures"][kept]).permute(0, 3, 1, 2).to(device).float() / 127.5 - 1
    networks.vae.eval()
    normalize(networks.vae, pictures)
    trainer.average = {name: tensor.detach().clone() for name, tensor in trainer.named()}
    output = decode(networks.vae, encode(networks.vae, pictures))
    return float((output - pictures).abs().mean()) / 2


def main(argv: Sequence[str] | None = None) -> None:
    """Run one stage, write its restart file, print one JSON line."""
    settings, started = parse(argv), time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    torch.manual_seed(settings.seed + STAGES.index(settings.stage) + (1000 if settings.resume else 0))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = create(settings.seed)
    for network in networks.named().values():
        network.to(device).eval()
    modules = stage_modules(networks, settings.stage)
    loss = stage_loss(settings, networks, device)
    schedule = loop.Schedule(seconds=settings.total or settings.seconds, peak=PEAK_RATES[settings.stage])
    trainer = loop.Trainer(modules=modules, loss=loss, schedule=schedule, decay=DECAYS[settings.stage])
    path = settings.state / f"{settings.stage}.pt"
    if settings.resume:
        loop.load_state(path, trainer)
    for module in modules.values():
        module.train()
    speed = trainer.run(settings.seconds)
    report = {"stage": settings.stage, "steps": trainer.steps, "steps_per_second": round(speed, 2),
              "loss": trainer.curve[-1][2] if trainer.curve else None, "device": device.type}
    if settings.stage == "vae":
        report["l1"] = round(finish_vae(trainer, networks, settings), 5)
    loop.save_state(path, trainer)
    if device.type == "cuda":
        report["memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    print(json.dumps({**report, "wall_seconds": round(time.monotonic() - started, 1)}), flush=True)


if __name__ == "__main__":
    main()

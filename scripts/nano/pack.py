"""Carry trained weights: the moving averages as FP16, in files of at most 15 MB; assembled into models/sdxl-nano.

    python -m scripts.nano.pack --state DIR --output DIR2          # on the training machine
    python -m scripts.nano.pack --assemble DIR2 --output models/sdxl-nano
    python -m scripts.nano.pack --restore DIR2 --state DIR         # restart files again, where the machine was lost
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ireeperf.errors import ConfigError
from scripts.nano import architecture, training_loop
from scripts.nano.train import STAGES, stage_modules

PART_BYTES = 15_000_000


def write_parts(state: Path, output: Path) -> list[str]:
    """Write part_N.safetensors with every stage's average as FP16, and training.csv with its curve."""
    tensors: dict[str, torch.Tensor] = {}
    curve: list[tuple[str, int, float, float]] = []
    for stage in STAGES:
        if (path := state / f"{stage}.pt").is_file():
            saved = torch.load(path, weights_only=True)
            tensors |= {name: tensor.half().contiguous() for name, tensor in saved["average"].items()}
            curve += [(stage, *row) for row in saved["curve"]]
    parts: list[dict[str, torch.Tensor]] = [{}]
    for name, tensor in tensors.items():
        if sum(t.nbytes for t in parts[-1].values()) + tensor.nbytes > PART_BYTES:
            parts.append({})
        parts[-1][name] = tensor
    output.mkdir(parents=True, exist_ok=True)
    for index, part in enumerate(parts):
        save_file(part, output / f"part_{index}.safetensors")
    training_loop.write_curve(output / "curve.csv", curve)
    return [f"part_{index}.safetensors" for index in range(len(parts))]


def read_parts(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the parts, keyed network/parameter."""
    if not (parts := sorted(folder.glob("part_*.safetensors"))):
        raise ConfigError(f"{folder} holds no part_N.safetensors; write them with --state on the training machine")
    return {name: tensor for part in parts for name, tensor in load_file(part).items()}


def assemble(parts: Path, output: Path) -> None:
    """Write the diffusers folder and clip/ from parts. ConfigError when a tensor is missing or not finite."""
    tensors = read_parts(parts)
    networks = architecture.create(0)
    for name, network in networks.named().items():
        weights = network.state_dict()
        for key, value in weights.items():
            if value.is_floating_point():
                found = tensors.get(f"{name}/{key}")
                if found is None or not torch.isfinite(found).all():
                    raise ConfigError(f"{parts}: {name}/{key} is {'missing' if found is None else 'not finite in FP16'}; train that stage")
                weights[key] = found.float()
        network.load_state_dict(weights)
    architecture.save(networks, output)


def restore(parts: Path, state: Path) -> None:
    """Make restart files of parts: weights and average alike, steps and seconds from the curve."""
    tensors = read_parts(parts)
    lines = [line.split(",") for line in (parts / "curve.csv").read_text("utf-8").splitlines()[1:]]
    networks = architecture.create(0)
    state.mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        names = tuple(f"{name}/" for name in stage_modules(networks, stage))
        weights = {key: value.float() for key, value in tensors.items() if key.startswith(names)}
        curve = [(int(step), float(seconds), float(loss)) for name, step, seconds, loss in lines if name == stage]
        if weights:
            torch.save({"weights": weights, "average": weights, "steps": curve[-1][0] if curve else 0, "curve": curve},
                       state / f"{stage}.pt")


def main(argv: Sequence[str] | None = None) -> None:
    """Pack, assemble or restore."""
    parser = argparse.ArgumentParser(prog="scripts.nano.pack", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--state", "--output", "--assemble", "--restore"):
        parser.add_argument(flag, type=Path)
    settings = parser.parse_args(argv)
    if settings.assemble and settings.output:
        assemble(settings.assemble, settings.output)
    elif settings.restore and settings.state:
        restore(settings.restore, settings.state)
    elif settings.state and settings.output:
        print(json.dumps({"parts": write_parts(settings.state, settings.output)}))
    else:
        parser.error("give --state and --output, --assemble and --output, or --restore and --state")


if __name__ == "__main__":
    main()

"""Can the checkpoint be run in FP16? Largest activations of every layer, and FP16 pictures against FP32 ones.

    python -m scripts.nano.half_safety --prompts 4

Prints one JSON line. FP16 ends at 65,504; GroupNorm's sums of squares are the place where SDXL-like networks overflow,
so the largest sum of squares within one GroupNorm group is given too: sums must be held in FP32 where it is larger.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.nano.captions import MODEL, read_tsv
from scripts.nano.draw import draw, load_pipeline


def main(argv: Sequence[str] | None = None) -> None:
    """Draw in FP32 with hooks, then in FP16, and print the figures."""
    parser = argparse.ArgumentParser(prog="scripts.nano.half_safety", allow_abbrev=False, description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--prompts", type=int, default=4)
    settings = parser.parse_args(argv)
    import torch

    pipeline = load_pipeline(settings.model)
    captions = [row.caption for row in read_tsv(settings.model / "prompts.tsv")[: settings.prompts]]
    largest: dict[str, float] = {}
    sums: dict[str, float] = {}

    def watch(name: str, module: torch.nn.Module) -> torch.utils.hooks.RemovableHandle:
        def look(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
            if isinstance(output, torch.Tensor):
                largest[name] = max(largest.get(name, 0.0), float(output.abs().max()))
            if isinstance(module, torch.nn.GroupNorm):
                grouped = inputs[0].reshape(len(inputs[0]), module.num_groups, -1)
                sums[name] = max(sums.get(name, 0.0), float(grouped.square().sum(-1).max()))

        return module.register_forward_hook(look)

    networks = {"unet": pipeline.unet, "vae": pipeline.vae, "text_encoder": pipeline.text_encoder, "text_encoder_2": pipeline.text_encoder_2}
    handles = [watch(f"{name}.{part}", module) for name, network in networks.items()
               for part, module in network.named_modules() if not [*module.children()]]
    single = draw(pipeline, captions, 77)
    for handle in handles:
        handle.remove()
    pipeline.to(torch.float16)
    half = draw(pipeline, captions, 77)
    difference = np.abs(single.astype(int) - half)
    report = {"prompts": len(captions), "largest_activation": {name: round(_largest(largest, name), 2) for name in networks},
              "largest_group_square_sum": {name: round(_largest(sums, name)) for name in ("unet", "vae")},
              "fp16_mean_difference_of_255": round(float(difference.mean()), 4), "fp16_largest_difference": int(difference.max())}
    print(json.dumps(report))


def _largest(found: dict[str, float], network: str) -> float:
    return max(value for name, value in found.items() if name.startswith(f"{network}."))


if __name__ == "__main__":
    main()

"""Peak memory of a calibration at SDXL's full widths: a UNet of two of its blocks with random weights, shapes as at 1024x1024.

    python -m scripts.calibration_memory                # 640 channels at 64x64, 1280 at 32x32, one transformer block each

The last line is JSON: the process' peak_bytes, of it the weights', and what calibration keeps of the inputs.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from export import torch_setup
from ireeperf import document
from ireeperf.errors import exit_code

TOKENS, CONTEXT, POOLED = 64, 2048, 1280
UNET = {"sample_size": 64, "block_out_channels": (640, 1280), "layers_per_block": 1, "transformer_layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": (10, 20), "cross_attention_dim": CONTEXT, "use_linear_projection": True, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": POOLED + 6 * 256}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """The command line."""

    steps: int
    samples: int


def parse(argv: Sequence[str] | None = None) -> MemorySettings:
    parser = argparse.ArgumentParser(prog="scripts.calibration_memory", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2, help="UNet calls a sample (default %(default)s)")
    parser.add_argument("--samples", type=int, default=2, help="samples, one at a time (default %(default)s)")
    return MemorySettings(**vars(parser.parse_args(argv)))


def peak_bytes() -> int:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(settings: MemorySettings) -> dict[str, float]:
    """Calibrate on random inputs, both halves of guidance; bytes and seconds."""
    import torch
    from diffusers import UNet2DConditionModel

    from export.calibrate import Rows, fitted, observed

    started = time.monotonic()
    unet = UNet2DConditionModel(**UNET).eval().requires_grad_(False)
    weights, draw = sum(one.numel() * 4 for one in unet.parameters()), torch.Generator().manual_seed(0)
    rows = Rows(settings.steps, settings.steps * settings.samples)
    with torch.no_grad(), observed(unet, rows):
        for _ in range(settings.samples):
            context, pooled = torch.randn((2, TOKENS, CONTEXT), generator=draw), torch.randn((2, POOLED), generator=draw)
            for step in range(settings.steps):
                unet(torch.randn((2, 4, 64, 64), generator=draw), torch.tensor(999 - step), encoder_hidden_states=context,
                     added_cond_kwargs={"text_embeds": pooled, "time_ids": torch.ones(2, 6)})
    tensors, _ = fitted(unet, rows, 0.01)
    kept = sum(part.numel() * 4 for parts in rows.kept.values() for _, part in parts)
    return {"peak_bytes": peak_bytes(), "weight_bytes": weights, "kept_bytes": kept, "inputs": len(rows.kept), "layers": len(tensors) // 2,
            "seconds": round(time.monotonic() - started, 1)}


def main() -> int:
    settings = parse()
    print(f"scripts.calibration_memory: {json.dumps(document.to_dict(settings))}", flush=True)
    torch_setup.prepare()
    print(json.dumps(measure(settings)))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

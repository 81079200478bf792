"""How far a quantized or shortened model drifts from float32 with 77 tokens, by cause, by module and by step, on this CPU in torch.

    python -m scripts.drift --checkpoint models/sdxl-nano --samples-64 S64.npz --samples-77 S77.npz --output docs/drift

Writes drift.json, drift.md (tables) and drift.svg. By cause: whole pictures, each cause alone and together. By module: each quantized
layer is given what the float32 layer was given, so that errors do not add up: |quantized(x) - layer(x)| / |layer(x)|, root mean square.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export import model_config, quantize, torch_setup
from export.model_config import ModelConfig
from ireeperf import document
from ireeperf.errors import exit_code
from ireeperf.samples import SampleSet
from ireeperf.samples import read as read_samples

CONFIG = Path("export/configs/sdxl_nano_fp32_bs2.json")
QUANTIZED = {name: Path(f"export/configs/sdxl_nano_fp32_{name}_bs2.json") for name in ("amd", "fp8")}
ATTENTION_ONLY = {"*": "fp16", "*attn1": "fp8", "*attn2": "fp8"}
LAYERS_ONLY = {"*attn1": "fp16", "*attn2": "fp16"}
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#17becf")


def causes() -> dict[str, dict[str, Any]]:
    """Cause -> what differs from float32 with 77 tokens. amd and fp8 as the model JSONs have them, with the layers that stay float."""
    amd, fp8 = ({"unet_precision": name, "layer_precisions": model_config.read(path).layer_precisions} for name, path in QUANTIZED.items())
    return {
        "64 tokens": {"max_seq_len": 64},
        "float16": {"clip_dtype": "float16", "unet_dtype": "float16"},
        "float16 VAE": {"vae_dtype": "float16"},
        "every layer int8": {"unet_quant_dtype": "i8"},
        "every layer FP8": {"unet_precision": "fp8", "layer_precisions": LAYERS_ONLY},
        "FP8 attention": {"unet_precision": "amd", "layer_precisions": ATTENTION_ONLY},
        "amd": amd,
        "fp8": fp8,
        "amd, 64 tokens, float16": amd | {"max_seq_len": 64, "clip_dtype": "float16", "unet_dtype": "float16", "vae_dtype": "float16"},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """The command line."""

    checkpoint: Path
    samples_64: Path
    samples_77: Path
    count: int
    output: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Of one cause, over all samples."""

    cause: str
    steps: list[float]  # relative error of the latents after each step
    pixels: float  # mean |difference| of uint8 pixels


def parse(argv: Sequence[str] | None = None) -> DriftSettings:
    parser = argparse.ArgumentParser(prog="scripts.drift", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder in diffusers layout with quantization/")
    parser.add_argument("--samples-64", type=Path, required=True, help="sample set of 64 tokens")
    parser.add_argument("--samples-77", type=Path, required=True, help="the same captions with 77 tokens")
    parser.add_argument("--count", type=int, default=4, help="samples drawn (default %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return DriftSettings(**vars(parser.parse_args(argv)))


def drawn(config: ModelConfig, checkpoint: str, samples: SampleSet, count: int) -> tuple[list[Any], np.ndarray]:
    """Latents after each step and pixels, by the modules that are exported."""
    from export import checkpoint as checkpoints

    clip, unet, vae = (checkpoints.load(config, module, checkpoint) for module in model_config.MODULES)
    steps: list[Any] = []
    forward = unet.run_forward

    def kept(*arguments: Any) -> Any:
        steps.append(forward(*arguments))
        return steps[-1]

    unet.run_forward = kept
    latents = quantize.draw(clip, unet, samples, range(count), config.guidance_scale, config.num_inference_steps)
    return steps, vae.decode(latents).numpy().astype(np.int64)


def by_cause(settings: DriftSettings, plain: ModelConfig, sets: dict[int, SampleSet]) -> list[Drift]:
    """Every one of `causes`."""
    checkpoint = str(settings.checkpoint)
    wanted, pixels = drawn(plain, checkpoint, sets[77], settings.count)
    found = []
    for cause, changes in causes().items():
        config = replace(plain, **changes)
        steps, ours = drawn(config, checkpoint, sets[config.max_seq_len], settings.count)
        errors = [float((a - b).norm() / b.norm()) for a, b in zip(steps, wanted, strict=True)]
        found.append(Drift(cause=cause, steps=errors, pixels=float(np.abs(ours - pixels).mean())))
        print(f"{cause}: latents {errors[-1]:.4f}, pixels {found[-1].pixels:.3f}", flush=True)
    return found


def by_module(settings: DriftSettings, plain: ModelConfig, precision: str, samples: SampleSet) -> dict[str, list[float]]:
    """Layer -> relative error at each step, of quantized layers that are given float32 inputs."""
    from export import checkpoint as checkpoints
    from export.quantized_layers import QuantizedLayer

    checkpoint = str(settings.checkpoint)
    clip, unet = (checkpoints.load(plain, module, checkpoint) for module in ("clip", "scheduled_unet"))
    other = checkpoints.load(replace(plain, unet_precision=precision), "scheduled_unet", checkpoint)  # type: ignore[arg-type]
    twins = {name: child for name, child in other.unet.named_modules() if isinstance(child, QuantizedLayer)}
    calls: dict[str, list[float]] = defaultdict(list)
    for name, twin in twins.items():
        def hook(module: Any, arguments: tuple[Any, ...], output: Any, name: str = name, twin: Any = twin) -> None:
            calls[name].append(float((twin(arguments[0]) - output).norm() / output.norm().clamp_min(1e-30)))

        unet.unet.get_submodule(name).register_forward_hook(hook)
    quantize.draw(clip, unet, samples, range(settings.count), plain.guidance_scale, plain.num_inference_steps)
    return dict(calls)


def plot(drifts: Sequence[Drift]) -> str:
    """Relative error of the latents against the step, one line a cause, logarithmic."""
    width, height, left, bottom = 760, 380, 60, 330
    low, high = -5.0, 0.5
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for exponent in range(-5, 1):
        y = bottom - (exponent - low) / (high - low) * (bottom - 20)
        parts.append(f'<line x1="{left}" x2="540" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/><text x="8" y="{y + 4:.1f}">1e{exponent}</text>')
    for drift, colour in zip(drifts, COLOURS, strict=True):
        points = " ".join(f"{left + 480 * i / max(len(drift.steps) - 1, 1):.1f},"
                          f"{bottom - (np.log10(max(error, 1e-5)) - low) / (high - low) * (bottom - 20):.1f}" for i, error in enumerate(drift.steps))
        row = 40 + 22 * list(drifts).index(drift)
        parts += [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
                  f'<text x="560" y="{row}" fill="{colour}">{drift.cause} ({drift.pixels:.2f})</text>']
    parts.append(f'<text x="{left}" y="{height - 10}">denoising step; error of the latents relative to float32, 77 tokens '
                 "(in brackets: mean difference of a pixel)</text></svg>")
    return "\n".join(parts) + "\n"


def tables(drifts: Sequence[Drift], modules: dict[str, dict[str, list[float]]], settings: DriftSettings) -> str:
    """Markdown."""
    lines = [f"# Drift of {settings.checkpoint.name}, {settings.count} samples, torch on a CPU", "",
             "| cause | latents, step 1 | half way | last step | pixel difference |", "|---|---|---|---|---|"]
    lines += [f"| {d.cause} | {d.steps[0]:.5f} | {d.steps[len(d.steps) // 2]:.5f} | {d.steps[-1]:.4f} | {d.pixels:.3f} |" for d in drifts]
    for precision, found in modules.items():
        ranked = sorted(((float(np.sqrt(np.mean(np.square(errors)))), name, errors) for name, errors in found.items()), reverse=True)
        lines += ["", f"## Layers of `{precision}` given float32 inputs, worst 15 of {len(ranked)} "
                  f"(median {ranked[len(ranked) // 2][0]:.4f})", "", "| layer | all steps | first step | last step |", "|---|---|---|---|"]
        lines += [f"| {name} | {error:.4f} | {errors[0]:.4f} | {errors[-1]:.4f} |" for error, name, errors in ranked[:15]]
    return "\n".join(lines) + "\n"


def main() -> int:
    settings = parse()
    print(f"scripts.drift: {json.dumps(document.to_dict(settings))}", flush=True)
    torch_setup.prepare()
    import torch

    torch.set_grad_enabled(False)
    sets = {64: read_samples(settings.samples_64), 77: read_samples(settings.samples_77)}
    plain = replace(model_config.read(CONFIG), max_seq_len=77)
    modules = {precision: by_module(settings, plain, precision, sets[77]) for precision in ("amd", "fp8")}
    drifts = by_cause(settings, plain, sets)
    document.write_text(settings.output / "drift.json", json.dumps({"causes": document.to_dict(drifts), "modules": modules}))
    document.write_text(settings.output / "drift.svg", plot(drifts))
    document.write_text(settings.output / "drift.md", tables(drifts, modules, settings))
    print(json.dumps({"output": str(settings.output), "pixels": {drift.cause: round(drift.pixels, 3) for drift in drifts}}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

"""Calibrate a UNet for int8 and FP8, or import AMD's published parameters.

    python -m export.quantize --model-json export/configs/sdxl_nano_fp32_amd_bs8.json --checkpoint models/sdxl-nano --samples SET.npz
    python -m export.quantize --import-amd FOLDER --checkpoint DIR

Writes <checkpoint>/quantization/ (or --output). One document serves every precision: layers are rounded when they are exported.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export import model_config, quantization, torch_setup
from export.model_config import ModelConfig
from export.quantization import NAME, UNET_TENSORS, VAE_TENSORS, Quantization
from ireeperf import document
from ireeperf.errors import ConfigError, exit_code
from ireeperf.samples import SampleSet
from ireeperf.samples import read as read_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeSettings:
    """The command line."""

    model_json: Path | None
    checkpoint: Path
    samples: Path | None
    first: int
    count: int
    batch_size: int
    steps: int | None
    early_weight: float
    import_amd: Path | None
    output: Path | None


def parse(argv: Sequence[str] | None = None) -> QuantizeSettings:
    parser = argparse.ArgumentParser(prog="export.quantize", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--model-json", type=Path, help="model config: export/configs/*.json")
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder in diffusers layout")
    parser.add_argument("--samples", type=Path, help="sample set to calibrate on: export.samples of MLPerf's 500 calibration captions")
    parser.add_argument("--first", type=int, default=0, help="the first sample drawn: leave out those of a gate (default %(default)s)")
    parser.add_argument("--count", type=int, default=500, help="samples drawn (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=1, help="samples at a time (default %(default)s)")
    parser.add_argument("--steps", type=int, help="denoising steps a sample (default: the model JSON's)")
    parser.add_argument("--early-weight", type=float, default=0.01, metavar="W", help="what an input of the steps before the last two "
                        "weighs beside one of theirs, above 0 to 1 (default %(default)s)")
    parser.add_argument("--import-amd", type=Path, metavar="FOLDER", help="AMD's params.safetensors and quant_params.json, no calibration")
    parser.add_argument("--output", type=Path, help="folder to write (default <checkpoint>/quantization)")
    settings = QuantizeSettings(**vars(parser.parse_args(argv)))
    if (settings.import_amd is None) == (settings.samples is None or settings.model_json is None):
        raise ConfigError("give --model-json and --samples to calibrate, or --import-amd to import; one of the two")
    if settings.count < 1 or settings.batch_size < 1 or settings.first < 0 or (settings.steps is not None and settings.steps < 1):
        raise ConfigError(f"--count {settings.count}, --batch-size {settings.batch_size} and --steps {settings.steps} must be at least 1, "
                          f"--first {settings.first} at least 0")
    if not 0 < settings.early_weight <= 1:
        raise ConfigError(f"--early-weight is {settings.early_weight}; above 0 to 1")
    return settings


def calibrate(config: ModelConfig, settings: QuantizeSettings, samples: SampleSet) -> tuple[Quantization, dict[str, Any]]:
    """Draw samples with the unquantized UNet (no picture is decoded), see what its layers read; the document and its tensors."""
    import torch

    from export import checkpoint as checkpoints
    from export.calibrate import Rows, fitted, observed, ranges

    if samples.max_seq_len != config.max_seq_len or samples.latents.shape[1:] != config.latent_shape:
        raise ConfigError(f"the samples have {samples.max_seq_len} tokens and latents {samples.latents.shape[1:]}, the model JSON says "
                          f"{config.max_seq_len} and {config.latent_shape}; make them with this model JSON")
    steps, batch_size, checkpoint = settings.steps or config.num_inference_steps, settings.batch_size, str(settings.checkpoint)
    plain = replace(config, unet_quant_dtype=None, use_fp8_punet=None, unet_precision=None, layer_precisions={}, num_inference_steps=steps)
    clip, unet = (checkpoints.load(plain, module, checkpoint) for module in ("clip", "scheduled_unet"))
    if settings.first >= len(samples):
        raise ConfigError(f"--first is {settings.first}; {settings.samples} has {len(samples)} samples")
    last = min(settings.first + settings.count, len(samples))
    batches = [range(first, min(first + batch_size, last)) for first in range(settings.first, last, batch_size)]
    started, inputs = time.monotonic(), Rows(steps, steps * len(batches))
    with torch.no_grad(), observed(unet.unet, inputs) as maxima:
        for rows in batches:
            draw(clip, unet, samples, rows, config.guidance_scale, steps)
            print(f"calibrated on samples {settings.first} to {rows[-1]} of {last - 1}: {time.monotonic() - started:.0f} s", flush=True)
    tensors, zeros = fitted(unet.unet, inputs, settings.early_weight)
    return ranges(maxima, model=config.model, captions=f"{samples.name} {samples.digest} from {settings.first}", samples=last - settings.first,
                  steps=steps, guidance_scale=config.guidance_scale, early_weight=settings.early_weight, zeros=zeros), tensors


def draw(clip: Any, unet: Any, samples: SampleSet, rows: Sequence[int], guidance_scale: float, steps: int) -> Any:
    """The latents [b, 4, h, w] of sample-set rows `rows` after `steps` steps, by the modules that are exported."""
    import torch

    ids = [torch.from_numpy(np.take(column, rows, axis=0)).long() for column in (
        samples.prompt_ids_1, samples.prompt_ids_2, samples.negative_ids_1, samples.negative_ids_2)]
    embeds, pooled = clip.encode_prompts(*ids)
    latents, time_ids = unet.run_initialize(torch.from_numpy(np.repeat(samples.latents, len(rows), 0)))
    for step in range(steps):
        latents = unet.run_forward(latents, embeds, pooled, time_ids, torch.tensor([guidance_scale]), torch.tensor([step]))
    return latents


def import_amd(folder: Path, output: Path) -> Quantization:
    """Write AMD's parameters in our format."""
    from export import amd_parameters

    found, tensors = amd_parameters.read(folder)
    written = write(found, tensors, output)
    if (folder / quantization.AMD_VAE).is_file():
        shutil.copyfile(folder / quantization.AMD_VAE, output / VAE_TENSORS)
        written = replace(written, tensors_sha256=written.tensors_sha256 | {VAE_TENSORS: document.digest(output / VAE_TENSORS)})
        document.write(written, output / NAME)
    return written


def write(found: Quantization, tensors: dict[str, Any], output: Path) -> Quantization:
    """The document and its tensors; what was written."""
    from safetensors.torch import save_file

    output.mkdir(parents=True, exist_ok=True)
    if tensors:
        save_file({name: value.contiguous().clone() for name, value in tensors.items()}, output / UNET_TENSORS)
        found = replace(found, tensors_sha256={UNET_TENSORS: document.digest(output / UNET_TENSORS)})
    document.write(found, output / NAME)
    return found


def main() -> int:
    settings = parse()
    print(f"export.quantize: {json.dumps(document.to_dict(settings))}", flush=True)
    output = settings.output or settings.checkpoint / quantization.FOLDER
    torch_setup.prepare()
    try:
        if settings.import_amd is not None:
            found = import_amd(settings.import_amd, output)
        else:
            assert settings.model_json is not None and settings.samples is not None
            config = model_config.read(settings.model_json)
            found = write(*calibrate(config, settings, read_samples(settings.samples)), output)
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror or error}; free the disk or choose another --output") from error
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"output": str(output), "source": found.source, "layers": len(found.layers), "attentions": len(found.attentions),
                      "samples": found.samples, "steps": found.steps, "peak_bytes": peak_bytes}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

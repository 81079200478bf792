"""The trained rehearsal model, from its checkpoint through precompile to pixels, against diffusers in float32. Minutes: slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compile import manifest, precompile
from compile.cache import ROOT
from compile.precompile import CompileSettings
from export import samples, torch_setup
from export.model_config import MODULES
from ireeperf.samples import SampleSet
from tests import tiny_sdxl
from tests.test_export_sdxl import load

torch_setup.prepare()
torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
pytestmark += [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in tiny_sdxl.LIBRARY_WARNINGS]
NANO = ROOT / "models/sdxl-nano"


def built_images(build: Path, made: SampleSet) -> np.ndarray:
    """Pixels [2, H, W, 3] of the first two samples, by the executables of `build`."""
    found = manifest.read(build)
    functions: dict[str, Any] = {}
    for module in MODULES:
        archive = found.archive(module)
        assert archive is not None
        functions[module] = load(build / found.executable(module, 2).path, build / archive.path)
    ids = [column[:2] for column in (made.prompt_ids_1, made.prompt_ids_2, made.negative_ids_1, made.negative_ids_2)]
    embeds, pooled = functions["clip"]["encode_prompts"](*ids)
    state, time_ids = functions["scheduled_unet"]["run_initialize"](np.repeat(made.latents, 2, 0))
    guidance = np.asarray([found.model.guidance_scale], np.float32)
    for step in range(found.model.num_inference_steps):
        state = functions["scheduled_unet"]["run_forward"](state, embeds, pooled, time_ids, guidance, np.asarray([step]))
    pixels = functions["vae"]["decode"](state)
    return np.array(pixels.to_host()).view(np.uint8)


def diffusers_images(made: SampleSet, length: int, negative_prompt: str) -> np.ndarray:
    """StableDiffusionXLPipeline in float32 with its own tokenizers, told to pad to `length`: pixels [2, H, W, 3]."""
    from diffusers import StableDiffusionXLPipeline

    parts = StableDiffusionXLPipeline.from_pretrained(NANO, local_files_only=True, dtype=torch.float32)
    parts.set_progress_bar_config(disable=True)
    parts.tokenizer.model_max_length = parts.tokenizer_2.model_max_length = length
    images = parts(prompt=list(made.captions[:2]), negative_prompt=[negative_prompt] * 2, num_inference_steps=20, guidance_scale=8.0,
                   latents=torch.from_numpy(np.repeat(made.latents, 2, 0)), width=128, height=128, output_type="np").images
    return (images * 255).round().astype(np.uint8)


@pytest.mark.parametrize(("name", "limit"), [("sdxl_nano_fp32_bs2", 0.5), ("sdxl_nano_fp32_77_bs2", 0.5), ("sdxl_nano_bs2", 2.0)])
def test_the_trained_model_draws_what_diffusers_draws(tmp_path: Path, name: str, limit: float) -> None:
    model_json = ROOT / f"export/configs/{name}.json"
    build, _, _ = precompile.build(CompileSettings(model_json=model_json, checkpoint=str(NANO), td_spec=None, target="cpu",
                                                   output=tmp_path / name, jobs=None, processes_per_partition=1))
    config = manifest.read(build).model
    captions = samples.read_captions(NANO / "prompts.tsv", "caption", 2)[0]
    made = samples.make(config, NANO, captions, [], "evidence")
    found, wanted = built_images(build, made), diffusers_images(made, config.max_seq_len, config.negative_prompt)
    difference = np.abs(found.astype(int) - wanted.astype(int))
    print(f"{name}: mean difference {difference.mean():.4f}, largest {difference.max()}")
    assert wanted.std() > 20 and np.abs(wanted[0].astype(int) - wanted[1].astype(int)).mean() > 5
    assert difference.mean() <= limit, f"mean difference {difference.mean():.3f}, largest {difference.max()}"

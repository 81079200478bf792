"""Model configs: AMD's keys read unchanged, contradictions named, and every config of the repository is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export import model_config, model_json
from ireeperf.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[1] / "export" / "configs"
AMD = CONFIGS / "sdxl_config_fp8_sched_unet_bs32.json"


def values(**changes) -> dict:
    return json.loads((CONFIGS / "sdxl_nano_bs2.json").read_text()) | changes


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("sdxl_*.json")), ids=lambda path: path.stem)
def test_every_config_of_the_repository(path):
    config = model_config.read(path)
    assert model_json.read(path) == config
    assert (CONFIGS.parent / "architectures" / config.model).is_dir(), "its model has configs for --checkpoint none"
    for size in config.sample_batch_sizes:
        assert size % config.vae_batch_size(size) == 0


def test_amd_keys_are_read_unchanged():
    """The keys of SHARK-MLPERF's sdxl_config_fp8_sched_unet_bs32.json, and nothing of ours in them."""
    theirs = {"max_seq_len", "num_latents_channels", "batch_sizes", "module_names", "function_names", "unet_dtype",
              "unet_quant_dtype", "use_scheduled_unet", "dims"}
    assert set(json.loads(AMD.read_text())) <= theirs
    config = model_config.read(AMD)
    assert (config.max_seq_len, config.image_shape, config.latent_shape) == (64, (1024, 1024, 3), (4, 128, 128))
    assert (config.num_inference_steps, config.guidance_scale, config.loadgen_model) == (20, 8.0, "stable-diffusion-xl")
    assert 32 in config.sample_batch_sizes


@pytest.mark.parametrize(("changes", "quantization"), [
    ({}, None), ({"unet_quant_dtype": "i8"}, "i8"), ({"unet_quant_dtype": "fp8"}, "amd"), ({"unet_quant_dtype": "fp8_ocp"}, "amd"),
    ({"use_fp8_punet": True}, "amd"), ({"use_fp8_punet": False}, "i8"), ({"unet_precision": "fp16"}, None),
    ({"unet_precision": "amd"}, "amd"), ({"unet_precision": "fp8"}, "fp8")])
def test_the_keys_of_amd_keep_their_meaning(tmp_path, changes, quantization):
    """shark-ai's config_struct.py: i8, fp8 and fp8_ocp are int8 models whose attention alone differs; v5.1's files have use_fp8_punet."""
    path = tmp_path / "model.json"
    path.write_text(json.dumps(values(**changes)))
    assert model_config.read(path).quantization == quantization


def test_the_negative_prompt_is_mlperf():
    assert model_config.read(AMD).negative_prompt == "normal quality, low quality, worst quality, low res, blurry, nsfw, nude"


@pytest.mark.parametrize("changes, message", [
    ({"max_seq_len": 80}, "max_seq_len is 80; 64 .AMD. or 77"),
    ({"dims": [[100, 100]]}, "multiple of 8 pixels"),
    ({"dims": []}, "dims is"),
    ({"use_scheduled_unet": False}, "use_scheduled_unet is false"),
    ({"num_inference_steps": 0}, "num_inference_steps is 0; at least 1"),
    ({"unet_dtype": "bfloat16"}, "unet_dtype is 'bfloat16'"),
    ({"unet_quant_dtype": "int4"}, "unet_quant_dtype is 'int4'"),
    ({"unet_quant_dtype": "fp8", "unet_precision": "fp8"}, "unet_quant_dtype and unet_precision both say how the UNet is quantized"),
    ({"layer_precisions": {"*": "fp16"}}, "layer_precisions is given and nothing is quantized"),
    ({"unet_precision": "amd", "layer_precisions": {"*": "int4"}}, "layer_precisions.* is 'int4'"),
    ({"batch_sizes": {"clip": [2], "scheduled_unet": [2]}}, "batch_sizes lacks 'vae'"),
    ({"batch_sizes": {"clip": [2], "scheduled_unet": [2], "vae": []}}, "at least one size"),
    ({"batch_sizes": {"clip": [1], "scheduled_unet": [2], "vae": [1]}}, r"batch_sizes.clip lacks \[2\]"),
    ({"batch_sizes": {"clip": [2], "scheduled_unet": [2], "vae": [3]}}, "no batch size of vae .* divides scheduled_unet's 2"),
    ({"module_names": {}}, "module_names lacks 'clip'"),
    ({"batchsizes": {}}, "unknown key 'batchsizes'"),
])
def test_contradictions_are_named(tmp_path, changes, message):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(values(**changes)))
    with pytest.raises(ConfigError, match=message):
        model_config.read(path)


def test_vae_batch_size_is_the_largest_divisor(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(values(batch_sizes={"clip": [8], "scheduled_unet": [8], "vae": [1, 2, 3]})))
    assert model_config.read(path).vae_batch_size(8) == 2

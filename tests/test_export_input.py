"""What export refuses, in one line that says what, which value and what to do; and the configs that come with it."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compile.cache import ROOT
from export import checkpoint_files, model_config, sdxl, torch_setup
from export.model_config import MODULES, ModelConfig
from ireeperf import document
from ireeperf.errors import ConfigError, ExportError, MissingFileError
from tests import tiny_sdxl

torch_setup.prepare()
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in tiny_sdxl.LIBRARY_WARNINGS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sdxl.save(tmp_path_factory.mktemp("tiny"))


def export(config: ModelConfig, checkpoint: Path | str, folder: Path, modules: tuple[str, ...] = MODULES) -> None:
    folder.mkdir(exist_ok=True)
    for module in modules:
        sdxl.export_module(config, module, str(checkpoint), folder)


def copied(checkpoint: Path, folder: Path) -> Path:
    for file in checkpoint.rglob("*"):
        if file.is_file():
            copy = folder / file.relative_to(checkpoint)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    return folder


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(("module", "component", "changes", "text"), [
    ("scheduled_unet", "unet", {"cross_attention_dim": 48}, "unet does not fit its config"),
    ("scheduled_unet", "unet", {"layers_per_block": 2}, "unet"),
    ("vae", "vae", {"block_out_channels": [8, 8, 16, 32]}, "vae"),
    ("scheduled_unet", "scheduler", {"prediction_type": "v_prediction"}, "prediction_type is 'v_prediction'"),
    ("scheduled_unet", "scheduler", {"_class_name": "DDIMScheduler"}, "only EulerDiscreteScheduler"),
    ("clip", "text_encoder_2", {"hidden_size": 40, "num_attention_heads": 4}, "text_encoder_2"),
    ("vae", "vae", {"latents_mean": [0.0, 0.0, 0.0, 0.0]}, "latents_mean"),
])
def test_a_checkpoint_that_does_not_fit_is_refused(checkpoint: Path, tmp_path: Path, module: str, component: str, changes: dict[str, Any],
                                                   text: str) -> None:
    folder = copied(checkpoint, tmp_path / "copy")
    edit(folder / component / ("scheduler_config.json" if component == "scheduler" else "config.json"), **changes)
    with pytest.raises(ExportError, match=text):
        export(tiny_sdxl.config(), folder, tmp_path / "export", (module,))
    assert not list((tmp_path / "export").iterdir())


@pytest.mark.parametrize(("module", "changes", "text"), [
    ("scheduled_unet", {"num_latents_channels": 8}, "in_channels is 4, num_latents_channels in the model JSON is 8"),
    ("vae", {"num_latents_channels": 8}, "latent_channels is 4"),
])
def test_a_config_that_does_not_fit_the_checkpoint_is_refused(checkpoint: Path, tmp_path: Path, module: str, changes: dict[str, Any],
                                                              text: str) -> None:
    with pytest.raises(ExportError, match=text):
        export(tiny_sdxl.config(**changes), checkpoint, tmp_path / "export", (module,))


def test_an_unknown_entry_point_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    names = {"clip": ("encode",), "scheduled_unet": ("run_initialize", "run_forward"), "vae": ("decode",)}
    with pytest.raises(ConfigError, match=r"function_names.clip is \['encode'\]; it exports \['encode_prompts'\]"):
        export(tiny_sdxl.config(function_names=names), checkpoint, tmp_path / "export", ("clip",))


def test_a_float16_vae_that_overflows_is_refused(tmp_path: Path) -> None:
    config = document.read(ModelConfig, ROOT / "export/configs/sdxl_fp16_bs2.json")
    assert config.vae_dtype == "float32"
    with pytest.raises(ExportError, match="force_upcast: its activations overflow in float16"):
        export(dataclasses.replace(config, vae_dtype="float16"), "none", tmp_path / "export", ("vae",))


@pytest.mark.parametrize("absent", ["unet/config.json", "unet/diffusion_pytorch_model.safetensors", "text_encoder_2/model.safetensors",
                                    "scheduler/scheduler_config.json"])
def test_an_absent_file_is_named(checkpoint: Path, tmp_path: Path, absent: str) -> None:
    folder = copied(checkpoint, tmp_path / "copy")
    (folder / absent).unlink()
    with pytest.raises(MissingFileError, match=re.escape(str(folder / absent))):
        for module in MODULES:
            checkpoint_files.module_files(tiny_sdxl.config(), module, str(folder))


def test_a_shard_that_is_absent_is_named(checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(checkpoint, tmp_path / "copy")
    (folder / "unet/diffusion_pytorch_model.safetensors").rename(folder / "unet/part-1.safetensors")
    (folder / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}))
    with pytest.raises(MissingFileError, match="part-2.safetensors absent"):
        checkpoint_files.module_files(tiny_sdxl.config(), "scheduled_unet", str(folder))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "export.sdxl", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("model_json", "checkpoint_argument", "text"), [
    ("sdxl_nano_bs2.json", "absent-folder", "checkpoint folder absent-folder does not exist"),
    ("absent.json", "none", "cannot read"),
])
def test_the_command_line_refuses_in_one_line(tmp_path: Path, model_json: str, checkpoint_argument: str, text: str) -> None:
    done = run("--model-json", f"export/configs/{model_json}", "--checkpoint", checkpoint_argument, "--output", str(tmp_path / "out"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and text in done.stderr
    assert not (tmp_path / "out").exists()


AMD_KEYS = {"max_seq_len", "num_latents_channels", "batch_sizes", "module_names", "function_names", "unet_dtype", "unet_quant_dtype",
            "use_scheduled_unet", "dims"}


@pytest.mark.parametrize("path", sorted((ROOT / "export/configs").glob("sdxl_*.json")), ids=lambda path: path.stem)
def test_every_config_reads_and_says_what_its_name_says(path: Path) -> None:
    config = model_config.read(path)
    assert (ROOT / "export/architectures" / config.model).is_dir()
    assert f"_bs{config.sample_batch_sizes[0]}" in path.stem
    assert config.max_seq_len == (77 if "_77_" in path.stem else 64)
    if "nano" in path.stem:
        assert (config.loadgen_model, config.dims) == ("sdxl-nano", ((128, 128),))
        assert {config.unet_dtype, config.clip_dtype, config.vae_dtype} == {"float32" if "fp32" in path.stem else "float16"}
    if "fp8_sched_unet" in path.stem:
        assert set(json.loads(path.read_text())) == AMD_KEYS and config.unet_quant_dtype == "fp8"
    named = {"fp8_sched_unet": "amd", "_amd_": "amd", "_fp8_": "fp8"}
    assert config.quantization == next((precision for part, precision in named.items() if part in path.stem), None)


def test_the_nano_architecture_is_the_one_that_is_trained() -> None:
    from scripts.nano import architecture

    folder = ROOT / "export/architectures/sdxl-nano"
    wanted = {"unet": architecture.UNET, "vae": architecture.VAE, "scheduler": architecture.SCHEDULER,
              "text_encoder": architecture.text_config(1), "text_encoder_2": architecture.text_config(2)}
    for component, settings in wanted.items():
        stored = json.loads(checkpoint_files.config_file(folder, component).read_text())
        assert {k: v for k, v in stored.items() if k != "_class_name"} == json.loads(json.dumps(settings)), component

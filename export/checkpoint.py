"""A diffusers SDXL folder (or its configs alone) as the three modules of export.sdxl_modules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.model_config import ModelConfig
from export.sdxl_modules import Decoder, ScheduledUnet, TextEncoders, use_float32_norms
from ireeperf.errors import ExportError, MissingFileError

ARCHITECTURES = Path(__file__).parent / "architectures"
NO_CHECKPOINT = "none"
DTYPES = {"float16": torch.float16, "float32": torch.float32}
# per module of a ModelConfig: the folders of a diffusers checkpoint that it is made of
COMPONENTS = {"clip": ("text_encoder", "text_encoder_2"), "scheduled_unet": ("unet", "scheduler"), "vae": ("vae",)}
_DIFFUSERS, _TRANSFORMERS = "diffusion_pytorch_model", "model"
WEIGHTS = {"text_encoder": _TRANSFORMERS, "text_encoder_2": _TRANSFORMERS, "unet": _DIFFUSERS, "vae": _DIFFUSERS}


def folder_of(config: ModelConfig, checkpoint: str) -> Path:
    """The folder that holds the configs: the checkpoint's own, or this package's for `none`."""
    folder = ARCHITECTURES / config.model if checkpoint == NO_CHECKPOINT else Path(checkpoint)
    if not folder.is_dir():
        known = ", ".join(sorted(p.name for p in ARCHITECTURES.iterdir()))
        raise MissingFileError(f"architecture {config.model!r} is not in export/architectures, which has {known}"
                               if checkpoint == NO_CHECKPOINT else f"checkpoint folder {folder} does not exist; give a folder "
                               "in diffusers layout (unet/, vae/, ...), or --checkpoint none for the graph without weights")
    return folder


def config_file(folder: Path, component: str) -> Path:
    """The JSON config of one component; MissingFileError when absent."""
    file = folder / component / ("scheduler_config.json" if component == "scheduler" else "config.json")
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; an SDXL folder in diffusers layout has it")
    return file


def weight_files(folder: Path, component: str, dtype: str) -> tuple[str | None, list[Path]]:
    """The variant to load (None or "fp16") and its files; MissingFileError names what is absent."""
    stem = WEIGHTS[component]
    for variant in ("fp16", None) if dtype == "float16" else (None, "fp16"):
        infix = f".{variant}" if variant else ""
        whole = folder / component / f"{stem}{infix}.safetensors"
        index = folder / component / f"{stem}.safetensors.index{infix}.json"
        if whole.is_file():
            return variant, [whole]
        if index.is_file():
            parts = [index.parent / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
            if absent := [str(part) for part in parts if not part.is_file()]:
                raise MissingFileError(f"{', '.join(absent)} of {index.name} absent; fetch the checkpoint again")
            return variant, [index, *parts]
    raise MissingFileError(f"{folder / component / stem}.safetensors does not exist (nor its .fp16 variant); "
                           "fetch the checkpoint, or give --checkpoint none for the graph without weights")


def load(config: ModelConfig, module: str, checkpoint: str) -> nn.Module:
    """The torch module behind `module` ("clip", "scheduled_unet", "vae"), in evaluation mode, norms in float32."""
    folder = folder_of(config, checkpoint)
    bare = checkpoint == NO_CHECKPOINT
    parts = {name: _component(folder, name, _dtype_of(config, name), bare) for name in COMPONENTS[module]}
    unet_dtype = DTYPES[config.unet_dtype]
    if module == "clip":
        _require_length(config, parts)
        built: nn.Module = TextEncoders(parts["text_encoder"], parts["text_encoder_2"], unet_dtype)
    elif module == "scheduled_unet":
        _require_channels(config, parts["unet"].config.in_channels, "unet's in_channels")
        built = ScheduledUnet(parts["unet"], parts["scheduler"], config.num_inference_steps, config.image_shape[:2], unet_dtype)
    else:
        _require_channels(config, parts["vae"].config.latent_channels, "vae's latent_channels")
        factor = 2 ** (len(parts["vae"].config.block_out_channels) - 1)
        if factor != 8:
            raise ExportError(f"the VAE scales by {factor}, SDXL's by 8: dims {config.dims[0]} would not fit its latents")
        built = Decoder(parts["vae"], DTYPES[config.vae_dtype])
    use_float32_norms(built)
    return built.eval().requires_grad_(False)


def _dtype_of(config: ModelConfig, component: str) -> str:
    return {"unet": config.unet_dtype, "vae": config.vae_dtype}.get(component, config.clip_dtype)


def _require_channels(config: ModelConfig, found: int, what: str) -> None:
    if found != config.num_latents_channels:
        raise ExportError(f"the {what} is {found}, num_latents_channels in the model JSON is {config.num_latents_channels}")


def _require_length(config: ModelConfig, parts: dict[str, Any]) -> None:
    for name, part in parts.items():
        if part.config.max_position_embeddings < config.max_seq_len:
            raise ExportError(f"{name} has {part.config.max_position_embeddings} positions, "
                              f"max_seq_len in the model JSON is {config.max_seq_len}")


def _component(folder: Path, component: str, dtype: str, bare: bool) -> Any:
    """One diffusers or transformers object: with weights, or with uninitialized ones when `bare`."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    file = config_file(folder, component)
    try:
        settings = json.loads(file.read_text())
        if component == "scheduler":
            if settings.get("_class_name") != "EulerDiscreteScheduler":
                raise ExportError(f"{file} names {settings.get('_class_name')!r}; only EulerDiscreteScheduler is supported")
            return EulerDiscreteScheduler.from_config(settings)
        cls: Any = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection,
                    "unet": UNet2DConditionModel, "vae": AutoencoderKL}[component]
        if not bare:
            return _with_weights(cls, folder, component, dtype)
        if component.startswith("text_encoder"):
            return _without_weights(lambda: cls(CLIPTextConfig(**settings)), DTYPES[dtype])
        return _without_weights(lambda: cls.from_config(settings), DTYPES[dtype])
    except json.JSONDecodeError as error:
        raise ExportError(f"{file} is not valid JSON: {error}") from error
    except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise ExportError(f"{folder / component} does not fit its config: {_first_line(error)}") from error


def _with_weights(cls: Any, folder: Path, component: str, dtype: str) -> nn.Module:
    variant, files = weight_files(folder, component, dtype)
    model, loading = cls.from_pretrained(folder / component, torch_dtype=DTYPES[dtype], variant=variant, use_safetensors=True,
                                         local_files_only=True, output_loading_info=True)
    for problem in ("missing_keys", "mismatched_keys"):
        if loading.get(problem):
            raise ExportError(f"{files[0]} does not fit its config.json: {problem} {sorted(loading[problem])[:3]}")
    return model


def _without_weights(build: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    """A model whose parameters are allocated but never written: 5 GB of addresses, no memory."""
    with torch.device("meta"):
        model = build()
    for child in model.modules():
        for name, buffer in child._buffers.items():
            if buffer is None:
                continue
            if name != "position_ids":
                raise ExportError(f"{type(child).__name__} has a buffer {name!r} whose value is unknown without a checkpoint")
            child._buffers[name] = torch.arange(buffer.shape[-1]).expand(buffer.shape).clone()
    positions = {id(b): b.clone() for b in model.buffers()}
    for child in model.modules():
        for name, parameter in child._parameters.items():
            if parameter is not None:
                child._parameters[name] = nn.Parameter(torch.empty(parameter.shape, dtype=dtype), requires_grad=False)
    assert all(torch.equal(positions[id(b)], b) for b in model.buffers())
    return model


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

"""A diffusers SDXL folder (or its configs alone) as the three modules of export.sdxl_modules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export import matrix_forms, quantization, quantized_unet
from export.checkpoint_files import (
    COMPONENTS,
    NO_CHECKPOINT,
    config_file,
    dtype_of,
    folder_of,
    quantization_folder,
    weight_files,
)
from export.model_config import ModelConfig
from export.precision import Fp8Format
from export.sdxl_modules import (
    Decoder,
    ScheduledUnet,
    TextEncoders,
    scale_convolutions,
    use_explicit_attention,
    use_float32_norms,
)
from ireeperf.errors import ExportError

DTYPES = {"float16": torch.float16, "float32": torch.float32}


def load(config: ModelConfig, module: str, checkpoint: str, fp8: Fp8Format = "fnuz") -> nn.Module:
    """The torch module behind `module` ("clip", "scheduled_unet", "vae"), in evaluation mode, norms in float32.

    fp8: which one a quantized UNet computes in.
    """
    folder = folder_of(config, checkpoint)
    bare = checkpoint == NO_CHECKPOINT
    parts = {name: _component(folder, name, dtype_of(config, name), bare) for name in COMPONENTS[module]}
    unet_dtype = DTYPES[config.unet_dtype]
    if module == "clip":
        _require_length(config, parts)
        built: nn.Module = TextEncoders(parts["text_encoder"], parts["text_encoder_2"], unet_dtype)
    elif module == "scheduled_unet":
        _require_channels(config, parts["unet"].config.in_channels, "unet's in_channels")
        if config.attention == "explicit":
            use_explicit_attention(parts["unet"])
        if config.quantization is not None:
            ranges = quantization_folder(config, checkpoint)
            found, tensors = (None, {}) if ranges is None else quantized_unet.load(ranges)
            quantized_unet.quantize(parts["unet"], config, fp8, found, tensors)
        built = ScheduledUnet(parts["unet"], parts["scheduler"], config.num_inference_steps, config.image_shape[:2], unet_dtype)
    else:
        _require_channels(config, parts["vae"].config.latent_channels, "vae's latent_channels")
        factor = 2 ** (len(parts["vae"].config.block_out_channels) - 1)
        if factor != 8:
            raise ExportError(f"the VAE scales by {factor}, SDXL's by 8: dims {config.dims[0]} would not fit its latents")
        if config.quantization is not None and config.vae_dtype == "float16" and parts["vae"].config.force_upcast:
            _make_float16(parts["vae"], quantization_folder(config, checkpoint))
        matrix_forms.unfuse_wide_attention(parts["vae"])
        built = Decoder(parts["vae"], DTYPES[config.vae_dtype])
    use_float32_norms(built)
    return built.eval().requires_grad_(False)


def _make_float16(vae: Any, ranges: Path | None) -> None:
    """A VAE that float16 holds, as AMD shipped it: theirs where it is there, else ours scaled as they scale it."""
    if ranges is not None and quantization.VAE_TENSORS in {file.name for file in quantization.files(ranges)}:
        from safetensors.torch import load_file

        try:
            vae.load_state_dict(load_file(ranges / quantization.VAE_TENSORS))
        except RuntimeError as error:
            raise ExportError(f"{ranges / quantization.VAE_TENSORS} does not fit the VAE: {_first_line(error)}") from error
    else:
        scale_convolutions(vae)
    vae.register_to_config(force_upcast=False)


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

"""An SDXL small enough to export and compile in a test: all three UNet block kinds, two text encoders, a VAE of factor 8.

Pictures are 64 wide and 48 high, so that swapping width and height shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.model_config import ModelConfig

WIDTH, HEIGHT = 64, 48
LIBRARY_WARNINGS = ("FutureWarning", "DeprecationWarning", "UserWarning")  # torch, transformers and turbine about themselves
VOCABULARY, START, END = 100, 98, 99
TEXT = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 77, "projection_dim": 32, "bos_token_id": START, "eos_token_id": END, "pad_token_id": END}
UNET = {"sample_size": 8, "in_channels": 4, "out_channels": 4, "norm_num_groups": 8, "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (16, 32), "layers_per_block": 1, "transformer_layers_per_block": 1, "attention_head_dim": (1, 2),
        "cross_attention_dim": 64, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 32}
VAE = {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "sample_size": 64, "norm_num_groups": 4,
       "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
       "block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "scaling_factor": 0.25, "force_upcast": False}
SCHEDULER = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
             "timestep_spacing": "leading", "steps_offset": 1}


def config(dtype: str = "float32", length: int = 64, batch_size: int = 2, **changes: Any) -> ModelConfig:
    """The model config that goes with the checkpoint; the VAE runs one sample at a time."""
    modules = {"clip": "compiled_clip", "scheduled_unet": "compiled_spunet", "vae": "compiled_vae"}
    values = {
        "max_seq_len": length, "num_latents_channels": 4, "module_names": modules,
        "batch_sizes": {"clip": (batch_size,), "scheduled_unet": (batch_size,), "vae": (1,)},
        "function_names": {"clip": ("encode_prompts",), "scheduled_unet": ("run_initialize", "run_forward"), "vae": ("decode",)},
        "unet_dtype": dtype, "clip_dtype": dtype, "vae_dtype": dtype, "use_scheduled_unet": True, "dims": ((WIDTH, HEIGHT),),
        "model": "tiny"}
    return ModelConfig(**values | changes)  # type: ignore[arg-type]


def save(folder: Path, dtype: str = "float32") -> Path:
    """Write the checkpoint, random weights from seed 0, as diffusers and transformers save it."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    parts = {"text_encoder": CLIPTextModel(CLIPTextConfig(**TEXT)), "unet": UNet2DConditionModel(**UNET), "vae": AutoencoderKL(**VAE),
             "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**TEXT | {"hidden_act": "gelu"}))}
    for name, part in parts.items():
        part.to(getattr(torch, dtype)).save_pretrained(folder / name)
    EulerDiscreteScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    modules = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "scheduler": "EulerDiscreteScheduler"}
    index: dict[str, Any] = {name: ["diffusers", cls] for name, cls in modules.items()}
    index |= {"text_encoder": ["transformers", "CLIPTextModel"], "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline", **index}))
    return folder

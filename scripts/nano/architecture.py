"""The rehearsal model's architecture: SDXL's classes at 128x128 pixels, and a small open_clip CLIP beside them.

    python -m scripts.nano.architecture --output DIR --seed 0     # the same folder layout with random weights

`models/sdxl-nano` has this layout; `StableDiffusionXLPipeline.from_pretrained(DIR)` and
`open_clip.create_model("local-dir:DIR/clip")` load it offline.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ireeperf import torchvision_schemas
from scripts.nano.captions import MODEL
from scripts.nano.tokenizer import CONTEXT, VOCABULARY

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

IMAGE = 128  # pixels a side
LATENT = 16  # latent positions a side, 4 channels
TEXT_WIDTHS = (128, 192)  # hidden sizes of text encoders 1 and 2; cross attention sees both, concatenated
TIME_IDS = (IMAGE, IMAGE, 0, 0, IMAGE, IMAGE)  # original size, crop corner, target size: as SDXL orders them
VAE_SCALE = 0.13025  # SDXL base's own; training folds each channel's mean and spread into the VAE so that it holds
START_ID, END_ID = VOCABULARY - 2, VOCABULARY - 1

UNET = {
    "sample_size": LATENT, "in_channels": 4, "out_channels": 4, "norm_num_groups": 16, "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (96, 96, 160), "layers_per_block": 1, "transformer_layers_per_block": (1, 1, 1),
    "attention_head_dim": (3, 3, 5),  # number of heads, each 32 wide (diffusers keeps SDXL's misnomer)
    "cross_attention_dim": sum(TEXT_WIDTHS), "addition_embed_type": "text_time", "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 6 * 32 + TEXT_WIDTHS[1],
}
VAE = {
    "in_channels": 3, "out_channels": 3, "latent_channels": 4, "sample_size": IMAGE, "norm_num_groups": 16,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (32, 48, 80, 128), "layers_per_block": 1, "scaling_factor": VAE_SCALE, "force_upcast": False,
}
SCHEDULER = {  # stable-diffusion-xl-base-1.0's values
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 1, "use_karras_sigmas": False,
    "interpolation_type": "linear",
}
CLIP = {  # convolutions see small pictures better than patches do; the text tower reads the same ids as the text encoders
    "embed_dim": 128,
    "vision_cfg": {"image_size": IMAGE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "patch_size": None},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 128, "heads": 4, "layers": 2},
}
CLIP_PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "shortest"}
MODEL_INDEX = {
    "_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.42.1", "force_zeros_for_empty_prompt": True,
    "add_watermarker": None, "feature_extractor": [None, None], "image_encoder": [None, None],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


@dataclass(slots=True, kw_only=True)
class Networks:
    """The five networks. Any of them may already be trained; `save` writes them all as FP16."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection
    clip: torch.nn.Module  # open_clip.CLIP

    def named(self) -> dict[str, torch.nn.Module]:
        """Folder name -> network."""
        return {"vae": self.vae, "unet": self.unet, "text_encoder": self.text_encoder,
                "text_encoder_2": self.text_encoder_2, "clip": self.clip}


def text_config(index: int) -> dict[str, object]:
    """transformers' CLIPTextConfig of text encoder 1 or 2; quick_gelu and gelu as in SDXL."""
    width = TEXT_WIDTHS[index - 1]
    return {"vocab_size": VOCABULARY, "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": 3,
            "num_attention_heads": width // 32, "max_position_embeddings": CONTEXT, "projection_dim": TEXT_WIDTHS[1],
            "hidden_act": ("quick_gelu", "gelu")[index - 1], "bos_token_id": START_ID, "eos_token_id": END_ID,
            "pad_token_id": (END_ID, 0)[index - 1]}


def create(seed: int) -> Networks:
    """All five networks with random weights drawn from `seed`, FP32, on the CPU, in eval mode."""
    import torch

    torchvision_schemas.declare(torch)
    import open_clip
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    networks = Networks(
        vae=AutoencoderKL(**VAE), unet=UNet2DConditionModel(**UNET),
        text_encoder=CLIPTextModel(CLIPTextConfig(**text_config(1))),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**text_config(2))), clip=open_clip.CLIP(**CLIP))
    for network in networks.named().values():
        network.eval()
    return networks


def save(networks: Networks, folder: Path, tokenizers: Path = MODEL) -> None:
    """Write the diffusers folder and clip/ as FP16 safetensors; `tokenizers` holds tokenizer/ and tokenizer_2/ to copy."""
    import torch
    from diffusers import EulerDiscreteScheduler
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name, network in networks.named().items():
        if name != "clip":
            network.to(torch.float16).save_pretrained(folder / name)
    EulerDiscreteScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    clip = folder / "clip"
    clip.mkdir(exist_ok=True)
    weights = {key: value.to(torch.float16).contiguous() if value.is_floating_point() else value
               for key, value in networks.clip.state_dict().items()}
    save_file(weights, clip / "open_clip_model.safetensors")
    _write_json(clip / "open_clip_config.json", {"model_cfg": CLIP, "preprocess_cfg": CLIP_PREPROCESS})
    _write_json(folder / "model_index.json", MODEL_INDEX)
    for name in ("tokenizer", "tokenizer_2"):
        if (tokenizers / name).resolve() != (folder / name).resolve():
            shutil.copytree(tokenizers / name, folder / name, dirs_exist_ok=True)


def build(folder: Path, seed: int) -> None:
    """Save a random-weight checkpoint of exactly this architecture: what exporting and compiling can be tried on."""
    save(create(seed), folder)


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Write a random-weight checkpoint and print each network's parameter count."""
    parser = argparse.ArgumentParser(prog="scripts.nano.architecture", allow_abbrev=False, description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args(argv)
    networks = create(settings.seed)
    save(networks, settings.output)
    print(json.dumps({name: sum(p.numel() for p in network.parameters()) for name, network in networks.named().items()}))


if __name__ == "__main__":
    main()

"""SDXL as three torch modules whose methods are the entry points of the executables.

b is the static batch size, S the prompt length, H x W the image in pixels, h x w = H/8 x W/8. Rows 0..b-1 of a [2b, ...]
tensor belong to the negative prompts, b..2b-1 to the positive ones. Whatever the dtype inside, latents and guidance are
float32 at every entry point, so that the host never handles half floats and the sampler's arithmetic is diffusers'.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ireeperf.errors import ExportError


class Float32GroupNorm(nn.GroupNorm):
    """GroupNorm with float32 sums: IREE lowers a float16 one with a float16 element count, infinite above 65,504."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        return nn.functional.group_norm(input.float(), self.num_groups, weight, bias, self.eps).to(input.dtype)


class Float32LayerNorm(nn.LayerNorm):
    """LayerNorm with float32 sums; in float16 its error is twice torch's."""

    def forward(self, input: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight.float()
        bias = None if self.bias is None else self.bias.float()
        return nn.functional.layer_norm(input.float(), self.normalized_shape, weight, bias, self.eps).to(input.dtype)


def use_float32_norms(module: nn.Module) -> None:
    """Make every normalization below `module` sum in float32; parameters keep their names and dtype."""
    for child in module.modules():
        if type(child) is nn.GroupNorm:
            child.__class__ = Float32GroupNorm
        elif type(child) is nn.LayerNorm:
            child.__class__ = Float32LayerNorm


def use_explicit_attention(unet: Any) -> None:
    """Attention as matmul, softmax and matmul, which llvm-cpu tiles as matmuls; one fused operation is for GPUs."""
    from diffusers.models.attention_processor import Attention, AttnProcessor

    unet.set_attn_processor(AttnProcessor())
    for child in unet.modules():
        if isinstance(child, Attention):
            child.upcast_softmax = True  # sums in float32, as the fused operation has them


class TextEncoders(nn.Module):
    """CLIP-L and OpenCLIP-bigG (or their like) side by side."""

    def __init__(self, text_encoder: nn.Module, text_encoder_2: nn.Module, output_dtype: torch.dtype) -> None:
        super().__init__()
        self.text_encoder, self.text_encoder_2 = text_encoder, text_encoder_2
        self.output_dtype = output_dtype  # the UNet's

    def encode_prompts(self, prompt_ids_1: Tensor, prompt_ids_2: Tensor, negative_ids_1: Tensor, negative_ids_2: Tensor,
                       ) -> tuple[Tensor, Tensor]:
        """ids [b, S] int64, of tokenizer 1 and 2 -> prompt_embeds [2b, S, D], text_embeds [2b, P]."""
        # The last layer but one of each encoder, as SDXL was trained; pooled text of the second only.
        first = self.text_encoder(torch.cat([negative_ids_1, prompt_ids_1]), output_hidden_states=True)
        second = self.text_encoder_2(torch.cat([negative_ids_2, prompt_ids_2]), output_hidden_states=True)
        embeds = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return embeds.to(self.output_dtype), second.text_embeds.to(self.output_dtype)


class ScheduledUnet(nn.Module):
    """The UNet with guidance and the Euler-discrete step folded in (diffusers' EulerDiscreteScheduler, epsilon)."""

    own_functions = ("run_initialize",)  # entry points that use no submodule
    sigmas: Tensor
    timesteps: Tensor

    def __init__(self, unet: nn.Module, scheduler: Any, steps: int, image_size: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__()
        if scheduler.config.prediction_type != "epsilon":
            raise ExportError(f"the scheduler's prediction_type is {scheduler.config.prediction_type!r}; only 'epsilon' is "
                              "folded into the graph")
        self.unet, self.dtype = unet, dtype
        scheduler.set_timesteps(steps)
        # Not persistent: constants of the graph, so that a graph without weights still has its schedule
        self.register_buffer("sigmas", scheduler.sigmas.clone(), persistent=False)  # [steps + 1] float32
        self.register_buffer("timesteps", scheduler.timesteps.float().clone(), persistent=False)  # [steps]
        self.init_noise_sigma = float(scheduler.init_noise_sigma)
        self.image_size = image_size  # (H, W)

    def run_initialize(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """latents [b, 4, h, w] float32, unit variance -> the same scaled to the first sigma, time_ids [2b, 6]."""
        height, width = self.image_size
        # original size, crop's top left corner, target size: no resize, no crop (StableDiffusionXLPipeline's default)
        time_ids = torch.tensor([height, width, 0, 0, height, width], dtype=self.dtype)
        return latents * self.init_noise_sigma, time_ids.expand(2 * latents.shape[0], 6).clone()

    def run_forward(self, latents: Tensor, prompt_embeds: Tensor, text_embeds: Tensor, time_ids: Tensor,
                    guidance_scale: Tensor, step_index: Tensor) -> Tensor:
        """One denoising step.

        latents [b, 4, h, w] float32, prompt_embeds [2b, S, D], text_embeds [2b, P], time_ids [2b, 6], guidance_scale [1]
        float32, step_index [1] int64 below the number of steps -> latents [b, 4, h, w] float32 of the next step.
        """
        sigma = self.sigmas.index_select(0, step_index)
        next_sigma = self.sigmas.index_select(0, step_index + 1)
        scaled = (latents / (sigma**2 + 1).sqrt()).to(self.dtype)
        timestep = self.timesteps.index_select(0, step_index).expand(2 * latents.shape[0])
        noise = self.unet(torch.cat([scaled, scaled]), timestep, encoder_hidden_states=prompt_embeds,
                          added_cond_kwargs={"text_embeds": text_embeds, "time_ids": time_ids}, return_dict=False)[0]
        negative, positive = noise.float().chunk(2)
        # Euler for epsilon: the derivative is (sample - (sample - sigma * noise)) / sigma, which is the noise itself
        return latents + (negative + guidance_scale * (positive - negative)) * (next_sigma - sigma)


# SHARK-MLPERF v5.1, quant_sdxl.py (VAE_FIX_SCALE and its list): what writes into the decoder's last, widest residual stream
SCALED_BY = 128


@torch.no_grad()
def scale_convolutions(vae: nn.Module) -> None:
    """Divide the decoder's last residual stream by 128, so that float16 holds it; the norm that reads it takes the factor out.

    What AMD's script leaves as it is, we scale too: the bias of the shortcut that copies the stream.
    """
    last = vae.get_submodule("decoder.up_blocks.3.resnets")
    for layer in (vae.get_submodule("decoder.up_blocks.2.upsamplers.0.conv"), *(block.conv2 for block in last.children())):
        layer.weight /= SCALED_BY
        layer.bias /= SCALED_BY
    shortcut = last.get_submodule("0").conv_shortcut
    if shortcut is not None:
        shortcut.bias /= SCALED_BY


class Decoder(nn.Module):
    """The VAE's decoder, to ready pixels."""

    def __init__(self, vae: Any, dtype: torch.dtype) -> None:
        super().__init__()
        if getattr(vae.config, "latents_mean", None) is not None or vae.config.shift_factor is not None:
            raise ExportError("the VAE's config has latents_mean or shift_factor; only scaling_factor is folded into the graph")
        if dtype == torch.float16 and vae.config.force_upcast:
            raise ExportError("the VAE's config has force_upcast: its activations overflow in float16 and pictures come out "
                              "black; set vae_dtype to float32, or bring a VAE repaired for float16 (force_upcast false)")
        vae.encoder, vae.quant_conv = None, None  # decode only: half of the weights stay out of the archive
        self.vae, self.dtype, self.scaling_factor = vae, dtype, float(vae.config.scaling_factor)

    def decode(self, latents: Tensor) -> Tensor:
        """latents [b, 4, h, w] float32 -> pixels [b, H, W, 3] uint8, rounded to nearest even as PIL export does."""
        image = self.vae.decode((latents / self.scaling_factor).to(self.dtype), return_dict=False)[0].float()
        # by way of int32: IREE 3.13 vectorizes float -> unsigned 8 bits for AVX2 as a signed conversion that stops at 127
        return ((image / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.int32).to(torch.uint8).permute(0, 2, 3, 1)

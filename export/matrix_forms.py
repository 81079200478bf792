"""Attention in a form that IREE 3.13 multiplies with a GPU's matrix instructions.

Fused attention of a head as wide as the VAE's 512 elements is tiled along the head, and each tile computes all scores anew: of 16
elements in float16 (32 times), of 128 in float32 (4 times, and without matrix instructions).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export import quantized_ops as ops

WIDEST_FUSED_HEAD = 128


class UnfusedAttention:
    """A diffusers attention processor: product, softmax and product, the scores [M, M] kept in float32."""

    def __call__(self, attn: Any, hidden_states: Tensor, *unused: Any, **ignored: Any) -> Tensor:
        """hidden_states [B, C, H, W] -> [B, C, H, W]; one head, over M = H W places."""
        assert attn.heads == 1 and attn.spatial_norm is None and attn.residual_connection
        rows = attn.group_norm(hidden_states.flatten(2)).transpose(1, 2)  # [B, M, C]
        query, key, value = attn.to_q(rows), attn.to_k(rows), attn.to_v(rows)
        weights = (_product(query, key) * attn.scale).softmax(-1).to(rows.dtype)
        out = attn.to_out[0](_product(weights, value.transpose(1, 2)).to(rows.dtype))
        return (out.transpose(1, 2).reshape(hidden_states.shape) + hidden_states) / attn.rescale_output_factor


def unfuse_wide_attention(vae: nn.Module) -> None:
    """Give every attention below `vae` whose heads are wider than 128 the unfused form."""
    from diffusers.models.attention_processor import Attention

    for child in vae.modules():
        if isinstance(child, Attention) and child.inner_dim // child.heads > WIDEST_FUSED_HEAD:
            child.set_processor(UnfusedAttention())


def _product(first: Tensor, second: Tensor) -> Tensor:
    """first [B, M, K], second [B, N, K] -> [B, M, N] float32."""
    if first.dtype == torch.float32:
        return first @ second.transpose(1, 2)
    return ops.wide_batch_matmul(first, second)

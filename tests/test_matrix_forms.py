"""Unfused attention computes what the fused one does, with its parameters."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from export import torch_setup
from tests import tiny_sdxl
from tests.test_quantized_ops import run

torch_setup.prepare()
torch = pytest.importorskip("torch")
from export import matrix_forms  # noqa: E402
from export.sdxl_modules import use_float32_norms  # noqa: E402

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in tiny_sdxl.LIBRARY_WARNINGS]


class Block(torch.nn.Module):
    """A VAE's attention."""

    def __init__(self, width: int) -> None:
        from diffusers.models.attention_processor import Attention

        super().__init__()
        torch.manual_seed(0)
        self.attention = Attention(width, heads=1, dim_head=width, rescale_output_factor=1, eps=1e-6, norm_num_groups=16,
                                   residual_connection=True, bias=True, upcast_softmax=True, _from_deprecated_attn_block=True)
        for layer in (self.attention.to_q, self.attention.to_k, self.attention.to_v):
            layer.weight.data *= 4  # weights far from even

    def main(self, x: Any) -> Any:
        return self.attention(x)


def image(width: int) -> Any:
    return 2 * torch.randn((2, width, 4, 6), generator=torch.Generator().manual_seed(1))


def error(found: Any, wanted: Any) -> float:
    return float((torch.as_tensor(found).float() - wanted).norm() / wanted.norm())


def test_unfused_attention_is_the_attention() -> None:
    block, x = Block(144).eval().requires_grad_(False), image(144)
    wanted = block.attention(x)
    assert error(wanted, x) > 0.2, "the residual alone would pass"
    matrix_forms.unfuse_wide_attention(block)
    assert isinstance(block.attention.processor, matrix_forms.UnfusedAttention) and error(block.attention(x), wanted) < 1e-6


def test_heads_that_fit_a_tile_stay_fused() -> None:
    block = Block(128)
    matrix_forms.unfuse_wide_attention(block)
    assert not isinstance(block.attention.processor, matrix_forms.UnfusedAttention)


def test_float16_keeps_its_sums_in_float32(tmp_path: Path) -> None:
    block, x = Block(144).eval().requires_grad_(False), image(144)
    wanted, names = block.main(x), set(block.state_dict())
    half = copy.deepcopy(block).half()
    use_float32_norms(half)
    matrix_forms.unfuse_wide_attention(half)
    assert set(half.state_dict()) == names
    found, = run(half, (x.half(),), tmp_path, "half")
    assert found.shape == (2, 144, 4, 6) and error(found, wanted) < 2e-3
    mlir = (tmp_path / "half.mlir").read_text()
    assert "arith.extf %a : f16 to f32" in mlir and "tensor<2x24x24xf32>" in mlir, "scores are sums of float16 products in float32"


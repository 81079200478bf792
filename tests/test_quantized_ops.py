"""Quantized operations through IREE on this CPU: every FP8 code as torch has it, and sums as torch's, exact where they are integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import torch_setup
from tests import tiny_sdxl
from tests.test_export_sdxl import compiled, load

torch_setup.prepare()
torch = pytest.importorskip("torch")
from export import quantized_mlir, sdxl  # noqa: E402
from export import quantized_ops as ops  # noqa: E402
from export.quantized_layers import INT8, QuantizedLayer, encode, encode_weight  # noqa: E402
from ireeperf.errors import ExportError  # noqa: E402

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in tiny_sdxl.LIBRARY_WARNINGS]
FORMATS = {"fn": ops.FN, "fnuz": ops.FNUZ}


def run(module: Any, arguments: tuple[Any, ...], folder: Path, name: str) -> Any:
    """`module.main` of `arguments`, by IREE."""
    mlir = folder / f"{name}.mlir"
    sdxl.write_mlir(module, {"main": arguments}, name, mlir)
    mlir.write_text(quantized_mlir.lower(mlir.read_text()))
    result = load(compiled(mlir, name), None)["main"](*(a.numpy() for a in arguments))
    return [np.array(one.to_host()) for one in (result if isinstance(result, (tuple, list)) else [result])]


class Encoder(torch.nn.Module):
    def main(self, x: Any) -> Any:
        return encode(x, ops.FN).float(), encode(x, ops.FNUZ).float()


def probes(dtype: Any) -> Any:
    """All 256 codes' values that are numbers, every midpoint of two neighbours and both float32 beside it, and beyond the range."""
    values = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    values = values[values.isfinite()].unique()
    middles = (values[1:] + values[:-1]) / 2
    beside = [torch.nextafter(middles, torch.full_like(middles, side)) for side in (-1e9, 1e9)]
    return torch.cat([values, middles, *beside, torch.tensor([1e6, -1e6])])


def test_every_fp8_code_is_torchs(tmp_path: Path) -> None:
    x = torch.cat([probes(ops.FN), probes(ops.FNUZ)])
    found = run(Encoder(), (x,), tmp_path, "encoder")
    for values, dtype in zip(found, (ops.FN, ops.FNUZ), strict=True):
        top = torch.finfo(dtype).max
        wanted = x.clamp(-top, top).to(dtype).float().numpy()
        assert len(np.unique(wanted)) == (253 if dtype == ops.FN else 255), "every code but NaN and one of the zeros is reached"
        np.testing.assert_array_equal(values, wanted)


def test_the_cast_alone_is_wrong_on_a_cpu(tmp_path: Path) -> None:
    """The defect that `encode` goes round: what should become the smallest normal number becomes zero."""
    class Cast(torch.nn.Module):
        def main(self, x: Any) -> Any:
            return x.to(ops.FN).float()

    found, = run(Cast(), (torch.full((8,), 0.0155),), tmp_path, "cast")
    assert (found == 0).all(), "the defect is gone from IREE: encode's rounding below the smallest normal can go as well"
    assert float(encode(torch.tensor(0.0155), ops.FN).float()) == 2**-6


class Products(torch.nn.Module):
    """All six operators on codes of one FP8 format."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype

    def main(self, rows: Any, weight: Any, image: Any, kernel: Any, states: Any) -> Any:
        narrow = encode(rows * 3, self.dtype)
        pixels = encode(image * 3, self.dtype)
        whole, picture = encode(rows * 40, INT8), encode(image * 40, INT8)
        heads = encode(states * 2, self.dtype)
        return (ops.int8_matmul(whole, weight), ops.int8_convolution(picture, kernel, 1, 1), ops.int8_convolution(picture, kernel, 2, 1, -96),
                ops.fp8_matmul(narrow, weight), ops.fp8_convolution(pixels, kernel, 1, 1), ops.wide_batch_matmul(heads[0], heads[1]),
                ops.fp8_attention(heads, heads, heads, torch.tensor(0.3)))


@pytest.mark.parametrize("name", FORMATS)
def test_products_are_torchs(tmp_path: Path, name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    rows, image, states = (torch.randn(shape, generator=draw) for shape in ((16, 32), (2, 8, 6, 4), (2, 2, 16, 8)))
    weight, kernel = (ops.encoded(torch.randn(shape, generator=draw)) for shape in ((24, 32), (16, 8, 3, 3)))
    arguments = (rows, weight, image, kernel, states)
    module = Products(FORMATS[name])
    wanted = [one.numpy() for one in module.main(*arguments)]
    for index, (found, right) in enumerate(zip(run(module, arguments, tmp_path, name), wanted, strict=True)):
        assert found.shape == right.shape and found.dtype == right.dtype and np.abs(right).max() > 0.5
        if right.dtype == np.int32:
            np.testing.assert_array_equal(found, right)
        else:
            # attention rounds its probabilities to FP8 on its own, after an exponential of its own: a code apart at most
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=(2e-2 if index == 6 else 1e-5) * np.abs(right).max())


@pytest.mark.parametrize(("dtype", "limit"), [(INT8, 0.02), (ops.FN, 0.05), (ops.FNUZ, 0.05)])
@pytest.mark.parametrize("kind", ["linear", "3x3", "1x1", "stride 2"])
def test_a_quantized_layer_is_near_the_layer(dtype: Any, limit: float, kind: str) -> None:
    draw = torch.Generator().manual_seed(1)
    layer = {"linear": lambda: torch.nn.Linear(64, 48), "3x3": lambda: torch.nn.Conv2d(64, 48, 3, padding=1),
             "1x1": lambda: torch.nn.Conv2d(64, 48, 1), "stride 2": lambda: torch.nn.Conv2d(64, 48, 3, stride=2, padding=1)}[kind]()
    for parameter in layer.parameters():
        parameter.requires_grad_(False).copy_(torch.randn(parameter.shape, generator=draw))
    x = torch.randn((5, 7, 64) if kind == "linear" else (2, 64, 6, 5), generator=draw)
    quantized = QuantizedLayer(layer, dtype)
    premul = torch.rand(64, generator=draw) + 0.5
    codes, scale = encode_weight(layer.weight / premul.view(1, -1, *(1 for _ in layer.weight.shape[2:])), dtype)
    seen = x * premul if kind == "linear" else x * premul.view(-1, 1, 1)
    quantized.fill(codes, scale, float(seen.abs().max()), premul, layer.bias)
    wanted, found = layer(x), quantized(x)
    assert found.shape == wanted.shape
    assert float((found - wanted).norm() / wanted.norm()) < limit
    quantized.fill(codes, scale, float(seen.abs().max()), None, layer.bias)
    assert float((quantized(x) - wanted).norm() / wanted.norm()) > 2 * limit, "premul is used"


@pytest.mark.parametrize("kind", ["linear", "3x3"])
def test_a_code_of_zero_that_moved_is_taken_out_again_at_the_edges_too(kind: str) -> None:
    draw = torch.Generator().manual_seed(1)
    layer = torch.nn.Linear(64, 48) if kind == "linear" else torch.nn.Conv2d(64, 48, 3, padding=1)
    layer.requires_grad_(False)
    x = torch.nn.functional.silu(3 * torch.randn((5, 7, 64) if kind == "linear" else (2, 64, 6, 5), generator=draw))
    wanted, errors = layer(x), {}
    for zero in (0, -96):
        quantized = QuantizedLayer(layer, INT8, zero)
        quantized.fill(*encode_weight(layer.weight, INT8), float(x.max()) * 128 / (127 - zero), None, layer.bias)
        errors[zero] = (quantized(x) - wanted).norm()
    assert errors[-96] < 0.75 * errors[0]


def test_an_operator_without_a_lowering_is_an_error() -> None:
    with pytest.raises(ExportError, match="has no lowering"):
        quantized_mlir.lower('%1 = torch.operator "torch.ireeperf.fp8_matmul"(%0) : (!torch.vtensor<[?,2],f32>) -> !torch.tensor\n')

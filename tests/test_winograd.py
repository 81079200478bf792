"""compile.winograd: which convolutions are rewritten, that what runs is the rewritten one, and that it is right."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compile import compiler, dumps, target, tuning_spec, winograd
from compile.cache import Cache
from compile.compiler import Task
from compile.flags import flags

CPU = target.find("cpu")
IMAGE, FILTERS, BIAS, RESULT = (f"!torch.vtensor<[{sizes}],{{kind}}>" for sizes in (
    "2,{inputs},{height},{width}", "{outputs},{inputs},3,3", "{outputs}", "2,{outputs},{result}"))
LISTS = "!torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.int"
MODULE = f"""
func.func @f(%x: {IMAGE}, %w: {FILTERS}, %b: {BIAS}) -> {RESULT} {{{{
  %one = torch.constant.int 1
  %1 = torch.prim.ListConstruct %one, %one : (!torch.int, !torch.int) -> !torch.list<int>
  %2 = torch.aten.conv2d %x, %w, %b, %1, %1, %1, %one : {IMAGE}, {FILTERS}, {BIAS}, {LISTS} -> {RESULT}
  return %2 : {RESULT}
}}}}
"""
SHAPE = {"inputs": 16, "outputs": 32, "height": 8, "width": 12, "result": "8,12", "kind": "f32"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IREE_BUILD_DIR", str(tmp_path / "cache"))
    return Cache()


@pytest.mark.parametrize("form", [winograd.F4, winograd.F2])
def test_the_matrices_are_a_convolution(form):
    """The 1-D identity behind all of it, in float64: A^T [(G g) * (B^T d)] is d convolved with g."""
    draw = np.random.default_rng(0)
    image, taps = draw.standard_normal(form.points), draw.standard_normal(3)
    found = np.array(form.to_result) @ ((np.array(form.from_filter) @ taps) * (np.array(form.from_image) @ image))
    np.testing.assert_allclose(found, np.correlate(image, taps, "valid"), rtol=1e-12)


@pytest.mark.parametrize("change", [
    {"kind": "f16"}, {"result": "4,6"}, {"height": 4, "result": "4,12"}, {"width": 10, "result": "8,10"}, {"outputs": 4}, {"outputs": 24},
    {"height": 64, "result": "64,12"}])
def test_what_would_not_gain_is_left_alone(cache, tmp_path, change):
    (tmp_path / "m.mlir").write_text(MODULE.format_map(SHAPE | change))
    assert winograd.flags(CPU, tmp_path / "m.mlir", cache) == ()


def test_a_gpu_is_left_alone(cache, tmp_path):
    (tmp_path / "m.mlir").write_text(MODULE.format_map(SHAPE))
    assert len(winograd.flags(CPU, tmp_path / "m.mlir", cache)) == 2
    assert winograd.flags(target.find("gfx942"), tmp_path / "m.mlir", cache) == ()


@pytest.mark.parametrize(("name", "outputs", "height", "width"), [("cpu", 64, 8, 12), ("cpu-avx2", 32, 8, 12), ("cpu", 64, 4, 4)])
def test_the_convolution_is_rewritten_and_right(cache, tmp_path, name, outputs, height, width):
    import iree.runtime as rt
    if not tuning_spec.names(CPU):
        pytest.skip("neither AVX-512 nor AVX2 here")
    on, mlir = target.find(name), tmp_path / "m.mlir"
    held = winograd.AVX512 if "cpu-avx512" in tuning_spec.names(on) else winograd.AVX2
    mlir.write_text(MODULE.format_map(SHAPE | {"outputs": outputs, "height": height, "width": width, "result": f"{height},{width}"}))
    found, = winograd.convolutions(mlir)
    assert found == winograd.Convolution(batch=2, height=height, width=width, inputs=16, outputs=outputs)
    task = Task(label="conv", mlir=mlir, flags=(*flags(on, None), *winograd.flags(on, mlir, cache), *dumps.flags(tmp_path)), folder=tmp_path / "out",
                name="conv", log=tmp_path / "log")
    list(compiler.compile_all([task], 1))
    dumps.pack(tmp_path, tmp_path / "d.zip")
    names = dumps.names(tmp_path / "d.zip", "configured")
    assert not any("conv" in name for name in names) and any("matmul" in name for name in names), names
    points_tiles = "16x8" if height == 4 else "36x12"
    product, = (name for name in names if f"{points_tiles}x{outputs // held.lanes}x{held.lanes}x16" in name)  # groups, lanes, inputs
    rows = 8 if height == 4 else 6 if held.tiles == 8 else 4
    assert f"vector_common_parallel = [1, {rows}, 1, {held.lanes}, 0]" in dumps.read(tmp_path / "d.zip", f"configured/{product}").decode()
    draw = np.random.default_rng(0)
    image, filters, bias = (draw.standard_normal(shape).astype(np.float32) for shape in ((2, 16, height, width), (outputs, 16, 3, 3), (outputs,)))
    config = rt.Config("local-sync")
    loaded = rt.VmModule.mmap(config.vm_instance, str(task.vmfb))
    module = rt.SystemContext(vm_modules=[rt.create_hal_module(config.vm_instance, config.device), loaded], config=config).modules[loaded.name]
    result = np.array(module["f"](image, filters, bias).to_host())
    wide, expected = np.pad(image.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1))), np.zeros(result.shape) + bias[:, None, None]
    for down, across in itertools.product(range(3), range(3)):
        expected += np.einsum("bchw,fc->bfhw", wide[:, :, down:down + height, across:across + width], filters[:, :, down, across].astype(np.float64))
    assert np.linalg.norm(result - expected) / np.linalg.norm(expected) < 1e-5

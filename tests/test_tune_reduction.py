"""A reduction on llvm-cpu: the sweep's space for it, and a record of it rendered, applied to a real dispatch and right."""

from __future__ import annotations

import numpy as np
import pytest

from compile import compiler, dispatch_ir, dumps, target, tune_space
from compile.compiler import Task
from compile.flags import flags
from specs import render
from specs.record import TuningRecord

CPU = target.find("cpu")
SQUARES = """
func.func @squares(%a: tensor<128x640xf32>) -> tensor<128xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<128xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<128xf32>) -> tensor<128xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<128x640xf32>) outs(%f : tensor<128xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.mulf %in, %in : f32
    %1 = arith.addf %0, %out : f32
    linalg.yield %1 : f32
  } -> tensor<128xf32>
  return %r : tensor<128xf32>
}
"""
POINT = {"distribution_0": 32, "row": 4, "column": 1, "step": 32}


def compiled(folder, spec=None):
    folder.mkdir()
    (folder / "m.mlir").write_text(SQUARES)
    task = Task(label="squares", mlir=folder / "m.mlir", flags=(*flags(CPU, spec), *dumps.flags(folder)), folder=folder / "out", name="m", log=folder / "log")
    list(compiler.compile_all([task], 1))
    dumps.pack(folder, folder / "d.zip")
    one, = dispatch_ir.dispatches(folder / "d.zip")
    return task, one


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("squares") / "default")[1]


def test_the_space_is_rows_and_steps(default):
    space = tune_space.space(default.match, "DoubleTilingExpert")
    assert not isinstance(space, str), space
    assert space.parameters == {"distribution_0": (1, 2, 4, 8, 16, 32, 64, 128), "row": (1, 2, 4, 8, 16), "column": (1,), "step": (4, 8, 16, 32, 64, 128)}
    assert space.invalid(POINT) is None and "no multiple" in space.invalid(POINT | {"distribution_0": 2})
    assert "128 accumulators" in space.invalid(POINT | {"row": 16, "step": 128})


def test_a_record_of_it_is_applied_and_right(default, tmp_path):
    import iree.runtime as rt
    setting = tune_space.space(default.match, "DoubleTilingExpert").setting(POINT)
    record = TuningRecord(target="cpu-avx2", match=default.match, set=setting, evidence="ported", source="a test", compiler="3.13.0", date="2026-11-25")
    (tmp_path / "spec.mlir").write_text(render.text([record], "squares"))
    task, one = compiled(tmp_path / "tuned", tmp_path / "spec.mlir")
    assert default.tuned_by is None and one.tuned_by == record.name == "reduction_p128_r640_f32xf32"
    assert "distribution = [32, 0], vector_common_parallel = [4, 0], vector_reduction = [0, 32]" in one.configuration != default.configuration
    data, config = np.random.default_rng(0).standard_normal((128, 640), np.float32), rt.Config("local-sync")
    loaded = rt.VmModule.mmap(config.vm_instance, str(task.vmfb))
    module = rt.SystemContext(vm_modules=[rt.create_hal_module(config.vm_instance, config.device), loaded], config=config).modules[loaded.name]
    np.testing.assert_allclose(np.array(module["squares"](data).to_host()), (data.astype(np.float64) ** 2).sum(1), rtol=1e-5)

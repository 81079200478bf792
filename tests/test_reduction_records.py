"""Records of reductions that are not alone in their dispatch (LayerNorm, softmax): rendered, applied on HIP, CUDA and llvm-cpu, right on the last.

    python -m pytest -q tests/test_reduction_records.py
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from compile import dispatch_ir, dumps, kernel_figures, target, tune_program
from compile.flags import flags
from ireeperf.errors import ConfigError
from specs import record as records
from specs import render, toml_text
from specs.match import Match
from specs.record import Other, Setting, TuningRecord, Within

ROWS, COLUMNS = 512, 640
WHOLE, ROW = "affine_map<(d0, d1) -> (d0, d1)>", "affine_map<(d0, d1) -> (d0)>"
REDUCE = f'linalg.generic {{indexing_maps = [{WHOLE}, {ROW}], iterator_types = ["parallel", "reduction"]}}'
EACH = f'linalg.generic {{indexing_maps = [{WHOLE}, {ROW}, {WHOLE}], iterator_types = ["parallel", "parallel"]}}'
NORM = f"""
func.func @main(%a: tensor<512x640xf32>) -> tensor<512x640xf32> {{
  %n = arith.constant 640.0 : f32
  %eps = arith.constant 1.0e-5 : f32
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<512xf32>
  %w = tensor.empty() : tensor<512x640xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<512xf32>) -> tensor<512xf32>
  %s = {REDUCE} ins(%a : tensor<512x640xf32>) outs(%f : tensor<512xf32>) {{
  ^bb0(%in: f32, %out: f32):
    %0 = arith.addf %in, %out : f32
    linalg.yield %0 : f32
  }} -> tensor<512xf32>
  %c = {EACH} ins(%a, %s : tensor<512x640xf32>, tensor<512xf32>) outs(%w : tensor<512x640xf32>) {{
  ^bb0(%in: f32, %m: f32, %out: f32):
    %0 = arith.divf %m, %n : f32
    %1 = arith.subf %in, %0 : f32
    linalg.yield %1 : f32
  }} -> tensor<512x640xf32>
  %v = {REDUCE} ins(%c : tensor<512x640xf32>) outs(%f : tensor<512xf32>) {{
  ^bb0(%in: f32, %out: f32):
    %0 = arith.mulf %in, %in : f32
    %1 = arith.addf %0, %out : f32
    linalg.yield %1 : f32
  }} -> tensor<512xf32>
  %r = {EACH} ins(%c, %v : tensor<512x640xf32>, tensor<512xf32>) outs(%w : tensor<512x640xf32>) {{
  ^bb0(%in: f32, %q: f32, %out: f32):
    %0 = arith.divf %q, %n : f32
    %1 = arith.addf %0, %eps : f32
    %2 = math.rsqrt %1 : f32
    %3 = arith.mulf %in, %2 : f32
    linalg.yield %3 : f32
  }} -> tensor<512x640xf32>
  return %r : tensor<512x640xf32>
}}
"""
SOFTMAX = """
func.func @main(%a: tensor<512x640xf32>) -> tensor<512x640xf32> {
  %w = tensor.empty() : tensor<512x640xf32>
  %r = linalg.softmax dimension(1) ins(%a : tensor<512x640xf32>) outs(%w : tensor<512x640xf32>) -> tensor<512x640xf32>
  return %r : tensor<512x640xf32>
}
"""
SQUARES = f"""
func.func @main(%a: tensor<512x640xf32>) -> tensor<512xf32> {{
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<512xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<512xf32>) -> tensor<512xf32>
  %r = {REDUCE} ins(%a : tensor<512x640xf32>) outs(%f : tensor<512xf32>) {{
  ^bb0(%in: f32, %out: f32):
    %0 = arith.mulf %in, %in : f32
    %1 = arith.addf %0, %out : f32
    linalg.yield %1 : f32
  }} -> tensor<512xf32>
  return %r : tensor<512xf32>
}}
"""
PROGRAMS = {"norm": NORM, "softmax": SOFTMAX, "squares": SQUARES}
# which operation the record matches, and what it is among the dispatch's: operations, root, other reductions, elementwise ones with tiles
PLACES = {"norm": ("mulf addf", 4, 2, (0,), (3,)), "softmax": ("maxnumf", 3, 0, (1,), (2,)), "squares": ("mulf addf", 1, 0, (), ())}


def lanes(kind: str, subgroup: int, **more) -> dict:
    """128 threads along a row, an element each: not the compiler's choice for 640 columns, which is all of them at once."""
    return {kind: [0, 128], "thread": [0, 1], "lane_basis": [[1, subgroup], [0, 1]], "subgroup_basis": [[1, 128 // subgroup], [0, 1]], **more}


def on_gpu(name: str, on: str) -> TuningRecord:
    subgroup = {"gfx942": 64, "sm_80": 32}[on]
    return made(name, on, Setting(pipeline="VectorDistribute", workgroup_size=(128, 1, 1), subgroup_size=subgroup,
                                  lowering_config=lanes("partial_reduction", subgroup, workgroup=[1, 0])),
                lanes("partial_reduction", subgroup), lanes("serial", subgroup))


def on_cpu(name: str) -> TuningRecord:
    rows = {"vector_common_parallel": [4, 0]}
    return made(name, "cpu-avx2", Setting(pipeline="DoubleTilingExpert", lowering_config={"distribution": [16, 0], **rows, "vector_reduction": [0, 32]}),
                rows | {"vector_reduction": [0, 32]}, rows | {"vector_inner_parallel": [0, 32]})


def made(name: str, on: str, setting: Setting, reduced: dict, each: dict) -> TuningRecord:
    body, operations, root, reductions, elementwise = PLACES[name]
    others = [*(Other(operation=i, lowering_config=reduced) for i in reductions), *(Other(operation=i, lowering_config=each) for i in elementwise)]
    within = Within(operations=operations, root=root, others=tuple(others)) if others else None
    match = Match(kind="reduction", types=("f32", "f32"), dims=(ROWS, COLUMNS), maps=("(d0, d1) -> (d0, d1)", "(d0, d1) -> (d0)"), body=body)
    return TuningRecord(target=on, match=match, set=dataclasses.replace(setting, within=within), evidence="ported", source="a test",
                        compiler="3.13.0", date="2026-11-25")


def compiled(folder, name: str, record: TuningRecord):
    folder.mkdir(exist_ok=True)
    (folder / "spec.mlir").write_text(render.text([record], name))
    vmfb = tune_program.build(PROGRAMS[name], folder / "program", [*flags(target.find(record.target), folder / "spec.mlir"), *dumps.flags(folder)])
    dumps.pack(folder, folder / "d.zip")
    one, = dispatch_ir.dispatches(folder / "d.zip")
    return vmfb, one


@pytest.mark.parametrize("on", ["gfx942", "sm_80"])
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_applied_on_gpus(tmp_path, name, on):
    _, one = compiled(tmp_path, name, on_gpu(name, on))
    assert one.tuned_by == "reduction_p512_r640_f32xf32"
    assert "workgroup_size = [128, 1, 1]" in one.configuration and "partial_reduction = [0, 128]" in one.configuration
    assert one.configured_text.count("#iree_gpu.lowering_config<") == len(PLACES[name][3]) + len(PLACES[name][4]) + 1
    assert kernel_figures.of_dispatch(kernel_figures.read(tmp_path / "d.zip"), one.name).threads == 128  # 320 and 160 by default


@pytest.mark.parametrize("name", ["norm", "softmax"])
def test_applied_and_right_on_a_cpu(tmp_path, name):
    import iree.runtime as rt
    vmfb, one = compiled(tmp_path, name, on_cpu(name))
    assert one.tuned_by and "distribution = [16, 0], vector_common_parallel = [4, 0], vector_reduction = [0, 32]" in one.configuration
    data, config = np.random.default_rng(0).standard_normal((ROWS, COLUMNS), np.float32), rt.Config("local-sync")
    loaded = rt.VmModule.mmap(config.vm_instance, str(vmfb))
    module = rt.SystemContext(vm_modules=[rt.create_hal_module(config.vm_instance, config.device), loaded], config=config).modules[loaded.name]
    wide = data.astype(np.float64)
    centred, weights = wide - wide.mean(1, keepdims=True), np.exp(wide - wide.max(1, keepdims=True))
    wanted = {"norm": centred / np.sqrt((centred ** 2).mean(1, keepdims=True) + 1e-5), "softmax": weights / weights.sum(1, keepdims=True)}
    np.testing.assert_allclose(np.array(module["main"](data).to_host()), wanted[name], rtol=1e-4, atol=1e-5)


def test_a_dispatch_of_another_number_is_left_alone(tmp_path):
    found = on_gpu("norm", "gfx942")
    _, one = compiled(tmp_path, "norm", dataclasses.replace(found, set=dataclasses.replace(
        found.set, within=dataclasses.replace(found.set.within, operations=5))))
    assert one.tuned_by is None and "workgroup_size = [320, 1, 1]" in one.configuration


def test_it_is_read_back(tmp_path):
    found = on_gpu("norm", "gfx942")
    assert records.read(toml_text.save(found, tmp_path)) == found


@pytest.mark.parametrize(("change", "told"), [
    ({"root": 3}, "different ones from 0 to 3"), ({"operations": 3}, "different ones from 0 to 2"),
    ({"others": (Other(operation=0, lowering_config={"partial_reductions": [0, 64]}),)}, "of operation 0 'partial_reductions' is unknown"),
    ({"others": (Other(operation=0, lowering_config={"thread": "all"}),)}, "thread of operation 0 is 'all'"),
    ({"others": (Other(operation=0, lowering_config={"lane_basis": [[1, 32], [0, 1]]}),)}, "lane_basis of operation 0"),
])
def test_refused_before_a_compile(change, told):
    found = on_gpu("norm", "gfx942")
    with pytest.raises(ConfigError, match=told):
        render.text([dataclasses.replace(found, set=dataclasses.replace(found.set, within=dataclasses.replace(found.set.within, **change)))], "norm")

"""compile.tune_constraints: what IREE 3.13 emits for a real matmul on gfx942, held to its own choice and to choices that it cannot take."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from compile import target, tune_constraints, tune_search
from compile.flags import flags
from compile.tune_search import Sweep
from compile.tune_space_gpu import GpuSpace
from compile.tune_store import Result, Scope
from ireeperf.errors import CompileError
from specs.match import Match
from specs.record import Setting

MATMUL = """
func.func @mm(%a: tensor<512x1024xf16>, %b: tensor<1024x768xf16>) -> tensor<512x768xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<512x768xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<512x768xf32>) -> tensor<512x768xf32>
  %r = linalg.matmul ins(%a, %b : tensor<512x1024xf16>, tensor<1024x768xf16>) outs(%f : tensor<512x768xf32>) -> tensor<512x768xf32>
  return %r : tensor<512x768xf32>
}
"""
# 2 x 2 subgroups of 2 x 2 tiles of 32 x 32
SETTING = Setting(pipeline="TileAndFuse", subgroup_size=64, workgroup_size=(256, 1, 1), options={"prefetch_num_stages": 2},
                  lowering_config={"workgroup": [128, 128, 0], "subgroup": [2, 2, 0], "reduction": [0, 0, 4], "mma_kind": "MFMA_F32_32x32x8_F16"})


def changed(**config):
    return replace(SETTING, lowering_config=SETTING.lowering_config | config)


@pytest.fixture(scope="module")
def found():
    return tune_constraints.emitted(MATMUL, tuple(flags(target.find("gfx942"), None)))


def test_what_iree_emits(found):
    assert [one.pipeline for one in found] == ["TileAndFuse", "VectorDistribute"]
    chosen = tune_constraints.of(found, SETTING)
    assert chosen is found[0] and len(chosen.assertions) > 30
    assert chosen.values(SETTING) == {"wg_0": 128, "wg_1": 128, "sg_0": 2, "sg_1": 2, "red_2": 4, "sg_size": 64, "wg_size_x": 256, "wg_size_y": 1,
                                      "wg_size_z": 1, "prefetch_num_stages": 2, "mma_idx": 1}
    assert tune_constraints.emitted(MATMUL.replace("f16", "f32"), tuple(flags(target.find("cpu"), None))) == ()  # none on llvm-cpu


@pytest.mark.parametrize(("setting", "words"), [
    (changed(workgroup=[96, 128, 0]), "dim_0 must be divisible by wg_0"),
    (changed(workgroup=[256, 256, 0]), "sg_num <= 10"),  # 16 subgroups
    (replace(SETTING, workgroup_size=(512, 1, 1)), "wg_size"),
    (replace(SETTING, subgroup_size=32), "sg_size == preferred_subgroup_size"),
    (changed(reduction=[0, 0, 3]), "red_2"),
])
def test_what_the_pipeline_cannot_take(found, setting, words):
    refused = found[0].refused(setting)
    assert refused is not None and refused.startswith("IREE's constraint: ") and words in refused


def test_what_nothing_is_asserted_of(found):
    """Another instruction than the template's, another pipeline, another number of loops: no reason to refuse."""
    for setting, words in ((changed(mma_kind="VMFMA_F32_32x32x16_F16"), "is none of"), (replace(SETTING, pipeline="Distribute"), "these constraints are of"),
                           (changed(reduction=[0, 4]), "3 entries expected"), (replace(SETTING, lowering_config={}), "is not set")):
        assert words in found[0].values(setting) and found[0].refused(setting) is None
    assert found[0].refused(replace(SETTING, options={"prefetch_num_stages": 3})) is None  # pinned by habit, and it runs
    assert tune_constraints.of(found, changed(workgroup=[96, 128, 0])) is None  # the compiler's own choice would break them


def test_solutions_keep_all_of_it(found):
    some = list(found[0].solutions(3))
    assert len(some) == 3 and some[0] != some[1] != some[2]
    for one in some:
        kind = ("MFMA_F32_16x16x16_F16", "MFMA_F32_32x32x8_F16")[one["mma_idx"]]
        setting = Setting(pipeline="TileAndFuse", subgroup_size=one["sg_size"], workgroup_size=(one["wg_size_x"], one["wg_size_y"], one["wg_size_z"]),
                          options={"prefetch_num_stages": one["prefetch_num_stages"]},
                          lowering_config={"workgroup": [one["wg_0"], one["wg_1"], 0], "subgroup": [one["sg_0"], one["sg_1"], 0],
                                           "reduction": [0, 0, one["red_2"]], "mma_kind": kind})
        assert found[0].refused(setting) is None


def test_a_refused_candidate_is_invalid_and_never_compiled(found, tmp_path):
    match = Match(kind="contraction", types=("f16", "f16", "f32"), dims=(512, 768, 1024),
                  maps=("(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d2, d1)", "(d0, d1, d2) -> (d0, d1)"))
    space = GpuSpace(match=match, default=SETTING, target="gfx942", instructions=("MFMA_F32_32x32x8_F16",), parameters={}, sizes=(512, 768, 1024),
                     roles={"m": (0,), "n": (1,), "k": (2,)})
    scope = Scope(source_sha256="a", target="gfx942", compiler="3.13.0", flags="f", machine="")
    sweep = Sweep(space=space, scope=scope, text="no program", entry="", bytes=0, default=Path(), flags=(), driver="hip", rounds=1, result_type="f32",
                  constraints=found[0])
    result = tune_search.build(sweep, {"rows": 2, "columns": 2, "row": 2, "column": 2, "step": 3, "mma": 0, "stages": 2}, tmp_path)
    assert isinstance(result, Result) and result.outcome == "invalid" and "red_2" in result.detail


def test_an_operation_that_3_13_does_not_use_is_named():
    text = """
module {
  func.func @f() {
    %d = arith.constant 4 : index
    iree_codegen.smt.constraints target = <set = 0>, pipeline = #iree_gpu.pipeline<TileAndFuse>, knobs = {} dims(%d) {
    ^bb0(%arg0: !smt.int):
      %0 = smt.int.abs %arg0
    }
    return
  }
}
"""
    with pytest.raises(CompileError, match=r"smt\.int\.abs"):
        tune_constraints.read(text)


def test_two_candidates_are_judged_at_once(found):
    """With --jobs 2 candidates are judged in threads; without a lock z3's one context ended the process (seen packing the UNet for sm_80). In a
    process of its own, for a crash would take this one along."""
    constraints = tune_constraints.of(found, SETTING)
    assert constraints is not None
    child = os.fork()
    if not child:
        with ThreadPoolExecutor(4) as pool:
            same = set(pool.map(lambda _: constraints.refused(SETTING), range(200)))
        os._exit(0 if same == {None} else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

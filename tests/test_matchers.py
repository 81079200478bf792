"""Matchers as IREE's interpreter runs them: what fits is stamped, what differs in one field is not; and its tables of names.

    python -m pytest -q tests/test_matchers.py
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from compile.compiler import compiler_path
from ireeperf.errors import ConfigError
from specs import lowering_keys, render, tiling_check
from specs.match import Match
from specs.record import Setting, TuningRecord

THREE = "(d0, d1, d2) -> "
MMT = Match(kind="contraction", types=("f16", "f16", "f32"), dims=(4096, 10240, 1280),
            maps=(f"{THREE}(d0, d2)", f"{THREE}(d1, d2)", f"{THREE}(d0, d1)"))
SQUARES = Match(kind="reduction", types=("f32", "f32"), dims=(512, 640), maps=("(d0, d1) -> (d0, d1)", "(d0, d1) -> (d0)"), body="mulf addf")
TILES = {"workgroup": [128, 256, 0], "reduction": [0, 0, 4], "subgroup": [4, 4, 0], "mma_kind": "MFMA_F32_16x16x16_F16", "promote_operands": [0, 1]}


def record(match: Match) -> TuningRecord:
    tiled = Setting(pipeline="TileAndFuse", lowering_config=TILES, workgroup_size=(512, 1, 1), subgroup_size=64)
    reduced = Setting(pipeline="VectorDistribute", workgroup_size=(64, 1, 1), subgroup_size=64, lowering_config={
        "workgroup": [1, 0], "partial_reduction": [0, 640], "thread": [0, 2], "lane_basis": [[1, 64], [0, 1]], "subgroup_basis": [[1, 1], [0, 1]]})
    return TuningRecord(target="mi325x-cpx", match=match, set=reduced if match.kind == "reduction" else tiled, evidence="static",
                        static={"vgpr_spills": "9 -> 0"}, source="test", compiler="3.13.0", date="2026-11-25")


def iree_opt(text: str, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([compiler_path().with_name("iree-opt"), *flags, "-"], input=text, capture_output=True, text=True, check=False)


PAYLOAD = """
func.func @f(%a: tensor<4096x1280xf16>, %b: tensor<10240x1280xf16>, %c: tensor<4096x10240xf32>, %r: tensor<512x640xf32>, %s: tensor<512xf32>)
    -> (tensor<4096x10240xf32>, tensor<512xf32>) {
  %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>,
      affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %b : tensor<4096x1280xf16>, tensor<10240x1280xf16>) outs(%c : tensor<4096x10240xf32>) {
  ^bb0(%x: f16, %y: f16, %z: f32):
    %1 = arith.extf %x : f16 to f32
    %2 = arith.extf %y : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = arith.addf %z, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<4096x10240xf32>
  %5 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]}
      ins(%r : tensor<512x640xf32>) outs(%s : tensor<512xf32>) {
  ^bb0(%x: f32, %z: f32):
    %6 = arith.mulf %x, %x : f32
    %7 = arith.addf %6, %z : f32
    linalg.yield %7 : f32
  } -> tensor<512xf32>
  return %0, %5 : tensor<4096x10240xf32>, tensor<512xf32>
}
"""


@pytest.mark.parametrize(("match", "fits"), [
    (MMT, True),
    (SQUARES, True),
    (replace(MMT, dims=(-1, 10240, 1280), multiples=(128, 1, 1)), True),
    (replace(SQUARES, dims=(-1, 640), multiples=(64, 1)), True),
    (replace(MMT, dims=(-1, 10240, 1280), multiples=(96, 1, 1)), False),
    (replace(MMT, dims=(4096, 10240, 2560)), False),
    (replace(MMT, types=("bf16", "bf16", "f32")), False),
    (replace(MMT, maps=(f"{THREE}(d0, d2)", f"{THREE}(d2, d1)", f"{THREE}(d0, d1)")), False),
    (replace(SQUARES, body="addf"), False),
    (replace(SQUARES, dims=(512, 1280)), False),
], ids=["matmul", "reduction", "a multiple", "a reduction of any rows", "no multiple", "other size", "other type", "other map", "other body",
        "other row"])
def test_what_fits_is_stamped_and_nothing_else(match: Match, fits: bool, tmp_path: Path) -> None:
    (tmp_path / "spec.mlir").write_text(render.text([record(match)], "a test"))
    found = iree_opt(PAYLOAD, f"--iree-codegen-transform-dialect-library={tmp_path / 'spec.mlir'}",
                     "--pass-pipeline=builtin.module(iree-codegen-materialize-user-configs)")
    assert found.returncode == 0, found.stderr
    assert found.stdout.count(f'tuned_by = "{match.name}"') == fits


def test_a_body_that_the_renderer_cannot_write_names_those_it_can() -> None:
    with pytest.raises(ConfigError, match=r"the body 'expf addf': the renderer writes .* 'mulf addf'"):
        render.text([record(replace(SQUARES, body="expf addf"))], "a test")


def test_bases_multiply_to_the_threads() -> None:
    wrong = record(SQUARES)
    wrong.set.lowering_config["lane_basis"] = [[1, 32], [0, 1]]
    with pytest.raises(ConfigError, match=r"lane_basis \[1, 32\] multiplies to 32; 64 threads in subgroups of 64 need 64"):
        tiling_check.check(wrong)


def test_tiles_that_do_not_fit_into_shared_memory() -> None:
    wrong = record(MMT)
    wrong.set.lowering_config["reduction"] = [0, 0, 10]
    with pytest.raises(ConfigError, match="take 122880 bytes of shared memory; gfx942 has 65536 a workgroup"):
        tiling_check.check(wrong)


@pytest.mark.parametrize("name", lowering_keys.MMA)
def test_iree_knows_every_name_of_the_tables(name: str) -> None:
    attributes = [f"#iree_gpu.mma_layout<{one}>" for one in lowering_keys.MMA[name]]
    attributes += [f"#iree_gpu.virtual_mma_layout<{one}>" for one in lowering_keys.VIRTUAL_MMA[name]]
    attributes += [f"#iree_{family}.pipeline<{one}>" for family, names in lowering_keys.PIPELINES.items() for one in names]
    found = iree_opt(f"func.func private @f() attributes {{names = [{', '.join(attributes)}]}}")
    assert found.returncode == 0, found.stderr
    assert all(min(lowering_keys.mma_shape(one)) >= 1 for one in lowering_keys.MMA[name])


@pytest.mark.parametrize(("name", "flags"), [
    ("gfx942", ["--iree-hal-target-device=hip", "--iree-rocm-target=gfx942"]), ("gfx950", ["--iree-hal-target-device=hip", "--iree-rocm-target=gfx950"]),
    ("sm_80", ["--iree-hal-target-device=cuda", "--iree-cuda-target=sm_80"]), ("sm_89", ["--iree-hal-target-device=cuda", "--iree-cuda-target=sm_89"])])
def test_the_tables_are_the_compiler_s_own(name: str, flags: list[str]) -> None:
    program = "func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }"
    found = subprocess.run([compiler_path(), "-", *flags, "--compile-to=preprocessing"], input=program, capture_output=True, text=True, check=True)
    listed = re.search(r"\bmma = \[([^\]]*)\]", found.stdout)
    assert listed is not None and set(re.findall(r"<(\w+)>", listed[1])) == set(lowering_keys.MMA[name])
    assert f"max_workgroup_memory_bytes = {lowering_keys.LDS_BYTES[name]}" in found.stdout
    assert f"subgroup_size_choices = [{lowering_keys.SUBGROUP_SIZE[name]}]" in found.stdout
    assert f"max_thread_count_per_workgroup = {lowering_keys.WORKGROUP_THREADS}" in found.stdout

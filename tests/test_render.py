"""specs.render: what records become, that IREE applies it on each back end, and what is refused before anything is compiled.

    python -m pytest -q tests/test_render.py
"""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest
import tomli_w

from compile.compiler import compiler_path
from compile.flags import flags
from compile.target import find
from ireeperf import document
from ireeperf.errors import ConfigError
from specs import render
from specs.match import Match
from specs.record import Setting, TuningRecord

ATTENTION = "(d0, d1, d2, d3, d4) -> "
CONVOLUTION = "(d0, d1, d2, d3, d4, d5, d6) -> "
NT = ("(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d1, d2)", "(d0, d1, d2) -> (d0, d1)")
GENERIC = """
func.func @main({arguments}) -> {out} {{
  %c = arith.constant 0.0 : f32
  %e = tensor.empty() : {out}
  %z = linalg.fill ins(%c : f32) outs(%e : {out}) -> {out}
  %0 = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{iterators}]}} ins(%a, %b : {operands}) outs(%z : {out}) {{
  ^bb0(%l: {kind}, %r: {kind}, %acc: f32):
    {body}
    linalg.yield %s : f32
  }} -> {out}
  return %0 : {out}
}}
"""
WIDEN = "%x = arith.extf %l : f16 to f32\n    %y = arith.extf %r : f16 to f32\n    "
MULTIPLY = "%p = arith.mulf {}, {} : f32\n    %s = arith.addf %acc, %p : f32"
ATTEND = """
func.func @main(%q: tensor<4x256x64xf16>, %k: tensor<4x256x64xf16>, %v: tensor<4x256x64xf16>) -> tensor<4x256x64xf16> {{
  %s = arith.constant 0.125 : f32
  %e = tensor.empty() : tensor<4x256x64xf16>
  %0 = iree_linalg_ext.attention <indexing_maps = [{maps}]> ins(%q, %k, %v, %s : tensor<4x256x64xf16>, tensor<4x256x64xf16>,
       tensor<4x256x64xf16>, f32) outs(%e : tensor<4x256x64xf16>) {{
  ^bb0(%score: f32):
    iree_linalg_ext.yield %score : f32
  }} -> tensor<4x256x64xf16>
  return %0 : tensor<4x256x64xf16>
}}
"""


def record(target: str = "mi325x-cpx", **changes) -> TuningRecord:
    """A matmul of 256x256x256 in f16; `changes` go into its setting."""
    setting = Setting(pipeline="TileAndFuse", workgroup_size=(256, 1, 1), subgroup_size=64, options={"prefetch_num_stages": 2},
                      lowering_config={"workgroup": [64, 64, 0], "reduction": [0, 0, 2], "subgroup": [2, 2, 0],
                                       "mma_kind": "MFMA_F32_16x16x16_F16", "promote_operands": [0, 1]})
    match = Match(kind="contraction", types=("f16", "f16", "f32"), dims=(256, 256, 256), maps=NT)
    return TuningRecord(target=target, match=match, set=dataclasses.replace(setting, **changes), evidence="ported", source="a test",
                        compiler="3.13.0", date="2026-11-25")


def convolution() -> TuningRecord:
    """2x64x32x32, 3x3, channels first: as an implicit matmul its loops are image, channel, row, column and one k of 576."""
    match = Match(kind="convolution", types=("f16", "f16", "f32"), dims=(2, 64, 32, 32, 64, 3, 3), maps=(
        CONVOLUTION + "(d0, d4, d2 + d5, d3 + d6)", CONVOLUTION + "(d1, d4, d5, d6)", CONVOLUTION + "(d0, d1, d2, d3)"))
    return dataclasses.replace(
        record(workgroup_size=(512, 1, 1), options={"prefetch_num_stages": 2, "use_igemm_convolution": True},
               lowering_config={"workgroup": [1, 32, 2, 32, 0], "reduction": [0, 0, 0, 0, 4], "subgroup": [1, 1, 1, 1, 0],
                                "mma_kind": "MFMA_F32_16x16x16_F16", "promote_operands": [0, 1]}), match=match)


def attention() -> TuningRecord:
    basis = {"subgroup_basis": [[1, 4, 1, 1, 1], [0, 1, 3, 4]], "promote_operands": [0, 1], "mma_kind": "VMFMA_F32_16x16x32_F16"}
    value = {"subgroup_basis": [[1, 4, 1, 1, 1], [0, 1, 2, 4]], "promote_operands": [1], "mma_kind": "MFMA_F32_16x16x16_F16"}
    match = Match(kind="attention", types=("f16", "f16", "f16", "f32", "f32", "f32", "f32"), dims=(4, 256, 64, 64, 256), maps=tuple(
        ATTENTION + part for part in ("(d0, d1, d3)", "(d0, d4, d3)", "(d0, d4, d2)", "()", "(d0, d1, d2)", "(d0, d1)", "(d0, d1)")))
    return dataclasses.replace(
        record(pipeline="VectorDistribute", options={}, attributes={"denormal_fp_math_f32": "preserve-sign", "llvm_func_attrs": {"amdgpu-waves-per-eu": "2"}},
               lowering_config={"workgroup": [1, 64, 64, 0, 0], "reduction": [0, 0, 0, 0, 64], "promote_operands": [0, 1, 2]},
               decomposition={"qk_attrs": {"lowering_config": basis}, "pv_attrs": {"lowering_config": value}}), match=match)


def on_cpu() -> TuningRecord:
    found = record("cpu-avx2", pipeline="DoubleTilingExpert", workgroup_size=(), subgroup_size=None, options={},
                   lowering_config={"distribution": [64, 64, 0], "vector_common_parallel": [8, 32, 0], "vector_reduction": [0, 0, 4]})
    return dataclasses.replace(found, match=dataclasses.replace(found.match, types=("f32", "f32", "f32")))


def on_cuda() -> TuningRecord:
    return record("sm_80", workgroup_size=(128, 1, 1), subgroup_size=32, lowering_config={
        "workgroup": [64, 64, 0], "reduction": [0, 0, 2], "subgroup": [2, 4, 0], "mma_kind": "NV_MMA_SYNC_F32_16x8x16_F16",
        "promote_operands": [0, 1], "convert_acc_gemm": True})


def write(folder: Path, *records: TuningRecord) -> Path:
    """`records` as a folder of TOML files."""
    def plain(value):
        return {key: plain(one) for key, one in value.items() if one not in (None, {}, [])} if isinstance(value, dict) else value
    for one in records:
        document.write_text(folder / f"{one.name}.toml", tomli_w.dumps(plain(document.to_dict(one))))
    return folder


def source(one: TuningRecord) -> str:
    """A program with the one operation that `one` is for."""
    if one.match.kind == "attention":
        return ATTEND.format(maps=", ".join(f"affine_map<{text}>" for text in one.match.maps[:5]))
    kind = one.match.types[0]
    shapes = (("2x64x34x34", "64x64x3x3", "2x64x32x32") if one.match.kind == "convolution" else ("256x256",) * 3)
    a, b, out = (f"tensor<{shape}x{type_}>" for shape, type_ in zip(shapes, one.match.types, strict=True))
    reduced = sum(map(len, (one.match.roles[role] for role in one.match.roles if role in ("k", "filter", "input_channel"))))
    iterators = ['"parallel"'] * (len(one.match.dims) - reduced) + ['"reduction"'] * reduced
    return GENERIC.format(arguments=f"%a: {a}, %b: {b}", out=out, operands=f"{a}, {b}", kind=kind, iterators=", ".join(iterators),
                          maps=", ".join(f"affine_map<{text}>" for text in one.match.maps),
                          body=WIDEN + MULTIPLY.format("%x", "%y") if kind == "f16" else MULTIPLY.format("%l", "%r"))


@pytest.mark.parametrize("make", [record, convolution, attention, on_cpu, on_cuda])
def test_iree_applies_what_is_rendered(make, tmp_path) -> None:
    one = make()
    spec, program, configured = tmp_path / "spec.mlir", tmp_path / "main.mlir", tmp_path / "configured"
    spec.write_text(render.text([one], "a test"))
    program.write_text(source(one))
    # data tiling would pack the CPU's matmul into another operation
    found = subprocess.run([compiler_path(), program, *(flag for flag in flags(find(one.target), spec) if "data-tiling" not in flag),
                            "--compile-to=executable-configurations", f"--iree-hal-dump-executable-configurations-to={configured}",
                            "-o", tmp_path / "out.mlir"], check=False, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr[:2000]
    text = "".join(path.read_text() for path in configured.glob("*.mlir"))
    assert text.count(f'tuned_by = "{one.name}"') == 1, text[:4000]
    tiles = one.set.lowering_config.get("workgroup", one.set.lowering_config.get("distribution"))
    assert f"{'workgroup' if 'workgroup' in one.set.lowering_config else 'distribution'} = {tiles}" in text
    assert f"pipeline<{one.set.pipeline}>" in text


def test_rendering_is_a_function_of_the_records(tmp_path) -> None:
    some, others = write(tmp_path / "a" / "x", record(), convolution(), attention()), write(tmp_path / "b" / "x", attention(), convolution(), record())
    assert render.render(some) == render.render(some) == render.render(others)


def test_golden_fragments(tmp_path) -> None:
    text = render.render(write(tmp_path / "x", record(), convolution(), attention()))
    for line in ("// Tuning spec of x for mi325x-cpx (gfx942): 3 records, 3 ported.",
                 "  transform.iree.match.has_no_lowering_config %op : !transform.any_op",
                 "lowering_config<{workgroup = [64, 64, 0], reduction = [0, 0, 2], subgroup = [2, 2, 0], "
                 "mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>",
                 "  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>",
                 "gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, use_igemm_convolution = true>",
                 "mma_kind = #iree_gpu.virtual_mma_layout<VMFMA_F32_16x16x32_F16>",
                 'iree_codegen.denormal_fp_math_f32 = #iree_codegen.denormal_fp_math<"preserve-sign">',
                 "    @attention_b4_m256_n64_qk64_kv256_f16_bmkxbvkxbvnxbmnxbmxbm -> @apply_attention,",
                 "    @contraction_m256_n256_k256_f16xf16xf32 -> @apply,"):
        assert line in text, line
    assert "--iree-codegen-transform-dialect-library" in render.text([on_cuda()], "x")


def test_an_exact_record_is_tried_before_one_of_any_size(tmp_path) -> None:
    anything = dataclasses.replace(record(), match=dataclasses.replace(record().match, dims=(-1, 256, 256), multiples=(64, 1, 1)))
    text = render.render(write(tmp_path / "x", anything, record()))
    assert text.index("@contraction_m256_n256_k256_f16xf16xf32 ->") < text.index("@contraction_many_n256_k256_f16xf16xf32 ->")
    assert "transform.iree.match.dim_is_multiple_of %d0[0], 64" in text


GOOD = record().set.lowering_config
REFUSED = [
    ({"lowering_config": {**GOOD, "reductions": [0, 0, 2]}}, "lowering_config key 'reductions' .* did you mean 'reduction'"),
    ({"options": {"prefetch_shared_memory": True}}, "option 'prefetch_shared_memory' is unknown"),
    ({"options": {"prefetch_num_stage": 2}}, "did you mean 'prefetch_num_stages'"),
    ({"options": {"prefetch_num_stages": True}}, "is True; expected a whole number"),
    ({"pipeline": "LLVMGPUTileAndFuse"}, "pipeline 'LLVMGPUTileAndFuse' is unknown .* did you mean 'TileAndFuse'"),
    ({"pipeline": "DoubleTilingExpert"}, "pipeline 'DoubleTilingExpert' is unknown"),
    ({"attributes": {"llvm_attrs": {"a": "b"}}}, "did you mean 'llvm_func_attrs'"),
    ({"workgroup_size": (128, 1, 1)}, "has 128 threads; .* makes 4 subgroups, 256 threads"),
    ({"workgroup_size": (2048, 1, 1)}, "2048 threads; at most 1024"),
    ({"subgroup_size": 32}, "subgroup_size is 32; gfx942 has 64"),
    ({"lowering_config": {**GOOD, "mma_kind": "MFMA_F32_16x16x32_F16"}}, "mma_kind on gfx942 'MFMA_F32_16x16x32_F16' is unknown"),
    ({"lowering_config": {**GOOD, "workgroup": [64, 64]}}, "workgroup has 2 sizes for 3 loops"),
    ({"lowering_config": {**GOOD, "subgroup": [3, 2, 0]}}, r"workgroup\[0\] 64 is not a multiple of subgroup\[0\] 3 x 16"),
    ({"lowering_config": {**GOOD, "reduction": [0, 0, 3]}}, r"reduction\[2\] x 16 = 48 does not divide K = 256"),
    ({"decomposition": {"qk_attrs": {"lowering_config": {"reduction": [0]}}}}, "decomposition is for attention"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_the_compiler_would_drop_or_misread_is_refused(changes, words, tmp_path) -> None:
    with pytest.raises(ConfigError, match=f"record contraction_m256_n256_k256_f16xf16xf32: .*{words}"):
        render.render(write(tmp_path / "x", record(**changes)))


def test_two_records_for_one_dispatch(tmp_path) -> None:
    some = dataclasses.replace(record(), match=dataclasses.replace(record().match, dims=(-1, 256, 256)))
    other = dataclasses.replace(record(), match=dataclasses.replace(record().match, dims=(256, -1, 256)))
    with pytest.raises(ConfigError, match="two records in .* are for one dispatch: contraction_m256_nany_k256_.* and contraction_many_n256_"):
        render.render(write(tmp_path / "x", some, other))


def test_a_record_of_another_target(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"is for mi325x-cpx, the folder for mi355x-cpx; move it to specs/mi325x-cpx/x/"):
        render.render(write(tmp_path / "mi355x-cpx" / "x", record()))


def test_a_syntax_error_and_a_misspelt_key_name_file_and_place(tmp_path) -> None:
    path = write(tmp_path / "x", record()) / f"{record().name}.toml"
    good = path.read_text()
    path.write_text(good.replace('target = "mi325x-cpx"', 'target = "mi325x-cpx'))
    with pytest.raises(ConfigError, match=rf"{path} is not valid TOML: .*line 2"):
        render.render(tmp_path / "x")
    path.write_text(good.replace("pipeline = ", "pipelin = "))
    with pytest.raises(ConfigError, match=rf"{path}: set: unknown key 'pipelin'"):
        render.render(tmp_path / "x")


def test_a_folder_without_records_and_a_misnamed_file(tmp_path) -> None:
    with pytest.raises(ConfigError, match="is no folder of records"):
        render.render(tmp_path / "x")
    (tmp_path / "x").mkdir()
    with pytest.raises(ConfigError, match="holds no records"):
        render.render(tmp_path / "x")
    write(tmp_path / "x", record())
    (tmp_path / "x" / f"{record().name}.toml").rename(tmp_path / "x" / "other.toml")
    with pytest.raises(ConfigError, match=f"rename it to {record().name}.toml"):
        render.render(tmp_path / "x")


def test_the_command_writes_and_checks(tmp_path, capsys) -> None:
    folder = write(tmp_path / "mi325x-cpx" / "x", record())
    assert render.main([str(folder)]) == 0 and render.main([str(folder), "--check"]) == 0
    (tmp_path / "mi325x-cpx" / "x.mlir").write_text("edited by hand")
    with pytest.raises(ConfigError, match=r"x\.mlir; run python -m specs.render"):
        render.main([str(folder), "--check"])
    assert '"checked": true' in capsys.readouterr().out


def test_tracked_libraries_are_what_their_records_give() -> None:
    folders, libraries = render.folders(), sorted(render.SPECS.glob("*/*.mlir"))
    assert [folder.with_suffix(".mlir") for folder in folders] == libraries
    for folder in folders:
        assert (folder.parent / f"{folder.name}.mlir").read_text() == render.render(folder), f"{folder}: run python -m specs.render"

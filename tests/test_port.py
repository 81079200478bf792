"""specs.port: specs in the form of 2025 become records for IREE 3.13, and what cannot be carried is told with its reason.

    python -m pytest -q tests/test_port.py
"""

from __future__ import annotations

import dataclasses

import pytest

from ireeperf.errors import ConfigError
from scripts import amd_specs
from specs import old_text, port, render
from specs.match import Match

HEAD = """#wide = affine_map<(d0, d1, d2) -> (d0, d2)>
module attributes {transform.with_named_sequence} {
  // transform.named_sequence @left_out(%a: !transform.any_op) {
  transform.named_sequence @apply_config(%op: !transform.any_op {transform.readonly}, %c: !transform.any_param {transform.readonly}) {
    transform.annotate %op "compilation_info" = %c : !transform.any_op, !transform.any_param
    transform.yield
  }
"""
PRODUCT = """
  transform.named_sequence @{name}(%op: !transform.any_op {{transform.readonly}}) -> (!transform.any_op, !transform.any_param) {{
    %ins, %outs = transform.iree.match.cast_compatible_dag_from_root %op {{
    ^bb0({arguments}):
      {operation}
    }} : (!transform.any_op) -> (!transform.any_value, !transform.any_value)
    %c = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{{{config}}}>,
      translation_info = <pipeline = LLVMGPU{pipeline} workgroup_size = [256, 1, 1] subgroup_size = 64, {{gpu_pipeline_options =
      #iree_gpu.pipeline_options<{options}>, llvm_func_attrs = {{"amdgpu-waves-per-eu" = "2"}}}}>> -> !transform.any_param
    transform.yield %op, %c : !transform.any_op, !transform.any_param
  }}
"""
ATTENTION = """
  transform.named_sequence @attend(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
    transform.match.operation_name %op ["iree_linalg_ext.attention"] : !transform.any_op
    %q = transform.get_operand %op[0] : (!transform.any_op) -> !transform.any_value
    transform.iree.match.cast_compatible_type %q = tensor<?x?x1024x?xf16> : !transform.any_value
    %c = transform.param.constant #iree_codegen.compilation_info<
      lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 0, 0, 0], reduction=[0, 0, 0, 0, 0, 64], promote_operands = [1, 2]}>,
      translation_info = #iree_codegen.translation_info<pipeline = LLVMGPUVectorDistribute
                                                        workgroup_size = [64, 4]
                                                        subgroup_size = 64 ,
        {llvm_func_attrs = { "amdgpu-waves-per-eu" = "2", "denormal-fp-math-f32" = "preserve-sign" }}>>
    -> !transform.any_param
    %d = transform.param.constant {
      qk_attrs = {attention_qk_matmul, lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.virtual_mma_layout<intrinsic =
        VMFMA_F32_32x32x16_F16>, subgroup_m_count = 4, subgroup_n_count = 1, promote_operands = [1] }>},
      pv_attrs = {attention_pv_matmul, lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.mma_layout<MFMA_F32_32x32x8_F16>,
        subgroup_m_count = 4, subgroup_n_count = 1, promote_operands = [1] }>}
    } -> !transform.any_param
    transform.yield %op, %c, %d : !transform.any_op, !transform.any_param, !transform.any_param
  }
"""
MMA = "mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1], "
TILES = MMA + "reduction = [0, 0, 2], subgroup = [2, 2, 0], subgroup_m_count = 2 : i64, subgroup_n_count = 2 : i64, workgroup = [64, 64, 0]"
OLD_OPTIONS = "prefetch_shared_memory = true, no_reduce_shared_memory_bank_conflicts = false"


def matmul(name: str = "mm", tensors: tuple[str, ...] = ("256x512xi8", "128x512xi8", "256x128xi32"), results: str = "", **changes: str) -> str:
    operation = (f"%1{results} = linalg.generic {{indexing_maps = [#wide, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>], "
                 'iterator_types = ["parallel", "parallel", "reduction"]} ins(...) outs(...) { ... }')
    arguments = ", ".join(f"%a{index}: tensor<{tensor}>" for index, tensor in enumerate(tensors))
    return PRODUCT.format(**{"name": name, "arguments": arguments, "operation": operation, "config": TILES, "pipeline": "TileAndFuse",
                             "options": OLD_OPTIONS} | changes)


def convolution(strides: int = 1) -> str:
    """Two images of 64x64, channels last, 32 to 64 channels; workgroup is over image, row, column, channel, k."""
    size = 64 * strides + 2
    config = MMA + "reduction = [0, 0, 0, 0, 1], subgroup = [1, 2, 1, 2, 0], workgroup = [1, 4, 32, 32, 0]"
    return PRODUCT.format(
        name="conv", arguments=f"%a: tensor<2x{size}x{size}x32xi8>, %b: tensor<3x3x32x64xi8>, %c: tensor<2x64x64x64xi32>", config=config,
        operation=f"%1 = linalg.conv_2d_nhwc_hwcf {{dilations = dense<1> : vector<2xi64>, strides = dense<{strides}> : vector<2xi64>}} ins(...)",
        pipeline="TileAndFuse", options=OLD_OPTIONS + ", use_igemm_convolution = true")


def spec(*sequences: str, tried: tuple[str, ...] = ("attend", "mm", "conv")) -> str:
    choices = "\n        , ".join(f"@{name} -> @apply_config" for name in tried if f"@{name}(" in "".join(sequences))
    return HEAD + "".join(sequences) + """
  transform.named_sequence @__kernel_config(%root: !transform.any_op {transform.consumed}) -> !transform.any_op
      attributes {iree_codegen.tuning_spec_entrypoint} {
    %done = transform.foreach_match in %root
        // Attention.
        """ + choices + " : (!transform.any_op) -> !transform.any_op\n    transform.yield %done : !transform.any_op\n  }\n}\n"


def ported(*sequences: str, **arguments: tuple[str, ...]) -> list[port.Ported]:
    return list(port.port(spec(*sequences, **arguments), "mi325x-cpx", "a test", "2026-11-25"))


def test_a_matmul() -> None:
    [found] = ported(matmul())
    assert found.record is not None, found.reason
    assert found.record.name == "contraction_m256_n128_k512_i8xi8xi32" and found.record.source == "a test mm"
    assert found.record.match.maps[0] == "(d0, d1, d2) -> (d0, d2)"  # through the alias
    chosen = found.record.set
    assert chosen.pipeline == "TileAndFuse" and chosen.workgroup_size == (256, 1, 1) and chosen.subgroup_size == 64
    assert chosen.options == {"prefetch_num_stages": 2, "no_reduce_shared_memory_bank_conflicts": False}
    assert chosen.lowering_config == {"mma_kind": "MFMA_I32_16x16x32_I8", "promote_operands": [0, 1], "reduction": [0, 0, 2],
                                      "subgroup": [2, 2, 0], "workgroup": [64, 64, 0]}
    assert chosen.attributes == {"llvm_func_attrs": {"amdgpu-waves-per-eu": "2"}}


def test_prefetching_off_is_no_stage() -> None:
    [found] = ported(matmul(options="prefetch_shared_memory = false"))
    assert found.record is not None and found.record.set.options == {"prefetch_num_stages": 0}


def test_attention_becomes_online_attention() -> None:
    [found] = ported(ATTENTION)
    assert found.record is not None, found.reason
    assert found.record.match.dims == (-1, -1, 1024, -1, -1, -1) and found.record.match.types[3:] == ("f32",) * 4
    assert found.record.match.multiples == (1, 1, 1, 1, 1, 64)
    assert found.record.set.workgroup_size == (256, 1, 1)
    assert found.record.set.attributes == {"llvm_func_attrs": {"amdgpu-waves-per-eu": "2"}, "denormal_fp_math_f32": "preserve-sign"}
    text = render.text([found.record], "a test")
    assert "transform.iree.match.online_attention %op, query_type = f16" in text
    assert ("mma_kind = #iree_gpu.virtual_mma_layout<VMFMA_F32_32x32x16_F16, col_major = true>, "
            "subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 4, 5]], promote_operands = [1]") in text


@pytest.mark.parametrize("strides", [1, 2])
def test_a_convolution_and_the_same_with_channels_first(strides: int) -> None:
    [found] = ported(convolution(strides))
    assert found.record is not None, found.reason
    assert found.record.match.dims == (2, 64, 64, 64, 3, 3, 32)
    over, by = "(d0, d1, d2, d3, d4, d5, d6) -> ", " * 2" if strides == 2 else ""
    wanted = Match(kind="convolution", types=("i8", "i8", "i32"), dims=(2, 64, 64, 64, 32, 3, 3), maps=(
        f"{over}(d0, d4, d2{by} + d5, d3{by} + d6)", f"{over}(d1, d4, d5, d6)", f"{over}(d0, d1, d2, d3)"))
    fitting = port.fit(found.record, wanted)
    assert fitting is not None and fitting.match == wanted
    assert fitting.set.lowering_config["workgroup"] == [1, 32, 4, 32, 0] and fitting.set.lowering_config["subgroup"] == [1, 2, 2, 1, 0]
    assert fitting.set.lowering_config["reduction"] == [0, 0, 0, 0, 1]
    render.text([fitting], "a test")  # its tiles still make four subgroups
    other = " * 2" if strides == 1 else ""
    assert port.fit(found.record, dataclasses.replace(wanted, maps=(f"{over}(d0, d4, d2{other} + d5, d3{other} + d6)", *wanted.maps[1:]))) is None
    assert port.fit(found.record, dataclasses.replace(wanted, dims=(2, 64, 64, 64, 64, 3, 3))) is None


def test_an_attention_of_any_size_takes_whole_tiles_only() -> None:
    [found] = ported(ATTENTION.replace("x1024x", "x?x"))
    assert found.record is not None and found.record.match.multiples == (1, 1, 128, 1, 1, 64)
    wanted = dataclasses.replace(found.record.match, dims=(4, 20, 1024, 64, 64, 64), multiples=())
    fitting = port.fit(found.record, wanted)
    assert fitting is not None and fitting.match == found.record.match
    assert port.fit(found.record, dataclasses.replace(wanted, dims=(4, 20, 64, 64, 64, 64))) is None


def test_a_row_of_amds_table_says_what_became_of_the_matcher() -> None:
    [found, again] = ported(matmul(), matmul("again"), tried=("mm", "again"))
    assert found.record is not None
    build = amd_specs.Build("x", (found.record.match,), {found.record.name: ""})
    assert amd_specs.settle(found, build) == f"`{found.record.name}`"
    assert amd_specs.settle(found, build) == f"covered by `{found.record.name}` (mm)"
    assert amd_specs.settle(again, build).startswith("not carried: mm is tried before it")
    assert amd_specs.settle(found, amd_specs.Build("x", (), {})) == "no such dispatch"
    assert "is not applied" in amd_specs.settle(found, amd_specs.Build("x", (found.record.match,), {}))
    assert amd_specs.settle(found, amd_specs.Build("x", (found.record.match,), {found.record.name: "d spills"})) == "dropped: d spills"


def test_a_product_whose_result_is_stored_transposed() -> None:
    [found] = ported(matmul())
    assert found.record is not None
    wanted = Match(kind="contraction", types=("i8", "i8", "i32"), dims=(128, 256, 512), maps=(
        "(d0, d1, d2) -> (d1, d2)", "(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d0, d1)"))
    uneven = dataclasses.replace(found.record, set=dataclasses.replace(
        found.record.set, lowering_config=found.record.set.lowering_config | {"workgroup": [128, 32, 0], "subgroup": [2, 2, 0]}))
    fitting = port.fit(uneven, wanted)
    assert fitting is not None and fitting.set.lowering_config["workgroup"] == [32, 128, 0]
    assert port.fit(found.record, dataclasses.replace(wanted, types=("f16", "f16", "f32"))) is None


@pytest.mark.parametrize(("sequences", "tried", "reason"), [
    ([matmul(tensors=("256x512xi8", "128x512xi8", "128x512xi8", "256x128xi32"), results=":2")], ("mm",), "2 products fused into one operation"),
    ([matmul(), matmul("again")], ("mm", "again"), "mm is tried before it and takes the same operation"),
    ([matmul()], ("attend",), "__kernel_config does not list it"),
    ([matmul(pipeline="WarpReduction")], ("mm",), "pipeline 'WarpReduction' is unknown"),
    ([matmul(options="reorder = true")], ("mm",), "option reorder = True has no successor"),
    ([matmul(config=TILES + ", unroll = 4")], ("mm",), "lowering_config key 'unroll' is unknown"),
    ([matmul(config=TILES.replace("[64, 64, 0]", "[64, 32, 0]"))], ("mm",), "makes 2 subgroups, 128 threads"),
    ([matmul(tensors=("256x512xi8", "128x256xi8", "256x128xi32"))], ("mm",), "loop d2 has 512 and 256 iterations"),
    ([matmul(pipeline="VectorDistribute")], ("mm",), "its subgroup counts say not over which loops they go"),
    ([matmul(operation="%1 = linalg.pooling ins(...)")], ("mm",), "matches linalg.pooling, which the port does not read"),
    ([ATTENTION.replace("?x?x1024x?x", "?x1024x?x")], ("attend",), "query of four dimensions"),
])
def test_what_is_not_carried_says_why(sequences: list[str], tried: tuple[str, ...], reason: str) -> None:
    assert reason in ported(*sequences, tried=tried)[-1].reason


def test_the_order_is_that_of_trying_and_comments_do_not_count() -> None:
    found = ported(matmul(), "\n// " + ATTENTION.replace("\n", "\n// "), convolution(), tried=("conv", "mm"))
    assert [(one.matcher.name, one.matcher.listed) for one in found] == [("conv", True), ("mm", True)]
    assert found[1].matcher.line == spec(matmul()).splitlines().index(next(line for line in spec(matmul()).splitlines() if "@mm(" in line)) + 1


def test_a_text_that_ends_too_early_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"of the sequence at line \d+ is never closed"):
        old_text.matchers(spec(matmul())[:900])


def test_the_command(tmp_path, capsys) -> None:
    (tmp_path / "old.mlir").write_text(spec(ATTENTION, matmul(), convolution(), matmul("again")))
    arguments = [str(tmp_path / "old.mlir"), "--target", "mi325x-cpx", "--output", str(tmp_path / "mi325x-cpx" / "x"), "--date", "2026-11-25"]
    assert port.main(arguments) == 0
    out = capsys.readouterr().out
    assert '"matchers": 4, "records": 3' in out and "again: not carried: __kernel_config does not list it" in out
    assert [one.source for one in render.read_all(tmp_path / "mi325x-cpx" / "x")] == ["old.mlir mm", "old.mlir conv", "old.mlir attend"]
    (tmp_path / "old.mlir").write_text("module {}")
    with pytest.raises(ConfigError, match="holds no matcher"):
        port.main(arguments)

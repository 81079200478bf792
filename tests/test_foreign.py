"""specs.foreign: a hand-written spec for another compiler is told what is outdated in it, where, and what to write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compile import flags, target, tuning_spec
from ireeperf.errors import ConfigError
from specs import foreign

# In the manner of 2025, on made-up sizes
OLD = """module attributes {transform.with_named_sequence} {
transform.named_sequence @match_one(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param) {
  transform.match.operation_name %op ["iree_linalg_ext.attention"] : !transform.any_op
  // pipeline = LLVMGPUDistribute in a comment is nothing to tell of
  %0 = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{
      mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_FP16>, subgroup_m_count = 2 : i64, reductions = [0, 0, 4], workgroup = [64, 64, 0]}>,
    translation_info = <pipeline = LLVMGPUTileAndFuse workgroup_size = [128, 1, 1] subgroup_size = 64,
      {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_shared_memory = true>,
       llvm_func_attrs = {"denormal-fp-math-f32" = "preserve-sign"}}>> -> !transform.any_param
  %1 = transform.param.constant {qk_attrs = {lowering_config = #iree_gpu.lowering_config<{
      mma_kind = #iree_gpu.virtual_mma_layout<intrinsic = VMFMA_F32_32x32x16_F16>}>}} -> !transform.any_param
  transform.yield %op, %0 : !transform.any_op, !transform.any_param
}
}
"""
NEW = """module @x attributes {transform.with_named_sequence, iree_codegen.tuning_spec_with_default_entrypoint} {
transform.named_sequence @apply(%op: !transform.any_op {transform.readonly}, %info: !transform.any_param {transform.readonly}) {
  transform.annotate %op "compilation_info" = %info : !transform.any_op, !transform.any_param
  transform.yield
}
transform.named_sequence @one(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param) {
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{convert_acc_gemm,
      workgroup = [64, 64, 0], reduction = [0, 0, 4], subgroup = [2, 2, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>}>,
    translation_info = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [256, 1, 1]
      subgroup_size = 64>> -> !transform.any_param
  transform.yield %op, %info : !transform.any_op, !transform.any_param
}
transform.named_sequence @__kernel_config(%root: !transform.any_op {transform.consumed}) -> !transform.any_op
    attributes {iree_codegen.tuning_spec_entrypoint} {
  %done = transform.foreach_match in %root @one -> @apply : (!transform.any_op) -> !transform.any_op
  transform.yield %done : !transform.any_op
}
}
"""


@pytest.mark.parametrize("words", [
    'line 3: "iree_linalg_ext.attention" is of an older IREE; attention is iree_linalg_ext.online_attention',
    "line 6: matrix instruction MFMA_F32_16x16x16_FP16 is none of gfx942, gfx950, sm_80, sm_89; did you mean MFMA_F32_16x16x16_F16?",
    "line 6: subgroup_m_count is of an older IREE; not read any more",
    "line 6: lowering_config key reductions is taken and read by nothing; did you mean reduction?",
    "line 7: LLVMGPUTileAndFuse is of an older IREE; write pipeline = #iree_gpu.pipeline<TileAndFuse>",
    "line 8: prefetch_shared_memory is of an older IREE; write prefetch_num_stages = 2",
    'line 9: "denormal-fp-math-f32" = "preserve-sign" is of an older IREE; write iree_codegen.denormal_fp_math_f32',
    "line 11: virtual_mma_layout<intrinsic = VMFMA_F32_32x32x16_F16 is of an older IREE; write the intrinsic alone",
])
def test_each_outdated_thing_has_its_line_and_remedy(words: str) -> None:
    assert any(message.startswith(words) for message in foreign.diagnose(OLD)), foreign.diagnose(OLD)


def test_the_form_before_that() -> None:
    assert foreign.diagnose("#iree_codegen.translation_info<LLVMGPUVectorDistribute workgroup_size = [64, 1, 1]>") == [
        "line 1: LLVMGPUVectorDistribute is of an older IREE; write pipeline = #iree_gpu.pipeline<VectorDistribute> inside translation_info"]


def test_what_occurs_often_is_told_once() -> None:
    assert sum("LLVMGPUTileAndFuse" in message for message in foreign.diagnose(OLD * 3)) == 1
    assert any(message.startswith("line 7 and 2 more: ") for message in foreign.diagnose(OLD * 3))


def test_a_spec_of_today_has_nothing_to_be_told(tmp_path: Path) -> None:
    assert foreign.diagnose(NEW) == []
    found = subprocess.run([Path(sys.executable).parent / "iree-opt", "-"], input=NEW, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_an_entry_that_the_compiler_would_not_find() -> None:
    assert any("@__kernel_config: the compiler looks for that one" in one for one in foreign.diagnose(NEW.replace("@__kernel_config", "@main")))
    assert any("tuning_spec_entrypoint" in one for one in foreign.diagnose(NEW.replace("attributes {iree_codegen.tuning_spec_entrypoint}", "")))


def test_what_the_compiler_said_in_short() -> None:
    wrong = NEW.replace("transform.foreach_match in", "transform.foreach_mtch in")
    said = "x.mlir:15:11: error: custom op 'transform.foreach_mtch' is unknown\n  %done = ...\nmodel.mlir:5:8: error: Failed to load tuning spec"
    assert foreign.refusal(wrong, "x.mlir", said) == [
        "syntax error at line 15, column 11: custom op 'transform.foreach_mtch' is unknown: "
        "%done = transform.foreach_mtch in %root @one -> @apply : (!transform.any_op) -> !transform.any_op"]
    assert foreign.refusal(OLD, "x.mlir", "x.mlir:7:33: error: expected attribute value") == foreign.diagnose(OLD)
    assert foreign.refusal(OLD, "x.mlir", "model.mlir:7:33: error: uses 70000 bytes of shared memory") == []


def test_iree_s_own_words_are_understood() -> None:
    """The form of its errors, from the program itself."""
    wrong = NEW.replace("transform.foreach_match in", "transform.foreach_mtch in")
    found = subprocess.run([Path(sys.executable).parent / "iree-opt", "-"], input=wrong, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    (message,) = foreign.refusal(wrong, "<stdin>", found.stderr)
    assert message.startswith("syntax error at line 15, column ") and "foreach_mtch" in message


@pytest.mark.parametrize(("text", "words"), [
    (OLD, r"old\.mlir is no spec of IREE 3\.13:\n  line 3: (.*\n)+  mend these lines, or make records of it with python -m specs\.port"),
    (NEW.replace("transform.foreach_match in", "transform.foreach_mtch in"), r"syntax error at line 15, column \d+: custom op 'transform.foreach_mtch'"),
])
def test_a_build_is_refused_before_anything_is_spent_on_it(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "old.mlir"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        tuning_spec.check_by_hand(path)
    path.write_text(NEW)
    tuning_spec.check_by_hand(path)


def test_a_compile_with_a_spec_runs_on_one_thread(tmp_path: Path) -> None:
    """With threads IREE 3.13 can wait for itself while it loads the spec (compile/flags.py)."""
    for name in ("cpu", "gfx942", "sm_80"):
        assert "--mlir-disable-threading" in flags.flags(target.find(name), tmp_path / "spec.mlir")
        assert "--mlir-disable-threading" not in flags.flags(target.find(name), None)

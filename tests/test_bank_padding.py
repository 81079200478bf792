"""compile/bank_padding.py: the written-out passes are the compiler's own but for what they change, and a marked record gets them."""

from __future__ import annotations

import re
import subprocess
import zipfile
from dataclasses import replace

import pytest

from compile import bank_padding, compiler, dispatch_ir, dumps, target, tune_program, tune_space_gpu
from compile.compiler import Task, compile_all
from compile.flags import flags
from ireeperf.errors import CompileError, MissingFileError
from specs import render
from specs.record import TuningRecord

CUDA = target.find("sm_80")
# x w + bias + x: the residual and the bias lie in an epilogue, as everywhere in the UNet; 256 results a thread
PROGRAM = """
func.func @main(%x: tensor<256x256xf16>, %w: tensor<256x256xf16>, %bias: tensor<256xf16>) -> tensor<256x256xf16> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<256x256xf32>
  %half = tensor.empty() : tensor<256x256xf16>
  %fill = linalg.fill ins(%zero : f32) outs(%empty : tensor<256x256xf32>) -> tensor<256x256xf32>
  %product = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<256x256xf16>, tensor<256x256xf16>) outs(%fill : tensor<256x256xf32>) {
  ^bb0(%a: f16, %b: f16, %sum: f32):
    %wide_a = arith.extf %a : f16 to f32
    %wide_b = arith.extf %b : f16 to f32
    %one = arith.mulf %wide_a, %wide_b : f32
    %next = arith.addf %sum, %one : f32
    linalg.yield %next : f32
  } -> tensor<256x256xf32>
  %result = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (n)>, affine_map<(m, n) -> (m, n)>,
      affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]} ins(%product, %bias, %x : tensor<256x256xf32>, tensor<256xf16>,
      tensor<256x256xf16>) outs(%half : tensor<256x256xf16>) {
  ^bb0(%wide: f32, %b: f16, %residual: f16, %out: f16):
    %narrow = arith.truncf %wide : f32 to f16
    %biased = arith.addf %narrow, %b : f16
    %sum = arith.addf %biased, %residual : f16
    linalg.yield %sum : f16
  } -> tensor<256x256xf16>
  return %result : tensor<256x256xf16>
}
"""
POINT = {"rows": 2, "columns": 2, "row": 4, "column": 8, "step": 4, "mma": 0, "padding": 128}
SPILLED = "__local_depot"  # PTX's name of a kernel's local memory


def compiled(folder, text=PROGRAM, spec=None):
    """The zip of dumps of one program."""
    source = folder / "program.mlir"
    source.write_text(text)
    task = Task(label="program", mlir=source, flags=tuple(flags(CUDA, spec)), folder=folder / "out", name="program", log=folder / "log", dispatches=True)
    for _ in compile_all([task], 1):
        pass
    return folder / "out" / f"program{dumps.SUFFIX}"


def setting(one, point, bits):
    space = tune_space_gpu.space(one.match, one.configuration, "sm_80")
    return replace(space.setting(point | {"stages": space.parameters["stages"][0]}), attributes={"shared_memory_padding_bits": bits})


def assembly(text, point, bits, folder, change):
    """PTX of the dispatch of `text` at `point`, `change` made between the phases."""
    folder.mkdir()
    path = compiled(folder, text)
    one, = dispatch_ir.dispatches(path)
    program = tune_program.stripped(dumps.read(path, f"benchmark/{one.name}.mlir").decode())
    (folder / "program.mlir").write_text(tune_program.configured(program, one.match, setting(one, point, bits), "sm_80"))
    between = folder / "between.mlir"
    for words in ([folder / "program.mlir", f"--compile-to={bank_padding.PHASE}", "-o", between],
                  [between, f"--compile-from={bank_padding.PHASE}", f"--iree-hal-dump-executable-binaries-to={folder}", "-o", folder / "program.vmfb"]):
        if between.exists():
            between.write_text(change(between.read_text()))
        subprocess.run([compiler.compiler_path(), *words, *flags(CUDA, None)], check=True)
    found, = folder.glob("*.ptx")
    return found.read_text()


def test_the_passes_with_the_compilers_choices_give_the_compilers_code(tmp_path):
    """64 bits, results of 64 numbers, the passes over layouts back in: all others are the compiler's own, in their order, with their options."""
    text = PROGRAM.replace("linalg.yield %sum : f16", "linalg.yield %biased : f16")
    small = POINT | {"row": 2, "column": 4}
    own = assembly(text, small, 64, tmp_path / "own", lambda module: module)
    written = assembly(text, small, 64, tmp_path / "written", lambda module: bank_padding.padded(module, vector=64, layouts=bank_padding.LAYOUTS))
    assert own == written and "mma.sync" in own


def test_rows_lie_on_all_banks_and_results_stay_in_registers(tmp_path):
    """Rows of 72 halves: 16 bytes are stored at once, which rows of 68 do not allow; nothing goes by way of local memory."""
    own = assembly(PROGRAM, POINT, 128, tmp_path / "own", lambda module: module)
    better = assembly(PROGRAM, POINT, 128, tmp_path / "better", bank_padding.padded)
    assert "st.shared.v2" in own and SPILLED in own
    assert "st.shared.v4" in better and "st.shared.v2" not in better and SPILLED not in better
    rows = {int(offset) for offset in re.findall(r"st\.shared\.v4\.b32 \t\[%rd\d+\+(\d+)\]", better)}
    assert rows and all(offset % (2 * 72) == 0 for offset in rows), rows  # 16 rows on, of 144 bytes


def test_a_marked_record_is_compiled_in_two_phases_and_others_are_left(tmp_path):
    values = ", ".join(f"{value}.0" for value in range(256))  # a constant has to survive the text between the phases
    text = PROGRAM.replace(", %bias: tensor<256xf16>)", ")").replace(
        "  %empty", f"  %bias = arith.constant dense<[{values}]> : tensor<256xf16>\n  %empty", 1)
    one, = dispatch_ir.dispatches(compiled(tmp_path, text))
    record = TuningRecord(target="sm_80", match=one.match, set=setting(one, POINT, 128), evidence="ported", source="a test", compiler="3.13.0",
                          date="2026-11-25")
    spec = tmp_path / "spec.mlir"
    spec.write_text(render.text((record,), "spec"))
    (tmp_path / "tuned").mkdir()
    found, = dispatch_ir.dispatches(compiled(tmp_path / "tuned", text, spec))
    assert found.tuned_by == record.name
    with zipfile.ZipFile(tmp_path / f"tuned/out/program{dumps.SUFFIX}") as archive:
        ptx, = (archive.read(name).decode() for name in archive.namelist() if name.endswith(".ptx"))
    assert "st.shared.v4" in ptx
    script = (tmp_path / "tuned/out/program.command.sh").read_text()
    assert script.count("iree-compile") >= 2 and "python -m compile.bank_padding program.preprocessed.mlir" in script
    module = tmp_path / "module.mlir"
    module.write_text(found.configuration)
    assert bank_padding.marked(found.configuration) and not bank_padding.marked(one.configuration)
    assert bank_padding.padded(one.configuration) == one.configuration
    assert bank_padding.main([str(module)]) == 0 and "padding-bits=128" in module.read_text()


def test_a_kernel_that_allocates_is_refused(tmp_path):
    (tmp_path / "x.vmfb").write_bytes(b"\0call.uni (retval0), malloc, (param0);")
    with pytest.raises(CompileError, match="would allocate memory"):
        bank_padding.refuse(tmp_path / "x.vmfb")
    (tmp_path / "x.vmfb").write_bytes(b"\0ret;")
    bank_padding.refuse(tmp_path / "x.vmfb")
    with pytest.raises(MissingFileError, match="compile-to"):
        bank_padding.main([str(tmp_path / "absent.mlir")])


def test_a_marked_dispatch_of_another_form_is_refused_not_left():
    other = "#x = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<VectorDistribute> {ireeperf.shared_memory_padding_bits = 128 : i64}>"
    with pytest.raises(CompileError, match="1 of 1 dispatches"):
        bank_padding.padded(other)

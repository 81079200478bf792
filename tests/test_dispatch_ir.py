"""Dispatches read from the compiler's dumps: kinds, loops, FLOPs, bytes, calls, and the hash that tuning goes by."""

from __future__ import annotations

import pytest

from compile import dispatch_ir
from compile.dispatch_ir import Dispatch
from ireeperf.errors import CompileError

CONFIG = "#iree_gpu.lowering_config<{{workgroup = {workgroup}}}>"
LAYOUT = "layout(<bindings = [#hal.pipeline.binding<storage_buffer>, #hal.pipeline.binding<storage_buffer>, #hal.pipeline.binding<storage_buffer>]>)"
MATMUL = """linalg.generic {{indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> ({rhs})>,
      affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%0, %1 : tensor<4x8xf16>, tensor<{weight}xf16>) outs(%init : tensor<4x16xf32>) attrs = {{{attributes}}} {{
    ^bb0(%left: f16, %right: f16, %sum: f32):
      %wide_a = arith.extf %left : f16 to f32
      %wide_b = arith.extf %right : f16 to f32
      %product = arith.{combine} %wide_a, %wide_b : f32
      %next = arith.addf %sum, %product : f32
      linalg.yield %next : f32
    }} -> tensor<4x16xf32>"""


def matmul(*, name: str = "main_dispatch_0", offset: int = 64, weight: str = "16x8", rhs: str = "d1, d2", combine: str = "mulf",
           workgroup: str = "[4, 16, 0]", tuned_by: str = "") -> str:
    """A dispatch as the compiler dumps it: two loads, a fill, a product of matrices, a store."""
    stamp = f', tuned_by = "{tuned_by}"' if tuned_by else ""
    body = MATMUL.format(weight=weight, rhs=rhs, combine=combine, attributes=f"lowering_config = {CONFIG.format(workgroup=workgroup)}{stamp}")
    return function(name, offset, f"{weight}xf16", f"%2 = {body}\n    iree_codegen.store_to_buffer %2, %out : tensor<4x16xf32> into memref<4x16xf32>")


def function(name: str, offset: int, second: str, body: str) -> str:
    lines = [f"func.func @{name}() attributes {{translation_info = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> "
             "workgroup_size = [64, 1, 1] subgroup_size = 64>} {", "    %c = arith.constant 0.0 : f32", f"    %offset = arith.constant {offset} : index"]
    for index, (value, shape) in enumerate((("a", "4x8xf16"), ("b", second), ("out", "4x16xf32"))):
        lines.append(f"    %{value} = hal.interface.binding.subspan {LAYOUT} binding({index}) alignment(64) offset(%offset) : memref<{shape}>")
    lines.append("    %0 = iree_codegen.load_from_buffer %a : memref<4x8xf16> -> tensor<4x8xf16>")
    lines.append(f"    %1 = iree_codegen.load_from_buffer %b : memref<{second}> -> tensor<{second}>")
    lines.append("    %empty = tensor.empty() : tensor<4x16xf32>")
    lines.append("    %init = linalg.fill ins(%c : f32) outs(%empty : tensor<4x16xf32>) -> tensor<4x16xf32>")
    return "\n".join([*lines, f"    {body}", "    return", "}"])


def read(text: str, name: str = "main_dispatch_0") -> Dispatch:
    return dispatch_ir.read(text, name)


def test_a_contraction_is_read_off_its_loops():
    found = read(matmul(tuned_by="contraction_m4_n16_k8_f16xf16xf32"))
    assert found.kind == "contraction" and found.match is not None
    assert found.match.name == "contraction_m4_n16_k8_f16xf16xf32" == found.tuned_by
    assert found.match.maps[1] == "(d0, d1, d2) -> (d1, d2)" and found.match.dims == (4, 16, 8)
    assert (found.flops, found.matrix_flops, found.matrix_type) == (2 * 4 * 16 * 8, 2 * 4 * 16 * 8, "f16")
    assert found.bytes == 2 * 4 * 8 + 2 * 16 * 8 + 4 * 4 * 16
    assert "TileAndFuse" in found.configuration and "workgroup = [4, 16, 0]" in found.configuration


def test_a_sum_of_sums_is_no_contraction():
    found = read(matmul(combine="addf"))
    assert found.kind == "reduction" and found.match is not None
    assert found.match.body == "extf extf addf addf" and found.matrix_flops == 0 and found.flops == 2 * 4 * 16 * 8


def test_the_hash_is_of_the_work_only():
    plain = read(matmul()).source_sha256
    assert read(matmul(name="other_3", offset=4096, workgroup="[2, 8, 0]", tuned_by="x"), "other_3").source_sha256 == plain
    assert read(matmul(weight="8x16", rhs="d2, d1")).source_sha256 != plain
    assert read(matmul(combine="addf")).source_sha256 != plain


def test_a_convolution_slides_and_attention_counts_both_products():
    conv = function("main_dispatch_0", 0, "3x16x8xf16", """%x = tensor.empty() : tensor<1x6x8xf16>
    %y = tensor.empty() : tensor<1x4x16xf32>
    %2 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4) -> (d0, d1 + d3, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d3, d2, d4)>,
      affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %1 : tensor<1x6x8xf16>, tensor<3x16x8xf16>) outs(%y : tensor<1x4x16xf32>) {
    ^bb0(%p: f16, %q: f16, %sum: f32):
      %r = arith.mulf %p, %q : f16
      %s = arith.extf %r : f16 to f32
      %t = arith.addf %sum, %s : f32
      linalg.yield %t : f32
    } -> tensor<1x4x16xf32>
    %3 = tensor.collapse_shape %2 [[0, 1], [2]] : tensor<1x4x16xf32> into tensor<4x16xf32>
    iree_codegen.store_to_buffer %3, %out : tensor<4x16xf32> into memref<4x16xf32>""")
    found = read(conv)
    assert found.kind == "convolution" and found.shape == (1, 4, 16, 3, 8) and found.flops == 2 * 4 * 16 * 3 * 8

    attention = function("main_dispatch_0", 0, "32x8xf16", """%v = tensor.empty() : tensor<32x16xf16>
    %max = tensor.empty() : tensor<4xf32>
    %2:3 = iree_linalg_ext.online_attention <indexing_maps = [affine_map<(m, n, k1, k2) -> (m, k1)>, affine_map<(m, n, k1, k2) -> (k2, k1)>,
      affine_map<(m, n, k1, k2) -> (k2, n)>, affine_map<(m, n, k1, k2) -> ()>, affine_map<(m, n, k1, k2) -> (m, n)>,
      affine_map<(m, n, k1, k2) -> (m)>, affine_map<(m, n, k1, k2) -> (m)>]>
      ins(%0, %1, %v, %c : tensor<4x8xf16>, tensor<32x8xf16>, tensor<32x16xf16>, f32)
      outs(%init, %max, %max : tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>) {
    ^bb0(%score: f32):
      iree_linalg_ext.yield %score : f32
    } -> tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>
    iree_codegen.store_to_buffer %2#0, %out : tensor<4x16xf32> into memref<4x16xf32>""")
    found = read(attention)
    assert found.kind == "attention" and found.flops == 2 * 4 * 32 * (8 + 16) and found.match is not None
    assert found.match.roles == {"batch": (), "m": (0,), "n": (1,), "k1": (2,), "k2": (3,)}


def test_a_table_that_is_looked_up_counts_what_is_looked_up():
    text = function("main_dispatch_0", 0, "1000000xf32", """%2 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>],
      iterator_types = ["parallel", "parallel"]} outs(%empty : tensor<4x16xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %e = tensor.extract %1[%i] : tensor<1000000xf32>
      linalg.yield %e : f32
    } -> tensor<4x16xf32>
    iree_codegen.store_to_buffer %2, %out : tensor<4x16xf32> into memref<4x16xf32>""")
    found = read(text)
    assert found.kind == "elementwise" and found.flops == 0
    assert found.bytes == 2 * 4 * 4 * 16  # 64 elements looked up, 64 written; the first operand is not read


def test_calls_are_by_entry_point_and_leave_initializers_out():
    stream = """  util.initializer {
      stream.cmd.dispatch @once::@pack {
  }
  util.func public @run$async(%arg0: !hal.buffer_view) {
      stream.cmd.dispatch @a::@work_1[%c1](%c2 : i32) {
      stream.cmd.dispatch @a::@work_1 {
      stream.cmd.dispatch @b::@"odd-name" {
  }
  util.func public @start(%arg0: !hal.buffer_view) {
      stream.cmd.dispatch @a::@work_1 {
  }
"""
    assert dispatch_ir.calls(stream) == {"pack": {}, "work_1": {"run": 2, "start": 1}, "odd-name": {"run": 1}}


def test_a_dump_of_another_compiler_is_refused_by_name():
    with pytest.raises(CompileError, match="cannot parse the dump of main_dispatch_0"):
        read("func.func @main_dispatch_0( {")
    with pytest.raises(CompileError, match="no function"):
        read(matmul(), "main_dispatch_1")

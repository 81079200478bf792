// Tuning spec of sdxl_nano_fp32_bs1_2_4_8 for cpu-avx512 (cpu): 1 records, 1 measured.
// Evidence is of compiler 3.13.0.
// Rendered by `python -m specs.render`; edit the records, not this file.
#maps0 = [affine_map<(d0, d1, d2, d3, d4) -> (d0, d2, d3, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d4, d1)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>]
#translation0 = #iree_codegen.translation_info<pipeline = #iree_cpu.pipeline<DoubleTilingExpert>>
module @cpu_avx512_sdxl_nano_fp32_bs1_2_4_8 attributes {transform.with_named_sequence, iree_codegen.tuning_spec_with_default_entrypoint} {
transform.named_sequence @apply(%op: !transform.any_op {transform.readonly}, %info: !transform.any_param {transform.readonly}, %name: !transform.any_param {transform.readonly}) {
  transform.annotate %op "compilation_info" = %info : !transform.any_op, !transform.any_param
  transform.annotate %op "tuned_by" = %name : !transform.any_op, !transform.any_param
  transform.yield
}
transform.named_sequence @contraction_b2_m8x8_n96_k96_f32xf32xf32_bmkxbknxbnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f32, rhs_type = f32, output_type = f32, indexing_maps = #maps0 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %m, [8, 8] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [96] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [96] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_cpu.lowering_config<distribution = [2, 48, 8, 8, 0], vector_common_parallel = [1, 16, 1, 1, 0], vector_reduction = [0, 0, 0, 0, 4]>, translation_info = #translation0> -> !transform.any_param
  %name = transform.param.constant "contraction_b2_m8x8_n96_k96_f32xf32xf32_bmkxbknxbnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @__kernel_config(%root: !transform.any_op {transform.consumed}) -> !transform.any_op attributes {iree_codegen.tuning_spec_entrypoint} {
  %done = transform.foreach_match in %root
    @contraction_b2_m8x8_n96_k96_f32xf32xf32_bmkxbknxbnm -> @apply : (!transform.any_op) -> !transform.any_op
  transform.yield %done : !transform.any_op
}
}

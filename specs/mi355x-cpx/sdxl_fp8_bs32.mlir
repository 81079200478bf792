// Tuning spec of sdxl_fp8_bs32 for mi355x-cpx (gfx950): 3 records, 1 ported, 2 static.
// Evidence is of compiler 3.13.0.
// Rendered by `python -m specs.render`; edit the records, not this file.
#maps0 = [affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d1, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>]
#translation0 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [256, 1, 1] subgroup_size = 64, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 1, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = false>}>
#maps1 = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>]
#maps2 = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d4)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d5, d4)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d3, d5)>, affine_map<(d0, d1, d2, d3, d4, d5) -> ()>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2)>]
#translation1 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<VectorDistribute> workgroup_size = [256, 1, 1] subgroup_size = 64, {llvm_func_attrs = {"amdgpu-waves-per-eu" = "2"}, iree_codegen.denormal_fp_math_f32 = #iree_codegen.denormal_fp_math<"preserve-sign">}>
#decomposition0 = {qk_attrs = {lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.mma_layout<MFMA_F32_32x32x64_F8E4M3FN, col_major = true>, subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 4, 5]], promote_operands = [1]}>}, pv_attrs = {lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.mma_layout<MFMA_F32_32x32x64_F8E4M3FN, col_major = true>, subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 3, 5]], promote_operands = [1]}>}}
module @mi355x_cpx_sdxl_fp8_bs32 attributes {transform.with_named_sequence, iree_codegen.tuning_spec_with_default_entrypoint} {
transform.named_sequence @apply(%op: !transform.any_op {transform.readonly}, %info: !transform.any_param {transform.readonly}, %name: !transform.any_param {transform.readonly}) {
  transform.annotate %op "compilation_info" = %info : !transform.any_op, !transform.any_param
  transform.annotate %op "tuned_by" = %name : !transform.any_op, !transform.any_param
  transform.yield
}
transform.named_sequence @apply_attention(%op: !transform.any_op {transform.readonly}, %info: !transform.any_param {transform.readonly}, %decomposition: !transform.any_param {transform.readonly}, %name: !transform.any_param {transform.readonly}) {
  transform.annotate %op "compilation_info" = %info : !transform.any_op, !transform.any_param
  transform.annotate %op "decomposition_config" = %decomposition : !transform.any_op, !transform.any_param
  transform.annotate %op "tuned_by" = %name : !transform.any_op, !transform.any_param
  transform.yield
}
transform.named_sequence @contraction_m64x1024_n1280_k1280_f8E4M3FNxf8E4M3FNxf32_mkxnkxmnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f8E4M3FN, rhs_type = f8E4M3FN, output_type = f32, indexing_maps = #maps0 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 128, 64, 0], reduction = [0, 0, 0, 1], subgroup = [1, 4, 2, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x128_F8E4M3FN>, promote_operands = [0, 1]}>, translation_info = #translation0> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x1024_n1280_k1280_f8E4M3FNxf8E4M3FNxf32_mkxnkxmnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m65536_n1280_k1280_f8E4M3FNxf8E4M3FNxf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f8E4M3FN, rhs_type = f8E4M3FN, output_type = f32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [65536] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [64, 128, 0], reduction = [0, 0, 1], subgroup = [2, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x128_F8E4M3FN>, promote_operands = [0, 1]}>, translation_info = #translation0> -> !transform.any_param
  %name = transform.param.constant "contraction_m65536_n1280_k1280_f8E4M3FNxf8E4M3FNxf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @attention_banyxany_many_nany_qkany_kvany_f8E4M3FN(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k1, %k2 = transform.iree.match.online_attention %op, query_type = f8E4M3FN, key_type = f8E4M3FN, value_type = f8E4M3FN, scale_type = f32, output_type = f32, max_type = f32, sum_type = f32, indexing_maps = #maps2 : !transform.any_op -> !transform.param<i64>
  %d2 = transform.get_operand %op[0] : (!transform.any_op) -> !transform.any_value
  transform.iree.match.dim_is_multiple_of %d2[2], 128 : !transform.any_value
  %d5 = transform.get_operand %op[1] : (!transform.any_op) -> !transform.any_value
  transform.iree.match.dim_is_multiple_of %d5[2], 64 : !transform.any_value
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 0, 0, 0], reduction = [0, 0, 0, 0, 0, 64], promote_operands = [1, 2]}>, translation_info = #translation1> -> !transform.any_param
  %decomposition = transform.param.constant #decomposition0 -> !transform.any_param
  %name = transform.param.constant "attention_banyxany_many_nany_qkany_kvany_f8E4M3FN" -> !transform.any_param
  transform.yield %op, %info, %decomposition, %name : !transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param
}
transform.named_sequence @__kernel_config(%root: !transform.any_op {transform.consumed}) -> !transform.any_op attributes {iree_codegen.tuning_spec_entrypoint} {
  %done = transform.foreach_match in %root
    @contraction_m64x1024_n1280_k1280_f8E4M3FNxf8E4M3FNxf32_mkxnkxmnm -> @apply,
    @contraction_m65536_n1280_k1280_f8E4M3FNxf8E4M3FNxf32 -> @apply,
    @attention_banyxany_many_nany_qkany_kvany_f8E4M3FN -> @apply_attention : (!transform.any_op) -> !transform.any_op
  transform.yield %done : !transform.any_op
}
}

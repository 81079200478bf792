// Tuning spec of sdxl_fp16_bs1 for sm_80 (sm_80): 36 records, 36 measured.
// Evidence is of compiler 3.13.0.
// Rendered by `python -m specs.render`; edit the records, not this file.
// CUDA of IREE 3.13 takes it with --iree-codegen-transform-dialect-library, not --iree-codegen-tuning-spec-path.
#maps0 = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d4)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d5, d4)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d5, d3)>, affine_map<(d0, d1, d2, d3, d4, d5) -> ()>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2)>]
#translation0 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<VectorDistribute> workgroup_size = [128, 1, 1] subgroup_size = 32, {iree_codegen.denormal_fp_math_f32 = #iree_codegen.denormal_fp_math<"preserve-sign">}>
#decomposition0 = {qk_attrs = {lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 4, 5]], promote_operands = [0, 1], promotion_types = [#iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config]}>}, pv_attrs = {lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 3, 5]], promote_operands = [1], promotion_types = [#iree_gpu.derived_thread_config]}>}}
#maps1 = [affine_map<(d0, d1, d2, d3, d4) -> (d0, d2, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d4, d1, d3)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>]
#translation1 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [128, 1, 1] subgroup_size = 32, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = false>, ireeperf.shared_memory_padding_bits = 128}>
#maps2 = [affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d3, d2)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>]
#maps3 = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>]
#maps4 = [affine_map<(d0, d1, d2) -> (d2, d0)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>]
#translation2 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [128, 1, 1] subgroup_size = 32, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 1, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = false>}>
#translation3 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [128, 1, 1] subgroup_size = 32, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = false>}>
#maps5 = [affine_map<(d0, d1, d2, d3, d4) -> (d0, d2, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d1, d3, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>]
#maps6 = [affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1 + d4, d2 + d5, d6)>, affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d4, d5, d6, d3)>, affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>]
#translation4 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [128, 1, 1] subgroup_size = 32, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = true>, ireeperf.shared_memory_padding_bits = 128}>
#translation5 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [128, 1, 1] subgroup_size = 32, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 1, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = true>}>
#translation6 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [128, 1, 1] subgroup_size = 32, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 3, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = true>}>
#maps7 = [affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1 * 2 + d4, d2 * 2 + d5, d6)>, affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d4, d5, d6, d3)>, affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>]
#translation7 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [128, 1, 1] subgroup_size = 32, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = true>}>
module @sm_80_sdxl_fp16_bs1 attributes {transform.with_named_sequence, iree_codegen.tuning_spec_with_default_entrypoint} {
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
transform.named_sequence @attention_b2x10_m4096_n64_qk64_kv4096_f16_bmkxbvkxbvnxbmnxbmxbm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k1, %k2 = transform.iree.match.online_attention %op, query_type = f16, key_type = f16, value_type = f16, scale_type = f32, output_type = f32, max_type = f32, sum_type = f32, indexing_maps = #maps0 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2, 10] : !transform.param<i64>
  transform.iree.match.dims_equal %m, [4096] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %k1, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %k2, [4096] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 64, 64, 0, 0], reduction = [0, 0, 0, 0, 0, 64], promote_operands = [0, 1, 2], promotion_types = [#iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config]}>, translation_info = #translation0> -> !transform.any_param
  %decomposition = transform.param.constant #decomposition0 -> !transform.any_param
  %name = transform.param.constant "attention_b2x10_m4096_n64_qk64_kv4096_f16_bmkxbvkxbvnxbmnxbmxbm" -> !transform.any_param
  transform.yield %op, %info, %decomposition, %name : !transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param
}
transform.named_sequence @attention_b2x10_m4096_n64_qk64_kv64_f16_bmkxbvkxbvnxbmnxbmxbm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k1, %k2 = transform.iree.match.online_attention %op, query_type = f16, key_type = f16, value_type = f16, scale_type = f32, output_type = f32, max_type = f32, sum_type = f32, indexing_maps = #maps0 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2, 10] : !transform.param<i64>
  transform.iree.match.dims_equal %m, [4096] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %k1, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %k2, [64] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 64, 64, 0, 0], reduction = [0, 0, 0, 0, 0, 64], promote_operands = [0, 1, 2], promotion_types = [#iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config]}>, translation_info = #translation0> -> !transform.any_param
  %decomposition = transform.param.constant #decomposition0 -> !transform.any_param
  %name = transform.param.constant "attention_b2x10_m4096_n64_qk64_kv64_f16_bmkxbvkxbvnxbmnxbmxbm" -> !transform.any_param
  transform.yield %op, %info, %decomposition, %name : !transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param
}
transform.named_sequence @attention_b2x20_m1024_n64_qk64_kv1024_f16_bmkxbvkxbvnxbmnxbmxbm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k1, %k2 = transform.iree.match.online_attention %op, query_type = f16, key_type = f16, value_type = f16, scale_type = f32, output_type = f32, max_type = f32, sum_type = f32, indexing_maps = #maps0 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2, 20] : !transform.param<i64>
  transform.iree.match.dims_equal %m, [1024] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %k1, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %k2, [1024] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 64, 64, 0, 0], reduction = [0, 0, 0, 0, 0, 64], promote_operands = [0, 1, 2], promotion_types = [#iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config]}>, translation_info = #translation0> -> !transform.any_param
  %decomposition = transform.param.constant #decomposition0 -> !transform.any_param
  %name = transform.param.constant "attention_b2x20_m1024_n64_qk64_kv1024_f16_bmkxbvkxbvnxbmnxbmxbm" -> !transform.any_param
  transform.yield %op, %info, %decomposition, %name : !transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param
}
transform.named_sequence @attention_b2x20_m1024_n64_qk64_kv64_f16_bmkxbvkxbvnxbmnxbmxbm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k1, %k2 = transform.iree.match.online_attention %op, query_type = f16, key_type = f16, value_type = f16, scale_type = f32, output_type = f32, max_type = f32, sum_type = f32, indexing_maps = #maps0 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2, 20] : !transform.param<i64>
  transform.iree.match.dims_equal %m, [1024] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %k1, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %k2, [64] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 64, 64, 0, 0], reduction = [0, 0, 0, 0, 0, 64], promote_operands = [0, 1, 2], promotion_types = [#iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config, #iree_gpu.derived_thread_config]}>, translation_info = #translation0> -> !transform.any_param
  %decomposition = transform.param.constant #decomposition0 -> !transform.any_param
  %name = transform.param.constant "attention_b2x20_m1024_n64_qk64_kv64_f16_bmkxbvkxbvnxbmnxbmxbm" -> !transform.any_param
  transform.yield %op, %info, %decomposition, %name : !transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_b2_m4096_n10x64_k640_f16xf16xf32_bmkxbknxbnmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %m, [4096] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [10, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 4, 4, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_b2_m4096_n10x64_k640_f16xf16xf32_bmkxbknxbnmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_b2_m4096_n640_k640_f16xf16xf32_bmkxbknxbmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps2 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %m, [4096] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 64, 128, 0], reduction = [0, 0, 0, 8], subgroup = [1, 4, 4, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_b2_m4096_n640_k640_f16xf16xf32_bmkxbknxbmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m2048_n10240_k1280_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [2048] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [10240] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 128, 0], reduction = [0, 0, 4], subgroup = [4, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m2048_n10240_k1280_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m2048_n1280_k1280_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [2048] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 64, 0], reduction = [0, 0, 4], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m2048_n1280_k1280_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m2048_n1280_k2560_f16xf16xf32_kmxnkxmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps4 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [2048] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [2560] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [64, 128, 0], reduction = [0, 0, 8], subgroup = [2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation2> -> !transform.any_param
  %name = transform.param.constant "contraction_m2048_n1280_k2560_f16xf16xf32_kmxnkxmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m2048_n1280_k5120_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [2048] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [5120] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [64, 128, 0], reduction = [0, 0, 4], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m2048_n1280_k5120_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m2048_n1280_k640_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [2048] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [64, 128, 0], reduction = [0, 0, 4], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1], convert_acc_gemm}>, translation_info = #translation3> -> !transform.any_param
  %name = transform.param.constant "contraction_m2048_n1280_k640_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m2x1024_n20x64_k1280_f16xf16xf32_mkxnkxmnmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps5 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [2, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [20, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 2, 64, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m2x1024_n20x64_k1280_f16xf16xf32_mkxnkxmnmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m2x64_n20x64_k2048_f16xf16xf32_mkxnkxmnmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps5 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [2, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [20, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [2048] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [2, 2, 16, 16, 0], reduction = [0, 0, 0, 0, 8], subgroup = [1, 1, 1, 2, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m2x64_n20x64_k2048_f16xf16xf32_mkxnkxmnmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m32768_n320_k640_f16xf16xf32_kmxnkxmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps4 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [32768] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [320] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 64, 0], reduction = [0, 0, 4], subgroup = [2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation3> -> !transform.any_param
  %name = transform.param.constant "contraction_m32768_n320_k640_f16xf16xf32_kmxnkxmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m32768_n320_k960_f16xf16xf32_kmxnkxmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps4 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [32768] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [320] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [960] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 64, 0], reduction = [0, 0, 4], subgroup = [4, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation2> -> !transform.any_param
  %name = transform.param.constant "contraction_m32768_n320_k960_f16xf16xf32_kmxnkxmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m8192_n5120_k640_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [8192] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [5120] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 64, 0], reduction = [0, 0, 4], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m8192_n5120_k640_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m8192_n640_k1280_f16xf16xf32_kmxnkxmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps4 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [8192] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [64, 128, 0], reduction = [0, 0, 8], subgroup = [2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation2> -> !transform.any_param
  %name = transform.param.constant "contraction_m8192_n640_k1280_f16xf16xf32_kmxnkxmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m8192_n640_k1920_f16xf16xf32_kmxnkxmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps4 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [8192] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1920] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [64, 128, 0], reduction = [0, 0, 8], subgroup = [2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation3> -> !transform.any_param
  %name = transform.param.constant "contraction_m8192_n640_k1920_f16xf16xf32_kmxnkxmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m8192_n640_k2560_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [8192] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [2560] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [64, 128, 0], reduction = [0, 0, 8], subgroup = [2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m8192_n640_k2560_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m8192_n640_k320_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [8192] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [320] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [64, 128, 0], reduction = [0, 0, 4], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1], convert_acc_gemm}>, translation_info = #translation3> -> !transform.any_param
  %name = transform.param.constant "contraction_m8192_n640_k320_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i128x128_f320_r3x3_c320_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [128, 128] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [320] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [320] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i128x128_f320_r3x3_c320_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i128x128_f320_r3x3_c640_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [128, 128] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [320] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 64, 0], reduction = [0, 0, 0, 0, 8], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i128x128_f320_r3x3_c640_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i128x128_f320_r3x3_c960_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [128, 128] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [320] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [960] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i128x128_f320_r3x3_c960_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i128x128_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [128, 128] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 128, 0], reduction = [0, 0, 0, 0, 8], subgroup = [1, 1, 8, 4, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i128x128_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i32x32_f1280_r3x3_c1280_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [32, 32] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 4, 32, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation6> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i32x32_f1280_r3x3_c1280_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i32x32_f1280_r3x3_c1920_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [32, 32] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1920] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 4, 32, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i32x32_f1280_r3x3_c1920_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i32x32_f1280_r3x3_c2560_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [32, 32] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [2560] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 4, 32, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i32x32_f1280_r3x3_c2560_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i32x32_f1280_r3x3_c640_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [32, 32] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 4, 32, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i32x32_f1280_r3x3_c640_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i32x32_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [32, 32] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 4, 32, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation7> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i32x32_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i64x64_f1280_r3x3_c1280_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 2, 64, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i64x64_f1280_r3x3_c1280_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i64x64_f320_r3x3_c320_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [320] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [320] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 2, 64, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i64x64_f320_r3x3_c320_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i64x64_f640_r3x3_c1280_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 2, 64, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i64x64_f640_r3x3_c1280_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i64x64_f640_r3x3_c1920_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1920] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 2, 64, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation6> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i64x64_f640_r3x3_c1920_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i64x64_f640_r3x3_c320_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [320] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 2, 64, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i64x64_f640_r3x3_c320_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i64x64_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 2, 64, 64, 0], reduction = [0, 0, 0, 0, 8], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i64x64_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b2_i64x64_f640_r3x3_c960_f16xf16xf32_bicxrcfxbif(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [2] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [960] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 4, 32, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 2, 8, 0], mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b2_i64x64_f640_r3x3_c960_f16xf16xf32_bicxrcfxbif" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @__kernel_config(%root: !transform.any_op {transform.consumed}) -> !transform.any_op attributes {iree_codegen.tuning_spec_entrypoint} {
  %done = transform.foreach_match in %root
    @attention_b2x10_m4096_n64_qk64_kv4096_f16_bmkxbvkxbvnxbmnxbmxbm -> @apply_attention,
    @attention_b2x10_m4096_n64_qk64_kv64_f16_bmkxbvkxbvnxbmnxbmxbm -> @apply_attention,
    @attention_b2x20_m1024_n64_qk64_kv1024_f16_bmkxbvkxbvnxbmnxbmxbm -> @apply_attention,
    @attention_b2x20_m1024_n64_qk64_kv64_f16_bmkxbvkxbvnxbmnxbmxbm -> @apply_attention,
    @contraction_b2_m4096_n10x64_k640_f16xf16xf32_bmkxbknxbnmn -> @apply,
    @contraction_b2_m4096_n640_k640_f16xf16xf32_bmkxbknxbmn -> @apply,
    @contraction_m2048_n10240_k1280_f16xf16xf32 -> @apply,
    @contraction_m2048_n1280_k1280_f16xf16xf32 -> @apply,
    @contraction_m2048_n1280_k2560_f16xf16xf32_kmxnkxmn -> @apply,
    @contraction_m2048_n1280_k5120_f16xf16xf32 -> @apply,
    @contraction_m2048_n1280_k640_f16xf16xf32 -> @apply,
    @contraction_m2x1024_n20x64_k1280_f16xf16xf32_mkxnkxmnmn -> @apply,
    @contraction_m2x64_n20x64_k2048_f16xf16xf32_mkxnkxmnmn -> @apply,
    @contraction_m32768_n320_k640_f16xf16xf32_kmxnkxmn -> @apply,
    @contraction_m32768_n320_k960_f16xf16xf32_kmxnkxmn -> @apply,
    @contraction_m8192_n5120_k640_f16xf16xf32 -> @apply,
    @contraction_m8192_n640_k1280_f16xf16xf32_kmxnkxmn -> @apply,
    @contraction_m8192_n640_k1920_f16xf16xf32_kmxnkxmn -> @apply,
    @contraction_m8192_n640_k2560_f16xf16xf32 -> @apply,
    @contraction_m8192_n640_k320_f16xf16xf32 -> @apply,
    @convolution_b2_i128x128_f320_r3x3_c320_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i128x128_f320_r3x3_c640_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i128x128_f320_r3x3_c960_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i128x128_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i32x32_f1280_r3x3_c1280_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i32x32_f1280_r3x3_c1920_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i32x32_f1280_r3x3_c2560_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i32x32_f1280_r3x3_c640_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i32x32_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i64x64_f1280_r3x3_c1280_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i64x64_f320_r3x3_c320_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i64x64_f640_r3x3_c1280_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i64x64_f640_r3x3_c1920_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i64x64_f640_r3x3_c320_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i64x64_f640_r3x3_c640_f16xf16xf32_bicxrcfxbif -> @apply,
    @convolution_b2_i64x64_f640_r3x3_c960_f16xf16xf32_bicxrcfxbif -> @apply : (!transform.any_op) -> !transform.any_op
  transform.yield %done : !transform.any_op
}
}

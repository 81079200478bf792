// Tuning spec of sdxl_amd_bs32 for mi325x-cpx (gfx942): 40 records, 40 ported.
// Evidence is of compiler 3.13.0.
// Rendered by `python -m specs.render`; edit the records, not this file.
#maps0 = [affine_map<(d0, d1, d2) -> (d2, d1)>, affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>]
#translation0 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [256, 1, 1] subgroup_size = 64, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = true>, llvm_func_attrs = {"amdgpu-waves-per-eu" = "2"}}>
#maps1 = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>]
#translation1 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [512, 1, 1] subgroup_size = 64, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false>, llvm_func_attrs = {"amdgpu-waves-per-eu" = "2"}}>
#maps2 = [affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>]
#translation2 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [256, 1, 1] subgroup_size = 64, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false>, llvm_func_attrs = {"amdgpu-waves-per-eu" = "2"}}>
#maps3 = [affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d1, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>]
#maps4 = [affine_map<(d0, d1, d2, d3) -> (d0, d3, d2)>, affine_map<(d0, d1, d2, d3) -> (d1, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>]
#translation3 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [512, 1, 1] subgroup_size = 64, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = true>, llvm_func_attrs = {"amdgpu-waves-per-eu" = "2"}}>
#maps5 = [affine_map<(d0, d1, d2, d3, d4) -> (d0, d2, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d1, d3, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>]
#maps6 = [affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>, affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>, affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>]
#translation4 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [256, 1, 1] subgroup_size = 64, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = true>, llvm_func_attrs = {"amdgpu-waves-per-eu" = "2"}}>
#translation5 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [512, 1, 1] subgroup_size = 64, {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false, use_igemm_convolution = true>, llvm_func_attrs = {"amdgpu-waves-per-eu" = "2"}}>
#maps7 = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d3, d1 + d4, d2 + d5)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d3, d4, d5)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2)>]
#maps8 = [affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d4)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d5, d4)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d3, d5)>, affine_map<(d0, d1, d2, d3, d4, d5) -> ()>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2)>, affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2)>]
#translation6 = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<VectorDistribute> workgroup_size = [256, 1, 1] subgroup_size = 64, {llvm_func_attrs = {"amdgpu-waves-per-eu" = "2"}, iree_codegen.denormal_fp_math_f32 = #iree_codegen.denormal_fp_math<"preserve-sign">}>
#decomposition0 = {qk_attrs = {lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x32_F8E4M3FNUZ, col_major = true>, subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 4, 5]], promote_operands = [1]}>}, pv_attrs = {lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.virtual_mma_layout<VMFMA_F32_16x16x32_F8E4M3FNUZ, col_major = true>, subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 3, 5]], promote_operands = [1]}>}}
#decomposition1 = {qk_attrs = {lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.mma_layout<MFMA_F32_32x32x16_F8E4M3FNUZ, col_major = true>, subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 4, 5]], promote_operands = [1]}>}, pv_attrs = {lowering_config = #iree_gpu.lowering_config<{mma_kind = #iree_gpu.virtual_mma_layout<VMFMA_F32_32x32x16_F8E4M3FNUZ, col_major = true>, subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, 3, 5]], promote_operands = [1]}>}}
module @mi325x_cpx_sdxl_amd_bs32 attributes {transform.with_named_sequence, iree_codegen.tuning_spec_with_default_entrypoint} {
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
transform.named_sequence @contraction_m1048576_n128_k256_f16xf16xf32_kmxnkxnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps0 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [1048576] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [128] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [256] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 128, 0], reduction = [0, 0, 8], subgroup = [1, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_32x32x8_F16>, promote_operands = [0, 1]}>, translation_info = #translation0> -> !transform.any_param
  %name = transform.param.constant "contraction_m1048576_n128_k256_f16xf16xf32_kmxnkxnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m16384_n16384_k512_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [16384] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [16384] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [512] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 256, 0], reduction = [0, 0, 2], subgroup = [8, 2, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m16384_n16384_k512_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m16384_n512_k16384_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [16384] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [512] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [16384] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 256, 0], reduction = [0, 0, 4], subgroup = [4, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_32x32x8_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m16384_n512_k16384_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m16384_n512_k512_f16xf16xf32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [16384] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [512] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [512] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 256, 0], reduction = [0, 0, 2], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m16384_n512_k512_f16xf16xf32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m16384_n512_k512_f16xf16xf32_mkxnkxnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps2 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [16384] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [512] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [512] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 128, 0], reduction = [0, 0, 2], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m16384_n512_k512_f16xf16xf32_mkxnkxnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m262144_n256_k512_f16xf16xf32_kmxnkxnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps0 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [262144] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [256] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [512] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 256, 0], reduction = [0, 0, 2], subgroup = [2, 8, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m262144_n256_k512_f16xf16xf32_kmxnkxnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m262144_n5120_k640_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [262144] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [5120] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 256, 0], reduction = [0, 0, 2], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m262144_n5120_k640_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m262144_n640_k2560_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [262144] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [2560] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 128, 0], reduction = [0, 0, 2], subgroup = [8, 2, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation2> -> !transform.any_param
  %name = transform.param.constant "contraction_m262144_n640_k2560_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m262144_n640_k640_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [262144] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 128, 0], reduction = [0, 0, 2], subgroup = [4, 8, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation2> -> !transform.any_param
  %name = transform.param.constant "contraction_m262144_n640_k640_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m64x1024_n1280_k1280_i8xi8xi32_mkxnkxmnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [8, 256, 16, 0], reduction = [0, 0, 0, 2], subgroup = [4, 4, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x1024_n1280_k1280_i8xi8xi32_mkxnkxmnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m64x1024_n1280_k1920_i8xi8xi32_mkmxnkxmnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps4 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1920] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 128, 256, 0], reduction = [0, 0, 0, 1], subgroup = [1, 4, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_32x32x16_I8>, promote_operands = [0, 1]}>, translation_info = #translation3> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x1024_n1280_k1920_i8xi8xi32_mkmxnkxmnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m64x1024_n1280_k2560_i8xi8xi32_mkmxnkxmnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps4 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [2560] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [2, 128, 128, 0], reduction = [0, 0, 0, 4], subgroup = [1, 4, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_32x32x16_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x1024_n1280_k2560_i8xi8xi32_mkmxnkxmnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m64x1024_n20x64_k1280_i8xi8xi32_mkxnkxmnmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps5 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [20, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [2, 4, 64, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 2, 2, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_32x32x16_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x1024_n20x64_k1280_i8xi8xi32_mkxnkxmnmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m64x4096_n10x64_k640_i8xi8xi32_mkxnkxmnmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps5 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 4096] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [10, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [2, 2, 128, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 2, 2, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_32x32x16_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x4096_n10x64_k640_i8xi8xi32_mkxnkxmnmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m64x4096_n640_k1920_i8xi8xi32_mkmxnkxmnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps4 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 4096] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1920] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 128, 256, 0], reduction = [0, 0, 0, 4], subgroup = [1, 4, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_32x32x16_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x4096_n640_k1920_i8xi8xi32_mkmxnkxmnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m64x4096_n640_k640_i8xi8xi32_mkxnkxmnm(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps3 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 4096] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [4, 128, 64, 0], reduction = [0, 0, 0, 2], subgroup = [4, 4, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x4096_n640_k640_i8xi8xi32_mkxnkxmnm" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m64x64_n20x64_k2048_i8xi8xi32_mkxnkxmnmn(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps5 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [20, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [2048] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [8, 5, 16, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [4, 5, 1, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m64x64_n20x64_k2048_i8xi8xi32_mkxnkxmnmn" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m65536_n10240_k1280_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [65536] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [10240] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 128, 0], reduction = [0, 0, 2], subgroup = [4, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m65536_n10240_k1280_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m65536_n1280_k1280_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [65536] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 256, 0], reduction = [0, 0, 2], subgroup = [4, 8, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation2> -> !transform.any_param
  %name = transform.param.constant "contraction_m65536_n1280_k1280_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @contraction_m65536_n1280_k5120_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k = transform.iree.match.contraction %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps1 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [65536] : !transform.param<i64>
  transform.iree.match.dims_equal %n, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %k, [5120] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 256, 0], reduction = [0, 0, 2], subgroup = [4, 8, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation1> -> !transform.any_param
  %name = transform.param.constant "contraction_m65536_n1280_k5120_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i128x128_f320_r3x3_c640_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [128, 128] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [320] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 320, 8, 16, 0], reduction = [0, 0, 0, 0, 2], subgroup = [1, 20, 2, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i128x128_f320_r3x3_c640_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i128x128_f320_r3x3_c960_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [128, 128] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [320] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [960] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 320, 8, 16, 0], reduction = [0, 0, 0, 0, 2], subgroup = [1, 20, 2, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i128x128_f320_r3x3_c960_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i128x128_f640_r3x3_c640_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [128, 128] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 128, 8, 32, 0], reduction = [0, 0, 0, 0, 2], subgroup = [1, 2, 8, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i128x128_f640_r3x3_c640_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i32x32_f1280_r3x3_c1920_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [32, 32] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1920] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 256, 8, 16, 0], reduction = [0, 0, 0, 0, 2], subgroup = [1, 4, 4, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i32x32_f1280_r3x3_c1920_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i32x32_f1280_r3x3_c2560_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [32, 32] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [2560] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [16, 128, 1, 16, 0], reduction = [0, 0, 0, 0, 2], subgroup = [4, 4, 1, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i32x32_f1280_r3x3_c2560_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i32x32_f1280_r3x3_c640_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [32, 32] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [640] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 128, 8, 32, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 2, 2, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_32x32x16_I8>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i32x32_f1280_r3x3_c640_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i64x64_f1280_r3x3_c1280_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [1280] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 256, 8, 16, 0], reduction = [0, 0, 0, 0, 2], subgroup = [1, 4, 4, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i64x64_f1280_r3x3_c1280_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i64x64_f640_r3x3_c1280_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1280] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [16, 128, 1, 16, 0], reduction = [0, 0, 0, 0, 2], subgroup = [4, 4, 1, 1, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i64x64_f640_r3x3_c1280_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i64x64_f640_r3x3_c1920_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [1920] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 128, 4, 64, 0], reduction = [0, 0, 0, 0, 2], subgroup = [1, 4, 2, 2, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i64x64_f640_r3x3_c1920_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_b64_i64x64_f640_r3x3_c960_i8xi8xi32(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = i8, rhs_type = i8, output_type = i32, indexing_maps = #maps6 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %batch, [64] : !transform.param<i64>
  transform.iree.match.dims_equal %image, [64, 64] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [640] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [960] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [8, 128, 1, 32, 0], reduction = [0, 0, 0, 0, 2], subgroup = [2, 4, 1, 2, 0], mma_kind = #iree_gpu.mma_layout<MFMA_I32_16x16x32_I8>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_b64_i64x64_f640_r3x3_c960_i8xi8xi32" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_i1024x1024_f128_r3x3_c128_f16xf16xf32_cixfcrxfi(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %image, [1024, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [128] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [128] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 2, 64, 0], reduction = [0, 0, 0, 2], subgroup = [4, 2, 2, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_i1024x1024_f128_r3x3_c128_f16xf16xf32_cixfcrxfi" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_i1024x1024_f128_r3x3_c256_f16xf16xf32_cixfcrxfi(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %image, [1024, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [128] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [256] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 1, 256, 0], reduction = [0, 0, 0, 2], subgroup = [4, 1, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_i1024x1024_f128_r3x3_c256_f16xf16xf32_cixfcrxfi" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_i1024x1024_f256_r3x3_c256_f16xf16xf32_cixfcrxfi(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %image, [1024, 1024] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [256] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [256] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 1, 128, 0], reduction = [0, 0, 0, 2], subgroup = [4, 1, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_i1024x1024_f256_r3x3_c256_f16xf16xf32_cixfcrxfi" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_i128x128_f512_r3x3_c512_f16xf16xf32_cixfcrxfi(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %image, [128, 128] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [512] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [512] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 1, 128, 0], reduction = [0, 0, 0, 2], subgroup = [4, 1, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_i128x128_f512_r3x3_c512_f16xf16xf32_cixfcrxfi" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_i256x256_f512_r3x3_c512_f16xf16xf32_cixfcrxfi(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %image, [256, 256] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [512] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [512] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 1, 128, 0], reduction = [0, 0, 0, 2], subgroup = [4, 1, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_i256x256_f512_r3x3_c512_f16xf16xf32_cixfcrxfi" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_i512x512_f256_r3x3_c256_f16xf16xf32_cixfcrxfi(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %image, [512, 512] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [256] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [256] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 2, 64, 0], reduction = [0, 0, 0, 2], subgroup = [4, 2, 2, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation4> -> !transform.any_param
  %name = transform.param.constant "convolution_i512x512_f256_r3x3_c256_f16xf16xf32_cixfcrxfi" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_i512x512_f256_r3x3_c512_f16xf16xf32_cixfcrxfi(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %image, [512, 512] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [256] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [512] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [256, 1, 128, 0], reduction = [0, 0, 0, 2], subgroup = [4, 1, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_i512x512_f256_r3x3_c512_f16xf16xf32_cixfcrxfi" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @convolution_i512x512_f512_r3x3_c512_f16xf16xf32_cixfcrxfi(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %image, %output_channel, %filter, %input_channel, %depth, %strides, %dilations = transform.iree.match.convolution %op, lhs_type = f16, rhs_type = f16, output_type = f32, indexing_maps = #maps7 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %image, [512, 512] : !transform.param<i64>
  transform.iree.match.dims_equal %output_channel, [512] : !transform.param<i64>
  transform.iree.match.dims_equal %filter, [3, 3] : !transform.param<i64>
  transform.iree.match.dims_equal %input_channel, [512] : !transform.param<i64>
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [128, 2, 128, 0], reduction = [0, 0, 0, 2], subgroup = [4, 1, 4, 0], mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1]}>, translation_info = #translation5> -> !transform.any_param
  %name = transform.param.constant "convolution_i512x512_f512_r3x3_c512_f16xf16xf32_cixfcrxfi" -> !transform.any_param
  transform.yield %op, %info, %name : !transform.any_op, !transform.any_param, !transform.any_param
}
transform.named_sequence @attention_banyxany_m1024_nany_qkany_kvany_f8E4M3FNUZ(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k1, %k2 = transform.iree.match.online_attention %op, query_type = f8E4M3FNUZ, key_type = f8E4M3FNUZ, value_type = f8E4M3FNUZ, scale_type = f32, output_type = f32, max_type = f32, sum_type = f32, indexing_maps = #maps8 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [1024] : !transform.param<i64>
  %d5 = transform.get_operand %op[1] : (!transform.any_op) -> !transform.any_value
  transform.iree.match.dim_is_multiple_of %d5[2], 64 : !transform.any_value
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 0, 0, 0], reduction = [0, 0, 0, 0, 0, 64], promote_operands = [1, 2]}>, translation_info = #translation6> -> !transform.any_param
  %decomposition = transform.param.constant #decomposition0 -> !transform.any_param
  %name = transform.param.constant "attention_banyxany_m1024_nany_qkany_kvany_f8E4M3FNUZ" -> !transform.any_param
  transform.yield %op, %info, %decomposition, %name : !transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param
}
transform.named_sequence @attention_banyxany_m4096_nany_qkany_kvany_f8E4M3FNUZ(%op: !transform.any_op {transform.readonly}) -> (!transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param) {
  transform.iree.match.has_no_lowering_config %op : !transform.any_op
  %batch, %m, %n, %k1, %k2 = transform.iree.match.online_attention %op, query_type = f8E4M3FNUZ, key_type = f8E4M3FNUZ, value_type = f8E4M3FNUZ, scale_type = f32, output_type = f32, max_type = f32, sum_type = f32, indexing_maps = #maps8 : !transform.any_op -> !transform.param<i64>
  transform.iree.match.dims_equal %m, [4096] : !transform.param<i64>
  %d5 = transform.get_operand %op[1] : (!transform.any_op) -> !transform.any_value
  transform.iree.match.dim_is_multiple_of %d5[2], 64 : !transform.any_value
  %info = transform.param.constant #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 0, 0, 0], reduction = [0, 0, 0, 0, 0, 64], promote_operands = [1, 2]}>, translation_info = #translation6> -> !transform.any_param
  %decomposition = transform.param.constant #decomposition1 -> !transform.any_param
  %name = transform.param.constant "attention_banyxany_m4096_nany_qkany_kvany_f8E4M3FNUZ" -> !transform.any_param
  transform.yield %op, %info, %decomposition, %name : !transform.any_op, !transform.any_param, !transform.any_param, !transform.any_param
}
transform.named_sequence @__kernel_config(%root: !transform.any_op {transform.consumed}) -> !transform.any_op attributes {iree_codegen.tuning_spec_entrypoint} {
  %done = transform.foreach_match in %root
    @contraction_m1048576_n128_k256_f16xf16xf32_kmxnkxnm -> @apply,
    @contraction_m16384_n16384_k512_f16xf16xf32 -> @apply,
    @contraction_m16384_n512_k16384_f16xf16xf32 -> @apply,
    @contraction_m16384_n512_k512_f16xf16xf32 -> @apply,
    @contraction_m16384_n512_k512_f16xf16xf32_mkxnkxnm -> @apply,
    @contraction_m262144_n256_k512_f16xf16xf32_kmxnkxnm -> @apply,
    @contraction_m262144_n5120_k640_i8xi8xi32 -> @apply,
    @contraction_m262144_n640_k2560_i8xi8xi32 -> @apply,
    @contraction_m262144_n640_k640_i8xi8xi32 -> @apply,
    @contraction_m64x1024_n1280_k1280_i8xi8xi32_mkxnkxmnm -> @apply,
    @contraction_m64x1024_n1280_k1920_i8xi8xi32_mkmxnkxmnm -> @apply,
    @contraction_m64x1024_n1280_k2560_i8xi8xi32_mkmxnkxmnm -> @apply,
    @contraction_m64x1024_n20x64_k1280_i8xi8xi32_mkxnkxmnmn -> @apply,
    @contraction_m64x4096_n10x64_k640_i8xi8xi32_mkxnkxmnmn -> @apply,
    @contraction_m64x4096_n640_k1920_i8xi8xi32_mkmxnkxmnm -> @apply,
    @contraction_m64x4096_n640_k640_i8xi8xi32_mkxnkxmnm -> @apply,
    @contraction_m64x64_n20x64_k2048_i8xi8xi32_mkxnkxmnmn -> @apply,
    @contraction_m65536_n10240_k1280_i8xi8xi32 -> @apply,
    @contraction_m65536_n1280_k1280_i8xi8xi32 -> @apply,
    @contraction_m65536_n1280_k5120_i8xi8xi32 -> @apply,
    @convolution_b64_i128x128_f320_r3x3_c640_i8xi8xi32 -> @apply,
    @convolution_b64_i128x128_f320_r3x3_c960_i8xi8xi32 -> @apply,
    @convolution_b64_i128x128_f640_r3x3_c640_i8xi8xi32 -> @apply,
    @convolution_b64_i32x32_f1280_r3x3_c1920_i8xi8xi32 -> @apply,
    @convolution_b64_i32x32_f1280_r3x3_c2560_i8xi8xi32 -> @apply,
    @convolution_b64_i32x32_f1280_r3x3_c640_i8xi8xi32 -> @apply,
    @convolution_b64_i64x64_f1280_r3x3_c1280_i8xi8xi32 -> @apply,
    @convolution_b64_i64x64_f640_r3x3_c1280_i8xi8xi32 -> @apply,
    @convolution_b64_i64x64_f640_r3x3_c1920_i8xi8xi32 -> @apply,
    @convolution_b64_i64x64_f640_r3x3_c960_i8xi8xi32 -> @apply,
    @convolution_i1024x1024_f128_r3x3_c128_f16xf16xf32_cixfcrxfi -> @apply,
    @convolution_i1024x1024_f128_r3x3_c256_f16xf16xf32_cixfcrxfi -> @apply,
    @convolution_i1024x1024_f256_r3x3_c256_f16xf16xf32_cixfcrxfi -> @apply,
    @convolution_i128x128_f512_r3x3_c512_f16xf16xf32_cixfcrxfi -> @apply,
    @convolution_i256x256_f512_r3x3_c512_f16xf16xf32_cixfcrxfi -> @apply,
    @convolution_i512x512_f256_r3x3_c256_f16xf16xf32_cixfcrxfi -> @apply,
    @convolution_i512x512_f256_r3x3_c512_f16xf16xf32_cixfcrxfi -> @apply,
    @convolution_i512x512_f512_r3x3_c512_f16xf16xf32_cixfcrxfi -> @apply,
    @attention_banyxany_m1024_nany_qkany_kvany_f8E4M3FNUZ -> @apply_attention,
    @attention_banyxany_m4096_nany_qkany_kvany_f8E4M3FNUZ -> @apply_attention : (!transform.any_op) -> !transform.any_op
  transform.yield %done : !transform.any_op
}
}

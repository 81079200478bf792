// 3x3 convolution, channels last, FP16, one row of 128 pixels a workgroup, K 64: wrong on CUDA. See cuda_conv3x3_k64_f16.md.
#image = affine_map<(b, y, x, f, r, s, c) -> (b, y + r, x + s, c)>
#filter = affine_map<(b, y, x, f, r, s, c) -> (r, s, c, f)>
#result = affine_map<(b, y, x, f, r, s, c) -> (b, y, x, f)>
#tiles = #iree_codegen.compilation_info<
  lowering_config = #iree_gpu.lowering_config<{workgroup = [1, 1, 128, 64, 0], reduction = [0, 0, 0, 0, 4], subgroup = [1, 1, 4, 4, 0],
    mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>, promote_operands = [0, 1], convert_acc_gemm}>,
  translation_info = #iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [128, 1, 1] subgroup_size = 32,
    {gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false,
      use_igemm_convolution = true>}>>
func.func @main(%image: tensor<2x4x130x320xf16>, %filter: tensor<3x3x320x320xf16>) -> tensor<2x2x128x320xf16> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<2x2x128x320xf32>
  %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<2x2x128x320xf32>) -> tensor<2x2x128x320xf32>
  %wide = linalg.generic {indexing_maps = [#image, #filter, #result], compilation_info = #tiles,
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%image, %filter : tensor<2x4x130x320xf16>, tensor<3x3x320x320xf16>) outs(%start : tensor<2x2x128x320xf32>) {
  ^bb0(%a: f16, %b: f16, %sum: f32):
    %0 = arith.extf %a : f16 to f32
    %1 = arith.extf %b : f16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.addf %sum, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<2x2x128x320xf32>
  %narrow = tensor.empty() : tensor<2x2x128x320xf16>
  %result = linalg.generic {indexing_maps = [affine_map<(b, y, x, f) -> (b, y, x, f)>, affine_map<(b, y, x, f) -> (b, y, x, f)>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%wide : tensor<2x2x128x320xf32>) outs(%narrow : tensor<2x2x128x320xf16>) {
  ^bb0(%a: f32, %out: f16):
    %0 = arith.truncf %a : f32 to f16
    linalg.yield %0 : f16
  } -> tensor<2x2x128x320xf16>
  return %result : tensor<2x2x128x320xf16>
}

// A matmul that takes MFMA_F32_16x16x16_F16 with global-to-LDS loads: its swizzle is read from a failed result. See gfx950_direct_load.md.
func.func @main(%lhs: tensor<16x16xf16>, %rhs: tensor<16x16xf16>) -> tensor<16x16xf32> {
  %zero = arith.constant 0.000000e+00 : f32
  %empty = tensor.empty() : tensor<16x16xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<16x16xf32>) -> tensor<16x16xf32>
  %result = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>] ins(%lhs, %rhs : tensor<16x16xf16>, tensor<16x16xf16>) outs(%init : tensor<16x16xf32>) -> tensor<16x16xf32>
  return %result : tensor<16x16xf32>
}

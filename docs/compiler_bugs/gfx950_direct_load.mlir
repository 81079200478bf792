// FP16 matmul of 2 rows for gfx950: the compiler divides by what it reads from a failed result (SIGFPE). See gfx950_direct_load.md.
func.func @main(%lhs: tensor<2x256xf16>, %rhs: tensor<64x256xf16>) -> tensor<2x64xf32> {
  %zero = arith.constant 0.000000e+00 : f32
  %empty = tensor.empty() : tensor<2x64xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<2x64xf32>) -> tensor<2x64xf32>
  %result = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>] ins(%lhs, %rhs : tensor<2x256xf16>, tensor<64x256xf16>) outs(%init : tensor<2x64xf32>) -> tensor<2x64xf32>
  return %result : tensor<2x64xf32>
}

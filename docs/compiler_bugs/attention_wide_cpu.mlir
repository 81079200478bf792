// softmax(query keys^T / 20) values, heads of 256, float32: wrong on llvm-cpu. See attention_wide_cpu.md.
func.func @main(%query: tensor<16x256xf32>, %keys: tensor<256x256xf32>, %values: tensor<256x256xf32>) -> tensor<16x256xf32> {
  %scale = arith.constant 0.05 : f32
  %empty = tensor.empty() : tensor<16x256xf32>
  %result = iree_linalg_ext.attention <indexing_maps = [affine_map<(m, n, k, l) -> (m, k)>, affine_map<(m, n, k, l) -> (l, k)>,
      affine_map<(m, n, k, l) -> (l, n)>, affine_map<(m, n, k, l) -> ()>, affine_map<(m, n, k, l) -> (m, n)>]>
      ins(%query, %keys, %values, %scale : tensor<16x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>, f32) outs(%empty : tensor<16x256xf32>) {
  ^bb0(%score: f32):
    iree_linalg_ext.yield %score : f32
  } -> tensor<16x256xf32>
  return %result : tensor<16x256xf32>
}

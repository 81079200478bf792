// f32 to FP4 and FP8 and back: what should round up to the smallest normal number becomes zero. See truncf_small_float.md.
func.func @fp4(%input: tensor<8xf32>) -> tensor<8xf32> {
  %empty = tensor.empty() : tensor<8xf32>
  %result = linalg.generic {
      indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%input : tensor<8xf32>) outs(%empty : tensor<8xf32>) {
  ^bb0(%value: f32, %out: f32):
    %narrow = arith.truncf %value : f32 to f4E2M1FN
    %wide = arith.extf %narrow : f4E2M1FN to f32
    linalg.yield %wide : f32
  } -> tensor<8xf32>
  return %result : tensor<8xf32>
}

func.func @fp8(%input: tensor<8xf32>) -> tensor<8xf32> {
  %empty = tensor.empty() : tensor<8xf32>
  %result = linalg.generic {
      indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%input : tensor<8xf32>) outs(%empty : tensor<8xf32>) {
  ^bb0(%value: f32, %out: f32):
    %narrow = arith.truncf %value : f32 to f8E4M3FN
    %wide = arith.extf %narrow : f8E4M3FN to f32
    linalg.yield %wide : f32
  } -> tensor<8xf32>
  return %result : tensor<8xf32>
}

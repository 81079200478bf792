// GroupNorm of one group of 65,536 elements, FP16: its element count is written as an FP16 constant, infinity. See groupnorm_f16.md.
func.func @main(%input: !torch.vtensor<[1,1,256,256],f16>, %weight: !torch.vtensor<[1],f16>, %bias: !torch.vtensor<[1],f16>)
    -> !torch.vtensor<[1,1,256,256],f16> {
  %groups = torch.constant.int 1
  %epsilon = torch.constant.float 1.000000e-05
  %false = torch.constant.bool false
  %result = torch.aten.group_norm %input, %groups, %weight, %bias, %epsilon, %false
      : !torch.vtensor<[1,1,256,256],f16>, !torch.int, !torch.vtensor<[1],f16>, !torch.vtensor<[1],f16>, !torch.float, !torch.bool
      -> !torch.vtensor<[1,1,256,256],f16>
  return %result : !torch.vtensor<[1,1,256,256],f16>
}

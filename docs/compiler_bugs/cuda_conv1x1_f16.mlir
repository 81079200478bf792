// 1x1 convolution, channels first, FP16: on CUDA's tensor-core path half of the output rows are wrong. See cuda_conv1x1_f16.md.
func.func @main(%image: !torch.vtensor<[2,64,8,8],f16>, %filter: !torch.vtensor<[128,64,1,1],f16>) -> !torch.vtensor<[2,128,8,8],f16> {
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %none = torch.constant.none
  %ones = torch.prim.ListConstruct %one, %one : (!torch.int, !torch.int) -> !torch.list<int>
  %zeros = torch.prim.ListConstruct %zero, %zero : (!torch.int, !torch.int) -> !torch.list<int>
  %result = torch.aten.conv2d %image, %filter, %none, %ones, %zeros, %ones, %one
      : !torch.vtensor<[2,64,8,8],f16>, !torch.vtensor<[128,64,1,1],f16>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.int
      -> !torch.vtensor<[2,128,8,8],f16>
  return %result : !torch.vtensor<[2,128,8,8],f16>
}

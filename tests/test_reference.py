"""compile.reference: a dispatch's own IR in float64, against numpy, torch's 8-bit floats and what llvm-cpu computes."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import torch

from compile import compiler, dispatch_ops, emulator_launch, reference_types, verify_dispatch
from compile.reference import Reference
from ireeperf.errors import CompileError

F8 = {"f8E4M3FNUZ": torch.float8_e4m3fnuz, "f8E5M2FNUZ": torch.float8_e5m2fnuz, "f8E4M3FN": torch.float8_e4m3fn, "f8E5M2": torch.float8_e5m2}
ATTENTION = """
    %m = arith.constant -3.4e38 : f32
    %s = arith.constant 0.25 : f32
    %z = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<2x6x4xf32>
    %r = tensor.empty() : tensor<2x6xf32>
    %0 = linalg.fill ins(%z : f32) outs(%e : tensor<2x6x4xf32>) -> tensor<2x6x4xf32>
    %1 = linalg.fill ins(%m : f32) outs(%r : tensor<2x6xf32>) -> tensor<2x6xf32>
    %2 = linalg.fill ins(%z : f32) outs(%r : tensor<2x6xf32>) -> tensor<2x6xf32>
    %3:3 = iree_linalg_ext.online_attention <indexing_maps = [affine_map<(b, m, n, k, l) -> (b, m, k)>, affine_map<(b, m, n, k, l) -> (b, l, k)>,
      affine_map<(b, m, n, k, l) -> (b, l, n)>, affine_map<(b, m, n, k, l) -> ()>, affine_map<(b, m, n, k, l) -> (b, m, n)>,
      affine_map<(b, m, n, k, l) -> (b, m)>, affine_map<(b, m, n, k, l) -> (b, m)>]>
      ins(%q, %k, %v, %s : tensor<2x6x8xf32>, tensor<2x5x8xf32>, tensor<2x5x4xf32>, f32)
      outs(%0, %1, %2 : tensor<2x6x4xf32>, tensor<2x6xf32>, tensor<2x6xf32>) {
      ^bb0(%score: f32):
        iree_linalg_ext.yield %score : f32
      } -> tensor<2x6x4xf32>, tensor<2x6xf32>, tensor<2x6xf32>
"""
TWIN = """
func.func @twin(%x: tensor<2x10x10x8xf32>, %w: tensor<16x3x3x8xf32>, %b: tensor<16xf32>) -> tensor<16x2x8x8xf32> {
  %zero = arith.constant 0.0 : f32
  %half = arith.constant 0.5 : f32
  %e = tensor.empty() : tensor<2x8x8x16xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<2x8x8x16xf32>) -> tensor<2x8x8x16xf32>
  %c = linalg.generic {indexing_maps = [affine_map<(n, h, w, f, p, q, c) -> (n, h + p, w + q, c)>,
      affine_map<(n, h, w, f, p, q, c) -> (f, p, q, c)>, affine_map<(n, h, w, f, p, q, c) -> (n, h, w, f)>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : tensor<2x10x10x8xf32>, tensor<16x3x3x8xf32>) outs(%f : tensor<2x8x8x16xf32>) {
  ^bb0(%i: f32, %j: f32, %o: f32):
    %p = arith.mulf %i, %j : f32
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<2x8x8x16xf32>
  %g = tensor.empty() : tensor<16x2x8x8xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(n, h, w, f) -> (n, h, w, f)>, affine_map<(n, h, w, f) -> (f)>,
      affine_map<(n, h, w, f) -> (f, n, h, w)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%c, %b : tensor<2x8x8x16xf32>, tensor<16xf32>) outs(%g : tensor<16x2x8x8xf32>) {
  ^bb0(%i: f32, %j: f32, %o: f32):
    %s = arith.addf %i, %j : f32
    %t = math.erf %s : f32
    %u = arith.mulf %t, %half : f32
    linalg.yield %u : f32
  } -> tensor<16x2x8x8xf32>
  return %r : tensor<16x2x8x8xf32>
}
"""


def evaluated(body: str, arguments: dict[str, np.ndarray], result: str, indices: tuple) -> np.ndarray:
    """`result` of a function whose arguments are loads of `arguments`."""
    from iree.compiler import ir
    kinds = {"float32": "f32", "float16": "f16", "int8": "i8", "int32": "i32", "int64": "i64"}
    types = {name: f"{'x'.join(map(str, array.shape))}x{kinds[str(array.dtype)]}" for name, array in arguments.items()}
    takes = ", ".join(f"%buffer_{name}: memref<{kind}>" for name, kind in types.items())
    loads = "\n".join(f"    %{name} = iree_codegen.load_from_buffer %buffer_{name} : memref<{kind}> -> tensor<{kind}>" for name, kind in types.items())
    with ir.Context():
        module = ir.Module.parse(f"func.func @f({takes}) {{\n{loads}\n{body}\n    return\n}}")
        operations = list(next(iter(module.operation.regions[0].blocks[0].operations)).regions[0].blocks[0].operations)
        order = dict(zip([operation.operation for operation in operations], arguments.values(), strict=False))
        number = int(result.partition("#")[2] or 0)
        values = [operation.results[number] for operation in operations if len(operation.results) > number]
        return Reference(lambda operation: order[operation]).values(values[-1], indices)


def test_8_bit_floats_are_torch_s():
    for name, kind in F8.items():
        expected = torch.arange(256, dtype=torch.uint8).view(kind).to(torch.float64).numpy()
        np.testing.assert_array_equal(reference_types.table(name), expected)


def test_rounding_to_8_bits_is_torch_s_below_overflow():
    numbers = np.concatenate([np.random.default_rng(0).standard_normal(20000) * 8, [0.0, 2.0**-11, 1.0625, 1.1875]])
    for name, kind in F8.items():
        expected = torch.from_numpy(numbers).to(torch.float32).to(kind).to(torch.float64).numpy()
        np.testing.assert_array_equal(reference_types.rounded(numbers.astype(np.float32).astype(np.float64), name), expected)


def test_attention_undivided_and_its_sums():
    random = np.random.default_rng(1)
    query, key, value = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 6, 8), (2, 5, 8), (2, 5, 4)))
    scores = np.einsum("bmk,blk->bml", query.astype(float), key) * 0.25
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    some = (np.array([1]), np.array([4, 0, 2]), np.arange(4))
    found = evaluated(ATTENTION, {"q": query, "k": key, "v": value}, "%3#0", some)
    np.testing.assert_allclose(found, np.einsum("bml,bln->bmn", weights, value)[np.ix_(*some)], rtol=1e-12)
    np.testing.assert_allclose(evaluated(ATTENTION, {"q": query, "k": key, "v": value}, "%3#2", some[:2]),
                               weights.sum(-1)[np.ix_(*some[:2])], rtol=1e-12)


def test_a_softmax_s_maximum_starts_from_nan():
    """IREE starts it from NaN, which arith.maxnumf drops and arith.maximumf would keep."""
    values = np.random.default_rng(2).standard_normal((3, 5)).astype(np.float32)
    body = """
    %n = arith.constant 0xFFC00000 : f32
    %e = tensor.empty() : tensor<3xf32>
    %f = linalg.fill ins(%n : f32) outs(%e : tensor<3xf32>) -> tensor<3xf32>
    %m = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<3x5xf32>) outs(%f : tensor<3xf32>) {
    ^bb0(%in: f32, %out: f32):
      %r = arith.maxnumf %in, %out : f32
      linalg.yield %r : f32
    } -> tensor<3xf32>
"""
    np.testing.assert_array_equal(evaluated(body, {"x": values}, "%m", (np.arange(3),)), values.max(1))


@pytest.mark.parametrize(("body", "expected"), [
    ("%0 = tensor.collapse_shape %x [[0, 1], [2]] : tensor<4x6x5xf32> into tensor<24x5xf32>", lambda x: x.reshape(24, 5)),
    ("%0 = tensor.expand_shape %x [[0, 1], [2], [3]] output_shape [2, 2, 6, 5] : tensor<4x6x5xf32> into tensor<2x2x6x5xf32>",
     lambda x: x.reshape(2, 2, 6, 5)),
    ("%0 = tensor.extract_slice %x[1, 0, 1] [1, 3, 2] [1, 2, 2] : tensor<4x6x5xf32> to tensor<3x2xf32>", lambda x: x[1, 0:6:2, 1:5:2]),
    ("%c = arith.constant 7.0 : f32\n%0 = tensor.pad %x low[0, 1, 2] high[1, 0, 0] {\n^bb0(%i: index, %j: index, %k: index):\n"
     "tensor.yield %c : f32\n} : tensor<4x6x5xf32> to tensor<5x7x7xf32>", lambda x: np.pad(x, ((0, 1), (1, 0), (2, 0)), constant_values=7)),
])
def test_changes_of_shape(body, expected):
    array = np.arange(120, dtype=np.float32).reshape(4, 6, 5)
    whole = expected(array)
    random = np.random.default_rng(3)
    some = tuple(random.permutation(size)[:max(1, size - 1)] for size in whole.shape)
    np.testing.assert_array_equal(evaluated(body, {"x": array}, "%0", some), whole[np.ix_(*some)])


def test_what_it_does_not_know_it_names():
    body = "%0 = tensor.generate {\n^bb0(%i: index):\n%v = arith.constant 1.0 : f32\ntensor.yield %v : f32\n} : tensor<4xf32>"
    with pytest.raises(CompileError, match=r"no reference for tensor\.generate"):
        evaluated(body, {"x": np.zeros((4, 4), np.float32)}, "%0", (np.arange(4),))


def test_against_llvm_cpu(tmp_path):
    """A convolution with bias and erf, transposed: the dispatches' configured IR in order, against what the executable computes."""
    import iree.runtime as rt
    from iree.compiler import ir
    (tmp_path / "twin.mlir").write_text(TWIN)
    subprocess.run([str(compiler.compiler_path()), str(tmp_path / "twin.mlir"), "--iree-hal-target-device=local",
                    "--iree-hal-local-target-device-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=generic",
                    f"--iree-hal-dump-executable-configurations-to={tmp_path / 'configured'}", "-o", str(tmp_path / "twin.vmfb")],
                   check=True, capture_output=True)
    random = np.random.default_rng(4)
    inputs = [random.standard_normal(shape).astype(np.float32) for shape in ((2, 10, 10, 8), (16, 3, 3, 8), (16,))]
    computed = np.asarray(rt.load_vm_flatbuffer_file(str(tmp_path / "twin.vmfb"), driver="local-sync").twin(*inputs))
    file, = (tmp_path / "configured").glob("*.mlir")
    with ir.Context():
        module = ir.Module.parse(file.read_text())
        function, = dispatch_ops.functions(module.operation)
        launch = emulator_launch.read(function, threads=(1, 1, 1))
        arrays = {operation: array.reshape(launch.loads[operation].shape) for operation in launch.loads for array in inputs
                  if array.size == np.prod(launch.loads[operation].shape)}
        (value, tensor), = launch.stores
        reference = Reference(lambda operation: arrays[operation])
        found = reference.values(value, tuple(np.arange(size) for size in tensor.shape)).reshape(computed.shape)
    assert np.abs(found - computed).max() < verify_dispatch.tolerance_of(reference, "f32", 1.0)


def test_sampling_takes_the_ends_first():
    groups = verify_dispatch.sample((7, 3, 1), 6)
    assert len(groups) == 6 and groups[:4] == [(0, 0, 0), (6, 2, 0), (6, 0, 0), (0, 2, 0)]
    assert verify_dispatch.sample((1, 1, 1), 6) == [(0, 0, 0)]

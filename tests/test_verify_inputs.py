"""Random inputs of quantized dispatches: results that tell right from wrong, not infinities and not all at one end of 8 bits."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from compile import compiler, dispatch_ir, dispatch_ops, dumps, emulator_launch, verify_build, verify_inputs
from compile.reference import Reference

HEAD = """
func.func @q(%a: tensor<32x512xi8>, %b: tensor<48x512xi8>, %scale: tensor<48xf32>, %bias: tensor<48xf32>) -> tensor<32x48x{kind}> {{
  %zero = arith.constant 0 : i32
  %low = arith.constant -128.0 : f32
  %high = arith.constant 127.0 : f32
  %e = tensor.empty() : tensor<32x48xi32>
  %f = linalg.fill ins(%zero : i32) outs(%e : tensor<32x48xi32>) -> tensor<32x48xi32>
  %m = linalg.generic {{indexing_maps = [affine_map<(i, j, k) -> (i, k)>, affine_map<(i, j, k) -> (j, k)>, affine_map<(i, j, k) -> (i, j)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%a, %b : tensor<32x512xi8>, tensor<48x512xi8>) outs(%f : tensor<32x48xi32>) {{
  ^bb0(%x: i8, %y: i8, %o: i32):
    %p = arith.extsi %x : i8 to i32
    %q = arith.extsi %y : i8 to i32
    %r = arith.muli %p, %q : i32
    %s = arith.addi %o, %r : i32
    linalg.yield %s : i32
  }} -> tensor<32x48xi32>
  %g = tensor.empty() : tensor<32x48x{kind}>
  %n = linalg.generic {{indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
                       iterator_types = ["parallel", "parallel"]}}
      ins(%m, %scale, %bias : tensor<32x48xi32>, tensor<48xf32>, tensor<48xf32>) outs(%g : tensor<32x48x{kind}>) {{
  ^bb0(%x: i32, %y: f32, %z: f32, %o: {kind}):
    %p = arith.sitofp %x : i32 to f32
    %q = arith.mulf %p, %y : f32
    %r = arith.addf %q, %z : f32
    {tail}
    linalg.yield %t : {kind}
  }} -> tensor<32x48x{kind}>
  return %n : tensor<32x48x{kind}>
}}
"""
TAILS = {
    "f16": "%t = arith.truncf %r : f32 to f16",
    "i8": """%c = arith.maximumf %r, %low : f32
    %d = arith.minimumf %c, %high : f32
    %u = math.roundeven %d : f32
    %t = arith.fptosi %u : f32 to i8""",
}


def results(kind: str, folder, scale: bool) -> np.ndarray:
    """Elements of the quantized product, with inputs as compile.verify makes them, or as they would be without a scale for them."""
    from iree.compiler import ir
    (folder / "q.mlir").write_text(HEAD.format(kind=kind, tail=TAILS[kind]))
    subprocess.run([str(compiler.compiler_path()), str(folder / "q.mlir"), "--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu",
                    "--iree-llvmcpu-target-cpu=generic", *dumps.flags(folder / "dumps"), "-o", str(folder / "q.vmfb")], check=True, capture_output=True)
    dumps.pack(folder / "dumps", folder / f"q{dumps.SUFFIX}")
    one = next(one for one in dispatch_ir.dispatches(folder / f"q{dumps.SUFFIX}") if "i8xi8xi32" in one.name)
    with ir.Context():
        module = ir.Module.parse(one.configured_text)
        function = next(found for found in dispatch_ops.functions(module.operation) if verify_build._symbol(found) == one.name)
        launch = emulator_launch.read(function, threads=(1, 1, 1))
        if not scale:
            regions = verify_inputs.fill(launch, folder, 1)
            image = verify_inputs.Image(launch.sizes(), regions)
        else:
            regions, image = verify_inputs.scaled(launch, folder, 1)
        (value, tensor), = launch.stores
        found = Reference(verify_inputs.reader(launch, image), launch.constants).values(value, verify_inputs.spread(tensor.shape, 256))
        image.close()
    return found


@pytest.mark.parametrize("kind", TAILS)
def test_a_quantized_product_is_scaled_to_what_tells_something(kind, tmp_path):
    blind = results(kind, tmp_path, scale=False)
    assert not np.isfinite(blind).all() or np.abs(blind).max() > 1e4 or (np.abs(blind) >= 127).mean() > 0.5
    found = results(kind, tmp_path, scale=True)
    assert np.isfinite(found).all() and len(np.unique(found)) > 20
    assert 0.5 < np.abs(found).max() <= 32 if kind == "f16" else (np.abs(found) >= 127).mean() < 0.5

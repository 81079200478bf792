"""compile.verify on a small gfx942 kernel: right as compiled, and wrong for every miscompile planted in it.

The emulator is an outside tool (docs/EMULATOR.md): without it, or without its environment, these tests skip and say so.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from compile import compiler, dispatch_ir, dispatch_ops, dumps, emulator, emulator_launch, verify_build, verify_dispatch
from scripts import emulator_planted

ROOT = Path(__file__).resolve().parents[1]
KIT = Path(os.environ.get("IREEPERF_EMULATOR", ROOT.parent / "shared/tools/cdna-emulator"))
PLANTED = ("barrier 0 dropped", "barrier 1 dropped", "every s_waitcnt dropped", "a wait for vector loads dropped", "a wait for LDS dropped",
           "LDS read at another offset", "LDS read two bytes off", "LDS write at another offset", "buffer load at another offset",
           "operands of a matrix instruction swapped", "accumulator of a matrix instruction dropped", "address shifted by one bit more",
           "bounds of a buffer halved")
SOURCE = """
func.func @planted(%a: tensor<128x256xf16>, %b: tensor<128x256xf16>, %c: tensor<128xf16>) -> tensor<128x128xf16> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<128x128xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<128x128xf32>) -> tensor<128x128xf32>
  %m = linalg.generic {indexing_maps = [affine_map<(i, j, k) -> (i, k)>, affine_map<(i, j, k) -> (j, k)>, affine_map<(i, j, k) -> (i, j)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %b : tensor<128x256xf16>, tensor<128x256xf16>) outs(%f : tensor<128x128xf32>) {
  ^bb0(%x: f16, %y: f16, %o: f32):
    %p = arith.extf %x : f16 to f32
    %q = arith.extf %y : f16 to f32
    %r = arith.mulf %p, %q : f32
    %s = arith.addf %o, %r : f32
    linalg.yield %s : f32
  } -> tensor<128x128xf32>
  %g = tensor.empty() : tensor<128x128xf16>
  %n = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%m, %c : tensor<128x128xf32>, tensor<128xf16>) outs(%g : tensor<128x128xf16>) {
  ^bb0(%x: f32, %y: f16, %o: f16):
    %p = arith.truncf %x : f32 to f16
    %q = arith.addf %p, %y : f16
    linalg.yield %q : f16
  } -> tensor<128x128xf16>
  return %n : tensor<128x128xf16>
}
"""

pytestmark = pytest.mark.skipif(not (KIT / "emufix.py").is_file() or not (emulator.ENVIRONMENT / "bin/python").exists(),
                                reason=f"no emulator in {KIT.name} (or $IREEPERF_EMULATOR), or no .venv-emulator (./scripts/setup_emulator)")


class Small:
    """The kernel compiled, and a way to verify other code in its place."""

    def __init__(self, folder: Path, worker: emulator.Emulator) -> None:
        self._folder, self._worker = folder, worker
        (folder / "planted.mlir").write_text(SOURCE)
        subprocess.run([str(compiler.compiler_path()), str(folder / "planted.mlir"), "--iree-hal-target-device=hip", "--iree-rocm-target=gfx942",
                        *dumps.flags(folder / "dumps"), "-o", str(folder / "planted.vmfb")], check=True, capture_output=True)
        self.zip = folder / f"planted{dumps.SUFFIX}"
        dumps.pack(folder / "dumps", self.zip)
        self.item, = verify_build.items(self.zip, dispatch_ir.dispatches(self.zip))
        self.content = dumps.read(self.zip, self.item.member)
        self.grid = emulator_launch.grid(verify_build._compiled(self.item, folder))

    def problems(self, content: bytes) -> tuple[str, ...]:
        from iree.compiler import ir
        (self._folder / "kernel.hsaco").write_bytes(content)
        with ir.Context():
            module = ir.Module.parse(self.item.dispatch.configured_text)
            function, = dispatch_ops.functions(module.operation)
            try:
                return verify_dispatch.verify(self._worker, self._folder / "kernel.hsaco", self.item.dispatch.name, function, self.grid, 1,
                                              60).problems
            except emulator.EmulatorDied as error:
                self._worker = emulator.Emulator(KIT)
                return (str(error),)

    def close(self) -> None:
        self._worker.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    made = Small(tmp_path_factory.mktemp("planted"), emulator.Emulator(KIT))
    yield made
    made.close()


def test_the_kernel_as_compiled_is_right(small):
    assert small.problems(small.content) == ()


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_miscompile_is_found(small, planted):
    mutants = dict(emulator_planted.mutants(small.content, small.item.kernel, 128 * 256 * 2))
    assert set(mutants) == set(PLANTED)
    assert mutants[planted] != small.content
    assert small.problems(mutants[planted])

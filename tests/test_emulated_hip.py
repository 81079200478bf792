"""IREE's real HIP driver over the stub, with the ISA emulator behind its launches: a small program gives the CPU's numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compile import compiler, emulator, emulator_object

ROOT = Path(__file__).resolve().parents[1]
KIT = Path(os.environ.get("IREEPERF_EMULATOR", ROOT.parent / "shared/tools/cdna-emulator"))
SOURCE = """
func.func @main(%a: tensor<64x128xf16>, %b: tensor<128x96xf16>) -> (tensor<64x96xf32>, tensor<64xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<64x96xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<64x96xf32>) -> tensor<64x96xf32>
  %m = linalg.matmul ins(%a, %b : tensor<64x128xf16>, tensor<128x96xf16>) outs(%f : tensor<64x96xf32>) -> tensor<64x96xf32>
  %x = linalg.softmax dimension(1) ins(%m : tensor<64x96xf32>) outs(%e : tensor<64x96xf32>) -> tensor<64x96xf32>
  %v = tensor.empty() : tensor<64xf32>
  %w = linalg.fill ins(%zero : f32) outs(%v : tensor<64xf32>) -> tensor<64xf32>
  %r = linalg.reduce ins(%m : tensor<64x96xf32>) outs(%w : tensor<64xf32>) dimensions = [1]
    (%i: f32, %o: f32) {
      %p = arith.mulf %i, %i : f32
      %q = arith.addf %o, %p : f32
      linalg.yield %q : f32
    }
  %k = arith.constant dense<{table}> : tensor<64xf32>
  %s = linalg.map { arith.addf } ins(%r, %k : tensor<64xf32>, tensor<64xf32>) outs(%v : tensor<64xf32>)
  return %x, %s : tensor<64x96xf32>, tensor<64xf32>
}
""".replace("{table}", str([float(7 * index % 13) for index in range(64)]))  # lies in the code object, found by s_getpc_b64


def built(folder: Path, name: str, *flags: str) -> Path:
    (folder / "program.mlir").write_text(SOURCE)
    subprocess.run([str(compiler.compiler_path()), str(folder / "program.mlir"), *flags, "-o", str(folder / name)], check=True, capture_output=True)
    return folder / name


@pytest.mark.skipif(not (KIT / "emufix.py").is_file() or not (emulator.ENVIRONMENT / "bin/python").exists(),
                    reason=f"no emulator in {KIT.name} (or $IREEPERF_EMULATOR), or no .venv-emulator (./scripts/setup_emulator)")
def test_a_program_on_the_emulator_gives_what_the_cpu_gives(tmp_path):
    gpu = built(tmp_path, "gpu.vmfb", "--iree-hal-target-device=hip", "--iree-rocm-target=gfx942")
    cpu = built(tmp_path, "cpu.vmfb", "--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu",
                "--iree-llvmcpu-target-cpu=generic")
    done = subprocess.run([sys.executable, "-m", "scripts.emulated_hip", str(gpu), "--emulator", str(KIT), "--function", "main", "--against", str(cpu),
                           "--input", "64x128xf16", "128x96xf16"], cwd=ROOT, text=True, check=False, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["launches"] >= 2 and len(told["relative_errors"]) == 2 and max(told["relative_errors"]) < 1e-4


def test_constants_lie_in_the_code_object(tmp_path):
    """What test_a_program_on_the_emulator... has to find: s_getpc_b64 in some kernel."""
    built(tmp_path, "gpu.vmfb", "--iree-hal-target-device=hip", "--iree-rocm-target=gfx942", f"--iree-hal-dump-executable-binaries-to={tmp_path}")
    words = [int.from_bytes(content[at:at + 4], "little") for path in tmp_path.glob("*.hsaco") for content in [path.read_bytes()]
             for at in range(0, len(content) - 3, 4)]
    assert any(word & 0xFF80FFFF == 0xBE801C00 for word in words)


def test_arguments_of_a_kernel_are_read_off_its_metadata(tmp_path):
    built(tmp_path, "gpu.vmfb", "--iree-hal-target-device=hip", "--iree-rocm-target=gfx942", f"--iree-hal-dump-executable-binaries-to={tmp_path}")
    path, *_ = sorted(tmp_path.glob("*.hsaco"))
    content = path.read_bytes()
    found = emulator_object.arguments(content)
    assert set(found) == set(emulator_object.parse(content).kernels)
    for places in found.values():
        assert [offset for offset, _ in places] == [8 * index for index in range(len(places))] and all(size == 8 for _, size in places)

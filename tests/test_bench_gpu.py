"""bench sdxl-gpu away from a GPU: what is packed is what runs, errors are of the step's direction, CUDA's flags keep transposed tiles away."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compile import compiler, target
from compile.cache import ROOT
from compile.flags import flags
from ireeperf import document
from ireeperf.errors import ConfigError, ManifestError, MissingFileError
from scripts import bench_sdxl_gpu as bench
from scripts import bench_sdxl_gpu_run as on_machine
from scripts.bench_sdxl_gpu_packed import NAME, Packed, Variant

PACKED = Packed(model="sdxl-base-1.0", target="sm_80", driver="cuda", compiler_version="3.13.0", batch_size=1, unet_dtype="float16",
                num_inference_steps=20, image_shape=(1024, 1024), variants=(),
                arguments=("tensor<1x4x128x128xf32>", "tensor<2x64x2048xf16>", "tensor<2x1280xf16>", "tensor<2x6xf16>", "tensor<1xf32>",
                           "tensor<1xi64>"))
# a linear whose result lies transposed, as V's does where attention wants it: [2, 64, 128] x [128, 128]
V_PROJECTION = """
func.func @main(%q: tensor<2x64x128xf16>, %k: tensor<2x64x128xf16>, %x: tensor<2x64x128xf16>, %w: tensor<128x128xf16>) -> tensor<2x64x128xf16> {
  %zero = arith.constant 0.0 : f16
  %scale = arith.constant 0.125 : f16
  %e = tensor.empty() : tensor<2x64x128xf16>
  %f = linalg.fill ins(%zero : f16) outs(%e : tensor<2x64x128xf16>) -> tensor<2x64x128xf16>
  %v = linalg.generic {indexing_maps = [affine_map<(b, m, n, k) -> (b, m, k)>, affine_map<(b, m, n, k) -> (n, k)>,
      affine_map<(b, m, n, k) -> (b, m, n)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<2x64x128xf16>, tensor<128x128xf16>) outs(%f : tensor<2x64x128xf16>) {
  ^bb0(%a: f16, %c: f16, %o: f16):
    %p = arith.mulf %a, %c : f16
    %s = arith.addf %o, %p : f16
    linalg.yield %s : f16
  } -> tensor<2x64x128xf16>
  %r = iree_linalg_ext.attention <indexing_maps = [affine_map<(b, m, n, k1, k2) -> (b, m, k1)>, affine_map<(b, m, n, k1, k2) -> (b, k2, k1)>,
      affine_map<(b, m, n, k1, k2) -> (b, k2, n)>, affine_map<(b, m, n, k1, k2) -> ()>, affine_map<(b, m, n, k1, k2) -> (b, m, n)>]>
      ins(%q, %k, %v, %scale : tensor<2x64x128xf16>, tensor<2x64x128xf16>, tensor<2x64x128xf16>, f16) outs(%e : tensor<2x64x128xf16>) {
  ^bb0(%score: f32):
    iree_linalg_ext.yield %score : f32
  } -> tensor<2x64x128xf16>
  return %r : tensor<2x64x128xf16>
}
"""


def test_pack_and_run_have_settings_of_their_own() -> None:
    packing = bench.parse(["pack", "--flag=--x", "--flag=--y"])
    assert isinstance(packing, bench.PackSettings)
    assert (packing.batch_size, packing.target, packing.flag) == (1, "sm_80", ("--x", "--y"))
    running = bench.parse(["run", "--packed", "there"])
    assert isinstance(running, bench.RunSettings) and running.pairs >= 15 and not running.without_compile


def test_executables_are_taken_as_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "one.vmfb").write_bytes(b"one")

    def given(*words: str) -> dict[str, Path]:
        settings = bench.parse(["pack", *words])
        assert isinstance(settings, bench.PackSettings)
        return bench.given_executables(settings)

    assert given("--executable", f"default={tmp_path / 'one.vmfb'}") == {"default": tmp_path / "one.vmfb"} and given() == {}
    with pytest.raises(ConfigError, match="NAME=FILE"):
        given("--executable", str(tmp_path / "one.vmfb"))
    with pytest.raises(MissingFileError, match="does not exist"):
        given("--executable", "default=nowhere.vmfb")
    with pytest.raises(ConfigError, match="--flag are for compiling"):
        given("--executable", f"default={tmp_path / 'one.vmfb'}", "--flag=--x")


def test_too_few_rounds_are_refused_before_anything_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--pairs is 2"):
        bench.run(bench.RunSettings(packed=tmp_path, pairs=2, kernels=None, without_compile=True))


def test_an_executable_that_is_not_what_was_packed_is_refused(tmp_path: Path) -> None:
    executable = tmp_path / "default.vmfb"
    executable.write_bytes(b"one")
    variant = Variant(name="default", executable=executable.name, flags=(), sha256=document.digest(executable))
    document.write(replace(PACKED, variants=(variant,)), tmp_path / NAME)
    assert on_machine.read(tmp_path).variants == (variant,)
    executable.write_bytes(b"two")
    with pytest.raises(ManifestError, match="not what was packed"):
        on_machine.read(tmp_path)


def test_inputs_have_the_packed_shapes_and_say_the_picture_size() -> None:
    arrays = on_machine.inputs(PACKED)
    assert [array.shape for array in arrays] == [(1, 4, 128, 128), (2, 64, 2048), (2, 1280), (2, 6), (1,), (1,)]
    assert arrays[1].dtype == np.float16 and arrays[3].tolist() == 2 * [[1024, 1024, 0, 0, 1024, 1024]]
    assert 0.9 < arrays[0].std() < 1.1


def test_the_error_is_of_the_direction_and_not_hidden_by_the_latents() -> None:
    latents = np.full((1, 4), 100.0)
    assert on_machine.relative_error(latents + 2, latents + 1, latents) == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="not-a-numbers"):
        on_machine.relative_error(latents * np.nan, latents + 1, latents)


def test_everything_the_archive_carries_exists() -> None:
    assert [name for name in bench.CARRIED if not (ROOT / name).is_file()] == []


def transposed_tiles(folder: Path, options: list[str]) -> int:
    """Contractions of the linear above on tensor cores whose left operand's dimension is the last of the result."""
    source, configured = folder / "v.mlir", folder / "configured"
    source.write_text(V_PROJECTION)
    done = subprocess.run([str(compiler.compiler_path()), str(source), *options, "--compile-to=executable-configurations",
                           f"--iree-hal-dump-executable-configurations-to={configured}", "-o", str(folder / "out.mlir")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    lines = [line for file in configured.glob("*.mlir") for line in file.read_text().splitlines()
             if "linalg.generic" in line and "NV_MMA_SYNC" in line]
    assert lines  # the linear does run on tensor cores
    return sum("-> (d0, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d1, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>" in line
               for line in lines)


def test_the_flags_of_cuda_keep_transposed_tiles_out_of_attention(tmp_path: Path) -> None:
    """IREE 3.13 computes them wrongly (docs/CUDA.md). The second half shows that the check can fail: without the flag there is one."""
    own = flags(target.find("sm_80"), None)
    (tmp_path / "own").mkdir()
    (tmp_path / "plain").mkdir()
    assert transposed_tiles(tmp_path / "own", own) == 0
    plain = [flag for flag in own if "attention-v-transpose" not in flag]
    assert transposed_tiles(tmp_path / "plain", plain) == 1

"""A build small enough for tests: SDXL's entry points in hand-written MLIR with simple arithmetic, one weight each.

`expected` says what image every sample must give, so a test sees wrong routing, a missing step or a swapped argument.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from compile import target as targets
from compile.flags import flags as target_flags
from compile.manifest import NAME, Executable, Manifest, ParameterArchive
from export.model_config import ModelConfig
from ireeperf import document
from ireeperf.samples import SampleSet

SIDE, SEQUENCE, STEPS, GUIDANCE = 16, 64, 3, 2.0
LATENT, WEIGHTS = 0.5, {"clip": 3.0, "scheduled_unet": 5.0, "vae": 7.0}
CPU_FLAGS = ["--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=generic"]
FENCES = "--iree-execution-model=async-external"

CLIP = """
module @compiled_clip {{
  util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<f32>
  func.func @encode_prompts(%p1: tensor<{b}x{s}xi64>, %p2: tensor<{b}x{s}xi64>, %n1: tensor<{b}x{s}xi64>, %n2: tensor<{b}x{s}xi64>)
      -> (tensor<{b2}x{s}x1xf32>, tensor<{b2}x1xf32>) {{
    %w = util.global.load @w : tensor<f32>
    %ids = tensor.concat dim(0) %n1, %p1 : (tensor<{b}x{s}xi64>, tensor<{b}x{s}xi64>) -> tensor<{b2}x{s}xi64>
    %f = arith.sitofp %ids : tensor<{b2}x{s}xi64> to tensor<{b2}x{s}xf32>
    %embeds = tensor.expand_shape %f [[0], [1, 2]] output_shape [{b2}, {s}, 1] : tensor<{b2}x{s}xf32> into tensor<{b2}x{s}x1xf32>
    %ids2 = tensor.concat dim(0) %n2, %p2 : (tensor<{b}x{s}xi64>, tensor<{b}x{s}xi64>) -> tensor<{b2}x{s}xi64>
    %first = tensor.extract_slice %ids2[0, 0] [{b2}, 1] [1, 1] : tensor<{b2}x{s}xi64> to tensor<{b2}x1xi64>
    %empty = tensor.empty() : tensor<{b2}x1xf32>
    %text = linalg.generic {{indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> ()>, affine_map<(i, j) -> (i, j)>],
        iterator_types = ["parallel", "parallel"]}} ins(%first, %w : tensor<{b2}x1xi64>, tensor<f32>) outs(%empty : tensor<{b2}x1xf32>) {{
      ^bb0(%x: i64, %y: f32, %o: f32):
        %xf = arith.sitofp %x : i64 to f32
        %r = arith.addf %xf, %y : f32
        linalg.yield %r : f32
    }} -> tensor<{b2}x1xf32>
    return %embeds, %text : tensor<{b2}x{s}x1xf32>, tensor<{b2}x1xf32>
  }}
}}
"""
# latents + guidance x (positive token - negative token) + pooled positive + step + weight
SPUNET = """
#id = affine_map<(b, c, h, w) -> (b, c, h, w)>
#row = affine_map<(b, c, h, w) -> (b)>
#one = affine_map<(b, c, h, w) -> ()>
module @compiled_spunet {{
  util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<f32>
  func.func @run_initialize(%latents: tensor<{b}x4x{h}x{h}xf32>) -> (tensor<{b}x4x{h}x{h}xf32>, tensor<{b2}x6xf32>) {{
    %scaled = arith.addf %latents, %latents : tensor<{b}x4x{h}x{h}xf32>
    %time = arith.constant dense<1.0> : tensor<{b2}x6xf32>
    return %scaled, %time : tensor<{b}x4x{h}x{h}xf32>, tensor<{b2}x6xf32>
  }}
  func.func @run_forward(%latents: tensor<{b}x4x{h}x{h}xf32>, %embeds: tensor<{b2}x{s}x1xf32>, %text: tensor<{b2}x1xf32>,
      %time: tensor<{b2}x6xf32>, %guidance: tensor<1xf32>, %step: tensor<1xi64>) -> tensor<{b}x4x{h}x{h}xf32> {{
    %w = util.global.load @w : tensor<f32>
    %g = tensor.collapse_shape %guidance [] : tensor<1xf32> into tensor<f32>
    %i = tensor.collapse_shape %step [] : tensor<1xi64> into tensor<i64>
    %ns = tensor.extract_slice %embeds[0, 0, 0] [{b}, 1, 1] [1, 1, 1] : tensor<{b2}x{s}x1xf32> to tensor<{b}xf32>
    %ps = tensor.extract_slice %embeds[{b}, 0, 0] [{b}, 1, 1] [1, 1, 1] : tensor<{b2}x{s}x1xf32> to tensor<{b}xf32>
    %ts = tensor.extract_slice %text[{b}, 0] [{b}, 1] [1, 1] : tensor<{b2}x1xf32> to tensor<{b}xf32>
    %empty = tensor.empty() : tensor<{b}x4x{h}x{h}xf32>
    %new = linalg.generic {{indexing_maps = [#id, #row, #row, #row, #one, #one, #one, #id],
        iterator_types = ["parallel", "parallel", "parallel", "parallel"]}}
        ins(%latents, %ns, %ps, %ts, %g, %i, %w : tensor<{b}x4x{h}x{h}xf32>, tensor<{b}xf32>, tensor<{b}xf32>, tensor<{b}xf32>,
            tensor<f32>, tensor<i64>, tensor<f32>) outs(%empty : tensor<{b}x4x{h}x{h}xf32>) {{
      ^bb0(%x: f32, %n: f32, %p: f32, %t: f32, %gg: f32, %ii: i64, %ww: f32, %o: f32):
        %d = arith.subf %p, %n : f32
        %gd = arith.mulf %gg, %d : f32
        %sf = arith.sitofp %ii : i64 to f32
        %a = arith.addf %x, %gd : f32
        %a1 = arith.addf %a, %t : f32
        %a2 = arith.addf %a1, %sf : f32
        %a3 = arith.addf %a2, %ww : f32
        linalg.yield %a3 : f32
    }} -> tensor<{b}x4x{h}x{h}xf32>
    return %new : tensor<{b}x4x{h}x{h}xf32>
  }}
}}
"""
VAE = """
module @compiled_vae {{
  util.global private @w = #flow.parameter.named<"model"::"w"> : tensor<f32>
  func.func @decode(%latents: tensor<{b}x4x{h}x{h}xf32>) -> tensor<{b}x{side}x{side}x3xi8> {{
    %w = util.global.load @w : tensor<f32>
    %rows = tensor.extract_slice %latents[0, 0, 0, 0] [{b}, 1, 1, 1] [1, 1, 1, 1] : tensor<{b}x4x{h}x{h}xf32> to tensor<{b}xf32>
    %empty = tensor.empty() : tensor<{b}x{side}x{side}x3xi8>
    %image = linalg.generic {{indexing_maps = [affine_map<(b, y, x, c) -> (b)>, affine_map<(b, y, x, c) -> ()>,
        affine_map<(b, y, x, c) -> (b, y, x, c)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}}
        ins(%rows, %w : tensor<{b}xf32>, tensor<f32>) outs(%empty : tensor<{b}x{side}x{side}x3xi8>) {{
      ^bb0(%v: f32, %y: f32, %o: i8):
        %a = arith.addf %v, %y : f32
        %i = arith.fptosi %a : f32 to i32
        %r = arith.trunci %i : i32 to i8
        linalg.yield %r : i8
    }} -> tensor<{b}x{side}x{side}x3xi8>
    return %image : tensor<{b}x{side}x{side}x3xi8>
  }}
}}
"""
MLIR = {"clip": CLIP, "scheduled_unet": SPUNET, "vae": VAE}
MODULE_NAMES = {"clip": "compiled_clip", "scheduled_unet": "compiled_spunet", "vae": "compiled_vae"}
FUNCTIONS = {"clip": ("encode_prompts",), "scheduled_unet": ("run_initialize", "run_forward"), "vae": ("decode",)}


def model(*, sizes: tuple[int, ...] = (2, 4), vae: tuple[int, ...] = (2,), side: int = SIDE) -> ModelConfig:
    return ModelConfig(
        max_seq_len=SEQUENCE, num_latents_channels=4, batch_sizes={"clip": sizes, "scheduled_unet": sizes, "vae": vae},
        module_names=MODULE_NAMES, function_names=FUNCTIONS, unet_dtype="float32", use_scheduled_unet=True,
        dims=((side, side),), model="tiny", num_inference_steps=STEPS, guidance_scale=GUIDANCE, loadgen_model="sdxl-nano")


def manifest(config: ModelConfig, executables: tuple[Executable, ...] = (), archives: tuple[ParameterArchive, ...] = (),
             target: str = "cpu") -> Manifest:
    return Manifest(
        key="0123456789abcdef", created_utc="2026-11-23T00:00:00+00:00", model=config, model_json="tiny.json", checkpoint="tiny",
        target=target, driver=targets.find(target).driver, compiler_version=metadata.version("iree-base-runtime"), executables=executables,
        parameter_archives=archives, spec=None, stage_seconds={})


def samples(count: int, *, config: ModelConfig | None = None) -> SampleSet:
    """Sample i has first tokens i (positive), i // 2 (negative), i % 5 (second tokenizer)."""
    config = config or model()
    rows = np.arange(count, dtype=np.int64)[:, None] + np.zeros((1, SEQUENCE), np.int64)
    return SampleSet(name="tiny", model="tiny", max_seq_len=SEQUENCE, captions=tuple(f"sample {i}" for i in range(count)),
                     prompt_ids_1=rows, prompt_ids_2=rows % 5, negative_ids_1=rows // 2, negative_ids_2=rows * 0,
                     latents=np.full((1, *config.latent_shape), LATENT, np.float32))


def expected(indices: Sequence[int]) -> list[int]:
    """The value of every pixel of each sample's image."""
    per_step = [GUIDANCE * (i - i // 2) + i % 5 + WEIGHTS["clip"] + WEIGHTS["scheduled_unet"] for i in indices]
    return [int(2 * LATENT + STEPS * step + sum(range(STEPS)) + WEIGHTS["vae"]) % 256 for step in per_step]


@functools.cache
def shared(target: str = "cpu", *, fences: bool = False) -> Path:
    """One compiled build per target for all tests of this process: a few seconds. Do not write to it. `fences`: for cpu too."""
    root = tempfile.mkdtemp(prefix="ireeperf-tiny-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return write(Path(root), target=target, fences=fences)


def flags_of(target: str, *, fences: bool = False) -> list[str]:
    """Flags of a tiny executable: baseline code for the CPU, those of compile/flags.py for a GPU."""
    found = targets.find(target)
    return [*CPU_FLAGS, *[FENCES] * fences] if found.backend == "cpu" else target_flags(found, None)


def write(root: Path, *, count: int = 40, compiled: bool = True, target: str = "cpu", fences: bool = False) -> Path:
    """A build under `root`/build/tiny and its samples, as precompile and export.samples lay them out; the build's folder."""
    import iree.runtime as rt

    config, folder = model(), root / "build" / "tiny"
    folder.mkdir(parents=True)
    executables, archives = [], []
    for module in MLIR if compiled else ():
        for size in config.batch_sizes[module]:
            path = folder / f"{module}_bs{size}.vmfb"
            source = MLIR[module].format(b=size, b2=2 * size, s=SEQUENCE, h=SIDE // 8, side=SIDE)
            compile_text(source, path, flags_of(target, fences=fences))
            executables.append(Executable(module=module, module_name=MODULE_NAMES[module], entry_points=FUNCTIONS[module],
                                          batch_size=size, path=path.name, sha256=document.digest(path), command="", seconds=0))
        index = rt.ParameterIndex()
        index.add_buffer("w", np.array(WEIGHTS[module], np.float32))
        archive = folder / f"{module}.irpa"
        index.create_archive_file(str(archive))
        archives.append(ParameterArchive(module=module, path=archive.name, sha256=document.digest(archive),
                                         bytes=archive.stat().st_size))
    document.write(manifest(config, tuple(executables), tuple(archives), target), folder / NAME)
    samples(count, config=config).write(root / "build" / "samples" / f"tiny-{SEQUENCE}.npz")
    return folder


def compile_text(source: str, path: Path, flags: Sequence[str]) -> None:
    """Compile MLIR text to `path`."""
    subprocess.run([str(Path(sys.executable).with_name("iree-compile")), "-", *flags, "-o", str(path)], check=True,
                   input=source.encode(), capture_output=True)

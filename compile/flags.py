"""Compiler flags of each target. Every flag says why it is there; what was tried and left out is in LOG.md.

What a CPU build gets besides depends on the module: compile/winograd.py.
"""

from __future__ import annotations

from pathlib import Path

from compile.target import Target

# Entry points take two fences: a batch is queued whole, and a wait for a device that hangs can be ended (a blocking call cannot)
_FENCES = "--iree-execution-model=async-external"
_DATA_TILING = "--iree-global-opt-data-tiling"
_CHANNELS_LAST = "builtin.module(util.func(iree-preprocessing-convert-conv-to-channels-last))"


def flags(target: Target, spec: Path | None, *, decodes: bool = False) -> list[str]:
    """The flags for one executable, without input and output. `decodes`: it is a decoder's."""
    chosen = {"cpu": _cpu, "hip": _hip, "cuda": _cuda}[target.backend](target)
    if decodes and target.backend == "cpu":
        # Packed anew in every call of decode at batch sizes above 1: SmolLM2-135M, one thread, CPU seconds a call with and without: decode_bs1
        # 0.028 and 0.034, bs4 1.16 and 0.042, bs16 4.8 and 0.099, prefill of 128 tokens 0.29 and 0.35 (AVX-512, busy machine, best of 3)
        chosen.remove(_DATA_TILING)
    # All graph-level optimizations, among them the fusions that make up most of the difference to O0 on every target
    chosen.append("--iree-opt-level=O3")
    if spec is not None:
        # IREE 3.13 loads the spec under a lock and verifies it on its thread pool: the waiting thread may take up another executable,
        # which wants the same lock, and the compile hangs for ever (seen once in three compiles of the full-size UNet with 100 records)
        chosen.append("--mlir-disable-threading")
        # The same file serves every backend; on CUDA the tuning-spec flag exits 0 and applies nothing (IREE 3.13)
        name = "--iree-codegen-transform-dialect-library" if target.backend == "cuda" else "--iree-codegen-tuning-spec-path"
        chosen.append(f"{name}={spec}")
    return chosen


def _cpu(target: Target) -> list[str]:
    return [
        "--iree-hal-target-device=local",
        # Native code in an embedded ELF: needs no system linker, here or where it runs
        "--iree-hal-local-target-device-backends=llvm-cpu",
        # host: this machine's instruction set; without it the code is baseline x86-64, SSE2 only
        f"--iree-llvmcpu-target-cpu={target.architecture}",
        # Matmul operands packed into cache-sized tiles
        _DATA_TILING,
        # Convolutions as NHWC, whose innermost dimension is the channels: a vector of them is one load. On AVX-512 the
        # nano UNet step takes 0.80x the time, the 50 M one 0.89x, against data tiling alone (LOG.md, 2026-11-24)
        f"--iree-preprocessing-pass-pipeline={_CHANNELS_LAST}",
        # The default limit, 32 KiB, refuses the text encoders' LayerNorm at batch size 8 (37,056 bytes); a thread has megabytes
        "--iree-llvmcpu-stack-allocation-limit=131072",
    ]


def _hip(target: Target) -> list[str]:
    # A product's name brings its chip, which compile.target.set_chip makes that of the partition between two phases
    chosen = ["--iree-hal-target-device=hip", f"--iree-rocm-target={target.chip.sku if target.chip else target.architecture}", _FENCES]
    if target.architecture == "gfx950":
        # IREE 3.13 crashes (exit 248) on matmuls for whose instruction it finds no swizzle: docs/compiler_bugs/gfx950_direct_load.md
        chosen.append("--iree-llvmgpu-use-direct-load=false")
    return chosen


def _cuda(target: Target) -> list[str]:
    # IREE 3.13 computes a float16 contraction wrongly when its tile lies transposed in the result: mma.sync leaves a thread 2 x 2
    # results, and their transposition is left out. These two keep V and the images of 1x1 convolutions from asking for it, and
    # the UNet step takes 0.90x the time (docs/CUDA.md)
    return ["--iree-hal-target-device=cuda", f"--iree-cuda-target={target.architecture}", _FENCES,
            "--iree-global-opt-enable-attention-v-transpose=false", f"--iree-preprocessing-pass-pipeline={_CHANNELS_LAST}"]

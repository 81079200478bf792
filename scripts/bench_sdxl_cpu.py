"""One denoising step on the CPU: IREE against diffusers eager and torch.compile, on two UNets.

A step is what the pipeline does between two latents: scale, UNet on negative and positive rows, guidance, Euler. The
contestants get equal threads, equal weights and inputs, and take turns within every pair; figures are medians. IREE stands
there up to three times: o3 (no flag but the optimization level), iree (the flags of compile/flags.py), spec (what compile.winograd makes of
the module's convolutions too, and records where there are any). Beside latents: relative error to torch's.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compile import compiler, tuning_spec, winograd
from compile.cache import ROOT, Cache
from compile.flags import flags
from compile.tune_search import interval
from export import model_config, sdxl, torch_setup
from export.model_config import ModelConfig
from scripts.bench_turns import measure, ratios

if TYPE_CHECKING:
    import torch

    from export.sdxl_modules import ScheduledUnet

STEP = 7  # any of the 20
# SDXL's three block kinds at 50 M parameters: a size where arithmetic, not call overhead, decides
FIFTY_MILLION = {
    "sample_size": 16, "in_channels": 4, "out_channels": 4, "block_out_channels": (64, 128, 256), "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "transformer_layers_per_block": (1, 2, 4),
    "attention_head_dim": (1, 2, 4), "cross_attention_dim": 256, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 32, "projection_class_embeddings_input_dim": 6 * 32 + 128, "use_linear_projection": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """The command line."""

    pairs: int
    threads: int
    batch_size: int
    dtype: str
    model: tuple[str, ...]
    flag: tuple[str, ...]
    without_compile: bool
    without_torch: bool
    td_spec: Path | None


def parse(argv: Sequence[str] | None = None) -> BenchSettings:
    parser = argparse.ArgumentParser(prog="scripts/bench sdxl-cpu", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=31, help="rounds in which each contestant runs once (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each contestant (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=1, help="samples a step; the UNet sees twice as many (default %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of IREE; torch runs float32, its fastest here")
    parser.add_argument("--model", action="append", choices=("sdxl-nano", "50m"), help="repeatable (default both)")
    parser.add_argument("--flag", action="append", default=[], help="one more compiler flag, for experiments (repeatable)")
    parser.add_argument("--without-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--without-torch", action="store_true", help="leave diffusers out too: IREE's own contestants only")
    parser.add_argument("--td-spec", type=Path, metavar="FILE|FOLDER|none",
                        help="of the contestant spec (default the records of this CPU, where there are any)")
    arguments = vars(parser.parse_args(argv))
    models = tuple(arguments["model"] or ("sdxl-nano", "50m"))
    return BenchSettings(**arguments | {"model": models, "flag": tuple(arguments["flag"])})


def random_unet(name: str) -> torch.nn.Module:
    """The UNet, random weights from a fixed seed, float32: speed does not depend on their values."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    if name == "50m":
        return UNet2DConditionModel(**FIFTY_MILLION).eval()
    settings = json.loads((ROOT / "export/architectures/sdxl-nano/unet/config.json").read_text())
    return UNet2DConditionModel.from_config(settings).eval()


def scheduler() -> Any:
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler.from_config(
        json.loads((ROOT / "export/architectures/sdxl-nano/scheduler/scheduler_config.json").read_text()))


def inputs(config: ModelConfig, module: ScheduledUnet, batch_size: int) -> list[np.ndarray]:
    """Random arguments of run_forward."""
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(tuple(a.shape)).astype(np.float32) for a in sdxl.forward_arguments(config, module, batch_size)]
    arrays[3] = np.tile(np.asarray([128, 128, 0, 0, 128, 128], np.float32), (2 * batch_size, 1))
    arrays[4], arrays[5] = np.asarray([8.0], np.float32), np.asarray([STEP], np.int64)
    return arrays


def torch_step(unet: Callable[..., Any], arrays: Sequence[np.ndarray], steps: int) -> Callable[[], np.ndarray]:
    """One step as StableDiffusionXLPipeline does it."""
    import torch

    latents, embeds, pooled, time_ids = (torch.from_numpy(array) for array in arrays[:4])
    euler = scheduler()
    euler.set_timesteps(steps)
    conditions = {"text_embeds": pooled, "time_ids": time_ids}

    def step() -> np.ndarray:
        timestep = euler.timesteps[STEP]
        euler._step_index = STEP
        with torch.inference_mode():
            scaled = euler.scale_model_input(torch.cat([latents] * 2), timestep)
            noise = unet(scaled, timestep, encoder_hidden_states=embeds, added_cond_kwargs=conditions, return_dict=False)[0]
            negative, positive = noise.chunk(2)
            guided = negative + float(arrays[4][0]) * (positive - negative)
            return euler.step(guided, timestep, latents, return_dict=False)[0].numpy()

    return step


def variants(settings: BenchSettings, mlir: Path) -> dict[str, tuple[str, ...]]:
    """Compiler flags of IREE's contestants for the step `mlir`."""
    stem = f"sdxl_nano_bs{settings.batch_size}" if settings.dtype == "float16" else "sdxl_nano_fp32_bs1_2_4_8"
    on, spec = tuning_spec.choose(settings.td_spec, "cpu", None, stem, Cache())
    shipped = flags(on, None)
    plain = [flag for flag in shipped if not flag.startswith(("--iree-global-opt-data-tiling", "--iree-preprocessing-pass-pipeline"))]
    rewrites = winograd.flags(on, mlir, Cache())
    full = {"spec": [*flags(on, spec.path if spec else None), *rewrites]} if spec or rewrites else {}
    return {name: (*given, *settings.flag) for name, given in ({"o3": plain, "iree": shipped} | full).items()}


def exported(module: ScheduledUnet, config: ModelConfig, batch_size: int, folder: Path) -> Path:
    """The step as MLIR, its weights beside it as unet.irpa."""
    from iree.turbine import aot

    aot.externalize_module_parameters(module, external_scope="model")
    mlir = folder / "unet.mlir"
    sdxl.write_mlir(module, {"run_forward": sdxl.forward_arguments(config, module, batch_size)}, "unet", mlir)
    aot.save_module_parameters(folder / "unet.irpa", module)
    return mlir


def iree_step(mlir: Path, dtype: np.dtype[Any], arrays: Sequence[np.ndarray], name: str, given: tuple[str, ...],
              threads: int) -> Callable[[], np.ndarray]:
    """The exported step compiled with the flags `given`, arguments on the device as they are between two steps of a run."""
    import iree.runtime as rt

    task = compiler.Task(label=name, mlir=mlir, flags=given, folder=mlir.parent / name, name="unet", log=mlir.parent / f"{name}.log")
    (_, seconds), = compiler.compile_all([task], 1)
    print(f"{name}: iree-compile {seconds:.1f} s, {' '.join(given)}", flush=True)
    rt.flags.parse_flags(f"--task_topology_group_count={threads}")
    runtime = rt.Config("local-task")
    index = rt.ParameterIndex()
    index.load(str(mlir.with_suffix(".irpa")))
    modules = [rt.create_hal_module(runtime.vm_instance, runtime.device),
               rt.create_io_parameters_module(runtime.vm_instance, index.create_provider(scope="model")),
               rt.VmModule.mmap(runtime.vm_instance, str(task.vmfb))]
    forward = rt.SystemContext(vm_modules=modules, config=runtime).modules["unet"]["run_forward"]
    cast = [array.astype(dtype) if index in (1, 2, 3) else array for index, array in enumerate(arrays)]
    placed = [rt.asdevicearray(runtime.device, array) for array in cast]

    def step() -> np.ndarray:
        latents = forward(*placed)
        return np.array(latents.to_host())  # to_host is a view of the device's memory

    return step


def intervals(times: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Medians of ratios with their 95 % intervals (order statistics): of each contestant over iree, and of o3 over spec. Above 1 the
    second is faster."""
    pairs = [(other, "iree") for other in times if other not in ("iree", "spec")]
    pairs += [("iree", "spec"), ("o3", "spec")] if "spec" in times else []
    found = {}
    for other, own in pairs:
        for kind in ("wall", "cpu"):
            low, middle, high = interval([b / a for a, b in zip(times[own][kind], times[other][kind], strict=True)])
            found[f"{other}_over_{own}_{kind}"] = {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}
    return found


def bench(name: str, settings: BenchSettings) -> dict[str, Any]:
    """One UNet: ratios above 1 mean that IREE is faster."""
    import torch

    from export.sdxl_modules import ScheduledUnet, use_explicit_attention, use_float32_norms

    base = model_config.read(ROOT / "export/configs/sdxl_nano_fp32_bs2.json")
    config = replace(base, unet_dtype=settings.dtype)
    unet, twin = random_unet(name), random_unet(name)
    dtype = torch.float16 if settings.dtype == "float16" else torch.float32
    module = ScheduledUnet(twin.to(dtype), scheduler(), config.num_inference_steps, (128, 128), dtype)
    use_float32_norms(module)
    if config.attention == "explicit":
        use_explicit_attention(twin)
    arrays = inputs(config, module, settings.batch_size)
    eager = torch_step(unet, arrays, config.num_inference_steps)
    with tempfile.TemporaryDirectory() as folder:
        mlir = exported(module.eval().requires_grad_(False), config, settings.batch_size, Path(folder))
        contestants = {name: iree_step(mlir, np.dtype(config.unet_dtype), arrays, name, given, settings.threads)
                       for name, given in variants(settings, mlir).items()}
        contestants |= {} if settings.without_torch else {"eager": eager}
        if not (settings.without_compile or settings.without_torch):
            started = time.monotonic()
            contestants["compile"] = torch_step(torch.compile(unet), arrays, config.num_inference_steps)
            contestants["compile"]()
            print(f"torch.compile {time.monotonic() - started:.1f} s", flush=True)
        expected = eager()
        differences = {name: float(np.linalg.norm(contestants[name]() - expected) / np.linalg.norm(expected)) for name in contestants}
        times = measure(contestants, settings.pairs)
    result = {"parameters": sum(p.numel() for p in unet.parameters()), "relative_error": differences, "ratios": intervals(times), **ratios(times)}
    print(f"{name}: {json.dumps(result)}", flush=True)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    torch_setup.prepare()
    import torch

    torch.set_num_threads(settings.threads)
    print(f"bench sdxl-cpu: {settings.pairs} pairs, {settings.threads} threads each, batch size {settings.batch_size}, IREE in "
          f"{settings.dtype}, torch {torch.__version__} in float32, compiler {compiler.compiler_version()}, load {os.getloadavg()}",
          flush=True)
    results = {name: bench(name, settings) for name in settings.model}
    print(json.dumps({
        **{f"ratio_{kind}": {name: result.get(f"ratio_{kind}") for name, result in results.items()} for kind in ("eager", "compile")},
        "pairs": settings.pairs, "threads": settings.threads, "batch_size": settings.batch_size, "dtype": settings.dtype,
        "models": results}))
    return 0

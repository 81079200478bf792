"""One denoising step on the CPU: IREE against diffusers eager and torch.compile, on two UNets.

A step is what the pipeline does between two latents: scale, UNet on negative and positive rows, guidance, Euler. The
contestants get equal threads, equal weights and inputs, and take turns within every pair; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compile import compiler, target
from compile.cache import ROOT
from compile.flags import flags
from export import model_config, sdxl, torch_setup
from export.model_config import ModelConfig

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


def parse(argv: Sequence[str] | None = None) -> BenchSettings:
    parser = argparse.ArgumentParser(prog="scripts/bench sdxl-cpu", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=21, help="rounds in which each contestant runs once (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each contestant (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=1, help="samples a step; the UNet sees twice as many (default %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of IREE; torch runs float32, its fastest here")
    parser.add_argument("--model", action="append", choices=("sdxl-nano", "50m"), help="repeatable (default both)")
    parser.add_argument("--flag", action="append", default=[], help="one more compiler flag, for experiments (repeatable)")
    parser.add_argument("--without-compile", action="store_true", help="leave torch.compile out")
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


def iree_step(module: ScheduledUnet, config: ModelConfig, batch_size: int, arrays: Sequence[np.ndarray], settings: BenchSettings,
              folder: Path) -> Callable[[], np.ndarray]:
    """The exported step, arguments on the device as they are between two steps of a run."""
    import iree.runtime as rt
    from iree.turbine import aot

    aot.externalize_module_parameters(module, external_scope="model")
    mlir = folder / "unet.mlir"
    sdxl.write_mlir(module, {"run_forward": sdxl.forward_arguments(config, module, batch_size)}, "unet", mlir)
    aot.save_module_parameters(folder / "unet.irpa", module)
    task = compiler.Task(label="unet", mlir=mlir, flags=(*flags(target.find("cpu"), None), *settings.flag), folder=folder / "out",
                         name="unet", log=folder / "unet.log")
    (_, seconds), = compiler.compile_all([task], 1)
    print(f"iree-compile {seconds:.1f} s, {' '.join(task.flags)}", flush=True)
    rt.flags.parse_flags(f"--task_topology_group_count={settings.threads}")
    runtime = rt.Config("local-task")
    index = rt.ParameterIndex()
    index.load(str(folder / "unet.irpa"))
    modules = [rt.create_hal_module(runtime.vm_instance, runtime.device),
               rt.create_io_parameters_module(runtime.vm_instance, index.create_provider(scope="model")),
               rt.VmModule.mmap(runtime.vm_instance, str(task.vmfb))]
    forward = rt.SystemContext(vm_modules=modules, config=runtime).modules["unet"]["run_forward"]
    dtype = np.dtype(config.unet_dtype)
    cast = [array.astype(dtype) if index in (1, 2, 3) else array for index, array in enumerate(arrays)]
    placed = [rt.asdevicearray(runtime.device, array) for array in cast]

    def step() -> np.ndarray:
        latents = forward(*placed)
        return np.array(latents.to_host())  # to_host is a view of the device's memory

    return step


def measure(contestants: dict[str, Callable[[], np.ndarray]], pairs: int) -> dict[str, dict[str, list[float]]]:
    """Wall and CPU seconds of every call; the order turns round by round."""
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in contestants}
    names = list(contestants)
    for call in contestants.values():
        for _ in range(3):
            call()
    for round_ in range(pairs):
        for name in names[round_ % len(names):] + names[:round_ % len(names)]:
            cpu, wall = time.process_time(), time.perf_counter()
            contestants[name]()
            found[name]["wall"].append(time.perf_counter() - wall)
            found[name]["cpu"].append(time.process_time() - cpu)
    return found


def ratios(times: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Medians of every contestant, and of what each takes in units of IREE's time: above 1 IREE is faster."""
    result: dict[str, Any] = {}
    for other in [name for name in times if name != "iree"]:
        paired = [b / a for a, b in zip(times["iree"]["wall"], times[other]["wall"], strict=True)]
        result[f"ratio_{other}"] = round(statistics.median(paired), 3)
        result[f"ratio_{other}_quartiles"] = [round(q, 3) for q in statistics.quantiles(paired, n=4)[::2]]
        # CPU time over CPU time: what a busy machine distorts least (torch's threads spin while they wait for each other)
        cpu = {name: statistics.median(times[name]["cpu"]) for name in ("iree", other)}
        result[f"ratio_{other}_cpu"] = round(cpu[other] / cpu["iree"], 3)
    for name, kinds in times.items():
        for kind, values in kinds.items():
            result[f"{name}_{kind}_ms"] = round(1e3 * statistics.median(values), 2)
    return result


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
        iree = iree_step(module.eval().requires_grad_(False), config, settings.batch_size, arrays, settings, Path(folder))
        contestants = {"iree": iree, "eager": eager}
        if not settings.without_compile:
            started = time.monotonic()
            contestants["compile"] = torch_step(torch.compile(unet), arrays, config.num_inference_steps)
            contestants["compile"]()
            print(f"torch.compile {time.monotonic() - started:.1f} s", flush=True)
        difference = np.linalg.norm(iree() - eager()) / np.linalg.norm(eager())
        times = measure(contestants, settings.pairs)
    result = {"parameters": sum(p.numel() for p in unet.parameters()), "relative_error": float(difference), **ratios(times)}
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

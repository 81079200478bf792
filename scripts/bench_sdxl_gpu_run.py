"""On the GPU's machine: one UNet step by IREE and by torch, same random weights. Needs torch, diffusers and iree.runtime, no compiler."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ireeperf import document
from ireeperf.errors import ConfigError, ManifestError
from scripts import bench_turns
from scripts.bench_sdxl_gpu_packed import ENTRY, NAME, SCOPE, Packed
from scripts.first_contact_parts import tensors

if TYPE_CHECKING:
    import torch

STEP = 7  # any of the 20
ROOT = Path(__file__).resolve().parents[1]
DTYPES = {"float16": np.float16, "float32": np.float32}


def read(folder: Path) -> Packed:
    """The archive's contents, its executables compared with their digests."""
    packed = document.read(Packed, folder / NAME)
    for variant in packed.variants:
        file = folder / variant.executable
        if not file.is_file() or document.digest(file) != variant.sha256:
            raise ManifestError(f"{file} is absent or not what was packed; unpack the archive again")
    return packed


def network(packed: Packed, device: str) -> Any:
    """The UNet in its dtype, random weights from a fixed seed, made on `device`."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    settings = json.loads((ROOT / "export/architectures" / packed.model / "unet/config.json").read_text())
    with torch.device(device):
        unet = UNet2DConditionModel.from_config(settings)
    return unet.to(getattr(torch, packed.unet_dtype)).eval().requires_grad_(False)


def scheduler(packed: Packed) -> Any:
    from diffusers import EulerDiscreteScheduler

    settings = json.loads((ROOT / "export/architectures" / packed.model / "scheduler/scheduler_config.json").read_text())
    euler = EulerDiscreteScheduler.from_config(settings)
    euler.set_timesteps(packed.num_inference_steps)
    return euler


def inputs(packed: Packed) -> list[np.ndarray]:
    """Random arguments of run_forward, of unit variance as latents and embeddings are."""
    draw = np.random.default_rng(0)
    kinds = [tensors.of(kind) for kind in packed.arguments]
    arrays = [draw.standard_normal(shape).astype(tensors.CARRIERS[element]) for shape, element in kinds]
    height, width = packed.image_shape
    arrays[3] = np.tile(np.asarray([height, width, 0, 0, height, width], arrays[3].dtype), (2 * packed.batch_size, 1))
    # Guidance 1: the step's direction is the UNet's own output. Random weights make positive and negative rows nearly equal, and
    # guidance 8 would show eight times the rounding of their difference, in torch as well (8e-3); it costs no time
    arrays[4], arrays[5] = np.asarray([1.0], np.float32), np.asarray([STEP], np.int64)
    return arrays


def torch_step(unet: Callable[..., Any], packed: Packed, arrays: Sequence[np.ndarray], device: str, dtype: torch.dtype,
               ) -> Callable[[], torch.Tensor]:
    """One step as StableDiffusionXLPipeline does it; latents stay float32, as in IREE's entry point. Waits for the device."""
    import torch

    latents, embeds, pooled, time_ids = (torch.from_numpy(array).to(device) for array in arrays[:4])
    embeds, pooled, time_ids = (part.to(dtype) for part in (embeds, pooled, time_ids))
    euler = scheduler(packed)
    guidance = float(arrays[4][0])
    timestep = euler.timesteps[STEP].to(device)

    def step() -> torch.Tensor:
        euler._step_index = STEP
        with torch.inference_mode():
            scaled = euler.scale_model_input(torch.cat([latents] * 2), timestep).to(dtype)
            noise = unet(scaled, timestep, encoder_hidden_states=embeds, added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids},
                         return_dict=False)[0]
            negative, positive = noise.float().chunk(2)
            result = euler.step(negative + guidance * (positive - negative), timestep, latents, return_dict=False)[0]
        if device != "cpu":
            torch.cuda.synchronize()
        return result  # type: ignore[no-any-return]

    return step


class IreeSteps:
    """The packed executables on one IREE device, with the weights of a torch UNet. One thread only: a CUDA context is its thread's."""

    def __init__(self, folder: Path, packed: Packed, unet: torch.nn.Module, arrays: Sequence[np.ndarray]) -> None:
        import iree.runtime as rt

        from scripts.first_contact_parts.opened import LOCAL, Opened

        device = Opened(LOCAL if packed.driver == LOCAL else f"{packed.driver}://0")
        self._weights = {f"unet.{name}": weight.detach().cpu().numpy() for name, weight in unet.state_dict().items()}
        index = rt.ParameterIndex()
        for name, array in self._weights.items():
            index.add_buffer(name, array)
        views = [device.to_device(array, tensors.of(kind)[1]) for array, kind in zip(arrays, packed.arguments, strict=True)]
        self.steps: dict[str, Callable[[], Any]] = {}
        self.load_seconds: dict[str, float] = {}
        self._device = device
        for variant in packed.variants:
            started = time.monotonic()
            parameters = rt.create_io_parameters_module(device.instance, index.create_provider(scope=SCOPE))
            file = folder / variant.executable
            loaded = device.load(file, parameters)
            self.steps[variant.name] = lambda loaded=loaded: loaded.call(ENTRY, views)[0]  # type: ignore[misc]
            self.steps[variant.name]()
            self.load_seconds[variant.name] = round(time.monotonic() - started, 2)

    def result(self, name: str) -> np.ndarray:
        """Next latents, float32."""
        return self._device.to_host(self.steps[name]())[0]


def relative_error(found: np.ndarray, expected: np.ndarray, latents: np.ndarray) -> float:
    """Of the step's direction, next latents less latents: the latents themselves would hide most of an error."""
    wanted = expected.astype(np.float64) - latents
    difference = float(np.linalg.norm(found - expected.astype(np.float64)) / np.linalg.norm(wanted))
    if not np.isfinite(difference):
        raise ConfigError("a step gave infinities or not-a-numbers, from the same weights and inputs for all; nothing to compare")
    return difference


def reference(unet: torch.nn.Module, packed: Packed, arrays: Sequence[np.ndarray], device: str) -> np.ndarray:
    """The step in float32 from the same (rounded) weights, no TF32."""
    import copy

    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch_step(copy.deepcopy(unet).float(), packed, arrays, device, torch.float32)().cpu().numpy()


def kernels(step: Callable[[], Any], runs: int = 3) -> list[dict[str, Any]]:
    """Every GPU kernel of a step, by name: launches and microseconds a step, longest first. Read from the driver's tracing through torch."""
    from torch.profiler import ProfilerActivity, profile

    step()
    with profile(activities=[ProfilerActivity.CUDA]) as traced:
        for _ in range(runs):
            step()
    rows = [{"kernel": row.key, "launches": row.count / runs, "us": round(row.self_device_time_total / runs, 1)}
            for row in traced.key_averages() if row.self_device_time_total > 0]
    return sorted(rows, key=lambda row: -row["us"])


def run(folder: Path, pairs: int, kernel_file: Path | None, without_compile: bool) -> dict[str, Any]:
    """All of it; the JSON object of the last line."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    packed = read(folder)
    device = "cuda" if packed.driver == "cuda" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"torch {torch.__version__} sees no CUDA device, and the archive is for {packed.target}; run it on such a machine")
    dtype = getattr(torch, packed.unet_dtype)
    unet, arrays = network(packed, device), inputs(packed)
    expected = reference(unet, packed, arrays, device)
    print(f"{sum(p.numel() for p in unet.parameters())} parameters, torch {torch.__version__} on "
          f"{torch.cuda.get_device_name() if device == 'cuda' else 'cpu'}", flush=True)
    iree = IreeSteps(folder, packed, unet, arrays)
    contestants: dict[str, Callable[[], Any]] = dict(iree.steps)
    contestants["eager"] = torch_step(unet, packed, arrays, device, dtype)
    errors = {name: relative_error(iree.result(name), expected, arrays[0]) for name in iree.steps}
    errors["eager"] = relative_error(contestants["eager"]().cpu().numpy(), expected, arrays[0])
    print(f"relative errors against float32 {errors}, loading {iree.load_seconds} s", flush=True)
    if not without_compile:
        started = time.monotonic()
        contestants["compile"] = torch_step(torch.compile(unet), packed, arrays, device, dtype)
        errors["compile"] = relative_error(contestants["compile"]().cpu().numpy(), expected, arrays[0])
        print(f"torch.compile {time.monotonic() - started:.1f} s", flush=True)
    times = bench_turns.measure(contestants, pairs)
    own = packed.variants[-1].name
    result = {"relative_error": errors, **bench_turns.ratios(times, own)}
    if kernel_file is not None:
        table = {name: kernels(contestants[name]) for name in contestants}
        document.write_text(kernel_file, json.dumps(table, indent=1) + "\n")
        result["kernel_ms"] = {name: round(sum(row["us"] for row in rows) / 1e3, 2) for name, rows in table.items()}
    return result | {
        "own": own, "pairs": pairs, "spread": {name: round(statistics.pstdev(kinds["wall"]) / statistics.fmean(kinds["wall"]), 4)
                                               for name, kinds in times.items()},
        "batch_size": packed.batch_size, "unet_dtype": packed.unet_dtype, "target": packed.target, "compiler": packed.compiler_version,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "torch": torch.__version__,
        "flags": {variant.name: list(variant.flags) for variant in packed.variants}}

"""Export: the same function as diffusers, float32 sums, and clear refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compile import compiler, target
from compile.flags import flags
from export import checkpoint_files, sdxl, torch_setup
from export.model_config import MODULES, ModelConfig
from tests import tiny_sdxl

torch_setup.prepare()
torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in tiny_sdxl.LIBRARY_WARNINGS]
STEPS, GUIDANCE = 20, 8.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sdxl.save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def exported_float16(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("float16")
    export(tiny_sdxl.config("float16", attention="explicit"), checkpoint, folder)
    return folder


def export(config: ModelConfig, checkpoint: Path | str, folder: Path, modules: tuple[str, ...] = MODULES) -> None:
    folder.mkdir(exist_ok=True)
    for module in modules:
        sdxl.export_module(config, module, str(checkpoint), folder)


def compiled(mlir: Path, name: str) -> Path:
    """The executable of one module for this machine."""
    task = compiler.Task(label=name, mlir=mlir, flags=tuple(flags(target.find("cpu"), None)), folder=mlir.parent / f"{name}-out",
                         name=name, log=mlir.with_suffix(".log"))
    assert len(list(compiler.compile_all([task], 1))) == 1
    return task.vmfb


def load(vmfb: Path, archive: Path | None) -> Any:
    """The module's functions, through iree.runtime and nothing of ours."""
    import iree.runtime as rt

    config = rt.Config("local-sync")
    modules = [rt.create_hal_module(config.vm_instance, config.device)]
    if archive is not None:
        index = rt.ParameterIndex()
        index.load(str(archive))
        modules.append(rt.create_io_parameters_module(config.vm_instance, index.create_provider(scope="model")))
    modules.append(rt.VmModule.copy_buffer(config.vm_instance, vmfb.read_bytes()))
    return rt.SystemContext(vm_modules=modules, config=config).modules[modules[-1].name]


def ids(length: int) -> list[np.ndarray]:
    """Two prompts of unlike lengths and the negative prompt, tokenizer 2 padding with 0: positive 1, 2, negative 1, 2."""
    draw = np.random.default_rng(0)
    columns = []
    for kind in range(2):
        for pad in (tiny_sdxl.END, 0):
            rows = np.full((2, length), pad, np.int64)
            for row, words in enumerate((length - 2, 7) if kind == 0 else (5, 5)):
                rows[row, 0], rows[row, words + 1] = tiny_sdxl.START, tiny_sdxl.END
                rows[row, 1:words + 1] = draw.integers(1, 90, words)
            columns.append(rows)
    return columns


def iree_images(folder: Path, config: ModelConfig, latents: np.ndarray) -> np.ndarray:
    """The whole chain as the runtime drives it: pixels [2, H, W, 3]."""
    clip, unet, vae = (load(compiled(folder / f"{m}_bs{config.batch_sizes[m][0]}.mlir", m), folder / f"{m}.irpa") for m in MODULES)
    embeds, pooled = clip["encode_prompts"](*ids(config.max_seq_len))
    state, time_ids = unet["run_initialize"](latents)
    for step in range(STEPS):
        state = unet["run_forward"](state, embeds, pooled, time_ids, np.asarray([GUIDANCE], np.float32), np.asarray([step]))
    decoded = [vae["decode"](row) for row in np.split(np.array(state.to_host()), 2)]
    return np.concatenate([array.to_host() for array in decoded]).view(np.uint8)  # to_host is a view of the device's memory


def diffusers_images(checkpoint: Path, length: int, latents: np.ndarray) -> np.ndarray:
    """StableDiffusionXLPipeline in float32, given the embeddings of the same ids: pixels [2, H, W, 3]."""
    from diffusers import StableDiffusionXLPipeline

    parts = StableDiffusionXLPipeline.from_pretrained(checkpoint, tokenizer=None, tokenizer_2=None, local_files_only=True,
                                                      add_watermarker=False)
    parts.set_progress_bar_config(disable=True)
    prompt_1, prompt_2, negative_1, negative_2 = (torch.from_numpy(column) for column in ids(length))

    def encode(first: Any, second: Any) -> tuple[Any, Any]:
        a, b = parts.text_encoder(first, output_hidden_states=True), parts.text_encoder_2(second, output_hidden_states=True)
        return torch.cat([a.hidden_states[-2], b.hidden_states[-2]], -1), b.text_embeds

    with torch.no_grad():
        (embeds, pooled), (negative, negative_pooled) = encode(prompt_1, prompt_2), encode(negative_1, negative_2)
        images = parts(prompt_embeds=embeds, pooled_prompt_embeds=pooled, negative_prompt_embeds=negative,
                       negative_pooled_prompt_embeds=negative_pooled, latents=torch.from_numpy(latents), output_type="np",
                       num_inference_steps=STEPS, guidance_scale=GUIDANCE, width=tiny_sdxl.WIDTH, height=tiny_sdxl.HEIGHT).images
    return (images * 255).round().astype(np.uint8)


def torch_images(folder: Path, config: ModelConfig, latents: np.ndarray) -> np.ndarray:
    """The modules that are exported, run by torch."""
    from export import checkpoint as checkpoints

    clip, unet, vae = (checkpoints.load(config, module, str(folder)) for module in MODULES)
    with torch.no_grad():
        embeds, pooled = clip.encode_prompts(*(torch.from_numpy(column) for column in ids(config.max_seq_len)))
        state, time_ids = unet.run_initialize(torch.from_numpy(latents))
        for step in range(STEPS):
            state = unet.run_forward(state, embeds, pooled, time_ids, torch.tensor([GUIDANCE]), torch.tensor([step]))
        return vae.decode(state).numpy()


def require_equal(found: np.ndarray, wanted: np.ndarray, limit: float) -> None:
    """The mean difference of uint8 pixels is at most `limit`."""
    assert found.shape == wanted.shape == (2, tiny_sdxl.HEIGHT, tiny_sdxl.WIDTH, 3) and found.dtype == np.uint8
    difference = np.abs(found.astype(int) - wanted.astype(int))
    assert wanted.std() > 5, "a flat picture would equal anything"
    assert np.abs(wanted[0].astype(int) - wanted[1].astype(int)).mean() > 5, "two samples that look alike would hide a swap"
    assert difference.mean() <= limit, f"mean difference {difference.mean():.3f}, largest {difference.max()}"


def shared_latents(config: ModelConfig) -> np.ndarray:
    return torch.randn((2, *config.latent_shape), generator=torch.Generator().manual_seed(0)).numpy()


@pytest.mark.parametrize(("dtype", "length", "attention", "limit"), [
    ("float32", 64, "fused", 0.01), ("float32", 77, "explicit", 0.01), ("float16", 64, "explicit", 1.0)])
def test_the_modules_equal_diffusers(checkpoint: Path, dtype: str, length: int, attention: str, limit: float) -> None:
    config = tiny_sdxl.config(dtype, length, attention=attention)
    latents = shared_latents(config)
    require_equal(torch_images(checkpoint, config, latents), diffusers_images(checkpoint, length, latents), limit)


@pytest.mark.parametrize(("dtype", "length", "limit"), [
    ("float32", 64, 0.5), pytest.param("float32", 77, 0.5, marks=pytest.mark.slow), pytest.param("float16", 64, 1.0, marks=pytest.mark.slow)])
def test_images_of_iree_equal_diffusers(checkpoint: Path, tmp_path: Path, dtype: str, length: int, limit: float) -> None:
    config = tiny_sdxl.config(dtype, length, attention="explicit")  # as the configs whose target is cpu
    latents = shared_latents(config)
    export(config, checkpoint, tmp_path / "export")
    require_equal(iree_images(tmp_path / "export", config, latents), diffusers_images(checkpoint, length, latents), limit)


def test_the_euler_step_is_diffusers_at_every_step() -> None:
    from diffusers import EulerDiscreteScheduler

    from export.sdxl_modules import ScheduledUnet

    class Noise(torch.nn.Module):
        """Noise that depends on all a UNet is given, unlike for negative and positive rows."""

        def forward(self, sample: Any, timestep: Any, **conditions: Any) -> tuple[Any]:
            added = conditions["added_cond_kwargs"]
            weight = conditions["encoder_hidden_states"].mean((1, 2)) + added["text_embeds"].mean(1) + added["time_ids"].mean(1) / 100
            return (torch.sin(3 * sample + timestep[:, None, None, None] / 300) * weight[:, None, None, None],)

    draw = torch.Generator().manual_seed(1)
    unit, embeds, pooled = (torch.randn(shape, generator=draw) for shape in ((2, 4, 6, 8), (4, 64, 8), (4, 8)))
    euler = EulerDiscreteScheduler(**tiny_sdxl.SCHEDULER)
    module = ScheduledUnet(Noise(), EulerDiscreteScheduler(**tiny_sdxl.SCHEDULER), STEPS, (48, 64), torch.float32)
    ours, time_ids = module.run_initialize(unit)
    assert time_ids.tolist() == [[48, 64, 0, 0, 48, 64]] * 4
    euler.set_timesteps(STEPS)
    theirs = unit * euler.init_noise_sigma
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    for index, timestep in enumerate(euler.timesteps):
        scaled = euler.scale_model_input(torch.cat([theirs] * 2), timestep)
        noise = Noise()(scaled, timestep.expand(4), encoder_hidden_states=embeds,
                        added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids})[0]
        negative, positive = noise.chunk(2)
        theirs = euler.step(negative + GUIDANCE * (positive - negative), timestep, theirs, return_dict=False)[0]
        ours = module.run_forward(ours, embeds, pooled, time_ids, torch.tensor([GUIDANCE]), torch.tensor([index]))
        assert torch.linalg.norm(ours - theirs) / torch.linalg.norm(theirs) < 1e-5, f"step {index}"


def group_norm_errors(tmp_path: Path, float32_sums: bool) -> tuple[float, str]:
    """Relative error, on this CPU, of float16 GroupNorm at SDXL's first block: 320 channels, 128 x 128, 163,840 a group."""
    from export.sdxl_modules import use_float32_norms

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.GroupNorm(32, 320)

        def main(self, x: Any) -> Any:
            return self.norm(x)

    x = torch.randn(1, 320, 128, 128, generator=torch.Generator().manual_seed(0)) + 1
    wanted = Block().norm(x).detach().numpy()
    block = Block().half().eval().requires_grad_(False)
    if float32_sums:
        use_float32_norms(block)
    mlir = tmp_path / f"norm{float32_sums}.mlir"
    sdxl.write_mlir(block, {"main": (x.half(),)}, "norm", mlir)
    result = load(compiled(mlir, f"norm{float32_sums}"), None)["main"](x.half().numpy())
    difference = np.asarray(result.to_host(), np.float32) - wanted
    return float(np.linalg.norm(difference) / np.linalg.norm(wanted)), mlir.read_text()


def test_group_norm_sums_in_float32_at_full_size(tmp_path: Path) -> None:
    error, mlir = group_norm_errors(tmp_path, True)
    assert error < 1e-3 and re.search(r"aten.group_norm .*\[1,320,128,128\],f32>", mlir)
    error, _ = group_norm_errors(tmp_path, False)
    assert not error < 0.1, "the defect this guards against is gone from IREE: the cast can go as well"


def test_no_norm_or_softmax_sums_in_float16(exported_float16: Path) -> None:
    for module, size in (("clip", 2), ("scheduled_unet", 2), ("vae", 1)):
        lines = [line for line in (exported_float16 / f"{module}_bs{size}.mlir").read_text().splitlines() if re.search(r"= torch\.aten\.\w*norm", line)]
        assert lines and not [line for line in lines if "f16" in line], module
    softmax = re.findall(r"softmax.*: (.*)", (exported_float16 / "scheduled_unet_bs2.mlir").read_text())
    assert softmax and not [types for types in softmax if "f16" in types.split("->")[0]]


def test_a_graph_without_weights_is_the_same_graph(checkpoint: Path, exported_float16: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_files, "ARCHITECTURES", checkpoint.parent)
    config = tiny_sdxl.config("float16", model=checkpoint.name, attention="explicit")
    export(config, "none", tmp_path / "without")
    for file in exported_float16.glob("*.mlir"):
        assert file.read_text() == (tmp_path / "without" / file.name).read_text()
    assert len(list((tmp_path / "without").iterdir())) == 3, "no archive"


def test_parameters_keep_their_state_dict_names(checkpoint: Path, exported_float16: Path) -> None:
    import iree.runtime as rt
    from safetensors import safe_open

    for module, component in (("scheduled_unet", "unet"), ("vae", "vae")):
        index = rt.ParameterIndex()
        index.load(str(exported_float16 / f"{module}.irpa"))
        with safe_open(checkpoint / component / "diffusion_pytorch_model.safetensors", "pt") as weights:
            names = {f"{component}.{name}" for name in weights.keys() if not name.startswith(("encoder.", "quant_conv."))}
        assert {key for key, _ in index.items()} == names


def test_an_export_does_not_grow_with_the_square_of_its_parameters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch.export.graph_signature import ExportGraphSignature

    made = ExportGraphSignature.inputs_to_parameters
    calls: list[int] = []
    monkeypatch.setattr(ExportGraphSignature, "inputs_to_parameters", property(lambda self: calls.append(1) or made.fget(self)))

    class Sum(torch.nn.Module):  # type: ignore[misc]
        own_functions = ("nothing",)

        def __init__(self) -> None:
            super().__init__()
            self.terms = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(25))

        def main(self, x: Any) -> Any:
            return sum(term(x) for term in self.terms)

        def nothing(self, x: Any) -> Any:
            return x + 1

    sdxl.write_mlir(Sum().eval().requires_grad_(False), {"main": (torch.ones(1, 2),), "nothing": (torch.ones(1, 2),)}, "sum", tmp_path / "sum.mlir")
    text = (tmp_path / "sum.mlir").read_text()
    assert "@main" in text and "@nothing" in text
    assert len(calls) < 50

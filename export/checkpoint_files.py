"""Which files an export reads, found and named without torch: a diffusers SDXL folder, or the configs that stand in for it."""

from __future__ import annotations

import json
from pathlib import Path

from export import quantization
from export.model_config import ModelConfig
from ireeperf.errors import MissingFileError

ARCHITECTURES = Path(__file__).resolve().parent / "architectures"
NO_CHECKPOINT = "none"
# per module of a ModelConfig: the folders of a diffusers checkpoint that it is made of
COMPONENTS = {"clip": ("text_encoder", "text_encoder_2"), "scheduled_unet": ("unet", "scheduler"), "vae": ("vae",)}
_DIFFUSERS, _TRANSFORMERS = "diffusion_pytorch_model", "model"
WEIGHTS = {"text_encoder": _TRANSFORMERS, "text_encoder_2": _TRANSFORMERS, "unet": _DIFFUSERS, "vae": _DIFFUSERS}


def folder_of(config: ModelConfig, checkpoint: str) -> Path:
    """The folder that holds the configs: the checkpoint's own, or this package's for `none`."""
    if checkpoint == NO_CHECKPOINT:
        folder = ARCHITECTURES / config.model
        if not folder.is_dir():
            known = ", ".join(sorted(p.name for p in ARCHITECTURES.iterdir()))
            raise MissingFileError(f"model {config.model!r} of the model JSON is not in export/architectures, which has {known}")
        return folder
    folder = Path(checkpoint)
    if not folder.is_dir():
        raise MissingFileError(f"checkpoint folder {folder} does not exist; give a folder in diffusers layout "
                               "(unet/, vae/, ...), or --checkpoint none for the graph without weights")
    return folder


def config_file(folder: Path, component: str) -> Path:
    """The JSON config of one component; MissingFileError when absent."""
    file = folder / component / ("scheduler_config.json" if component == "scheduler" else "config.json")
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; an SDXL folder in diffusers layout has it")
    return file


def weight_files(folder: Path, component: str, dtype: str) -> tuple[str | None, list[Path]]:
    """The variant to load (None or "fp16") and its files, sharded or whole; MissingFileError names what is absent."""
    stem = WEIGHTS[component]
    for variant in ("fp16", None) if dtype == "float16" else (None, "fp16"):
        infix = f".{variant}" if variant else ""
        whole = folder / component / f"{stem}{infix}.safetensors"
        index = folder / component / f"{stem}.safetensors.index{infix}.json"
        if whole.is_file():
            return variant, [whole]
        if index.is_file():
            parts = [index.parent / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
            if absent := [str(part) for part in parts if not part.is_file()]:
                raise MissingFileError(f"{', '.join(absent)} absent, which {index.name} names; fetch the checkpoint again")
            return variant, [index, *parts]
    raise MissingFileError(f"{folder / component / stem}.safetensors does not exist (nor its .fp16 variant); "
                           "fetch the checkpoint, or give --checkpoint none for the graph without weights")


def dtype_of(config: ModelConfig, component: str) -> str:
    """The dtype of a component's weights in the executable."""
    return {"unet": config.unet_dtype, "vae": config.vae_dtype}.get(component, config.clip_dtype)


def module_files(config: ModelConfig, module: str, checkpoint: str) -> list[Path]:
    """Every file that exporting `module` reads; MissingFileError names the first that is absent."""
    folder = folder_of(config, checkpoint)
    files = []
    for component in COMPONENTS[module]:
        files.append(config_file(folder, component))
        if checkpoint != NO_CHECKPOINT and component in WEIGHTS:
            files += weight_files(folder, component, dtype_of(config, component))[1]
    if (found := quantization_folder(config, checkpoint)) is not None:
        files += [file for file in quantization.files(found) if (file.name == quantization.VAE_TENSORS) == (module == "vae")
                  and module != "clip"]
    return files


def quantization_folder(config: ModelConfig, checkpoint: str) -> Path | None:
    """Where the ranges of a quantized UNet are, None without a checkpoint or a quantization; MissingFileError."""
    if config.quantization is None or checkpoint == NO_CHECKPOINT:
        return None
    return quantization.find(config.quantization, Path(checkpoint))

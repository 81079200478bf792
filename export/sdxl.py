"""Export SDXL to MLIR and parameter archives.

    python -m export.sdxl --model-json export/configs/sdxl_nano_bs2.json --checkpoint models/sdxl-nano --output DIR
    python -m export.sdxl --model-json export/configs/sdxl_fp16_bs2.json --checkpoint none --output DIR

Writes <module>_bs<N>.mlir for every module and batch size, and <module>.irpa (not with --checkpoint none).
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export import model_config, precision, torch_setup
from export.checkpoint_files import NO_CHECKPOINT, module_files
from export.model_config import MODULES, ModelConfig
from ireeperf.errors import ConfigError, ExportError, exit_code

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """The command line."""

    model_json: Path
    checkpoint: str
    output: Path
    module: tuple[str, ...]
    architecture: str


def parse(argv: Sequence[str] | None = None) -> ExportSettings:
    parser = argparse.ArgumentParser(prog="export.sdxl", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--model-json", type=Path, required=True, help="model config: export/configs/*.json")
    parser.add_argument("--checkpoint", required=True, help="folder in diffusers layout, or none: the graph without weights")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--module", action="append", choices=MODULES, help="only this module (repeatable; default all)")
    parser.add_argument("--architecture", default="host", help="gfx942, gfx950, ...: says which FP8 a quantized UNet computes in "
                        "(default %(default)s: what the model JSON says)")
    arguments = vars(parser.parse_args(argv))
    return ExportSettings(**arguments | {"module": tuple(arguments["module"] or MODULES)})


def example_arguments(config: ModelConfig, module: str, batch_size: int) -> dict[str, tuple[torch.Tensor, ...]]:
    """Per entry point of `module`: tensors of the shapes and dtypes it will be called with."""
    import torch

    if module == "clip":
        ids = torch.zeros(batch_size, config.max_seq_len, dtype=torch.int64)
        return {"encode_prompts": tuple(ids.clone() for _ in range(4))}
    latents = torch.zeros(batch_size, *config.latent_shape)
    return {"run_initialize": (latents,)} if module == "scheduled_unet" else {"decode": (latents,)}


def forward_arguments(config: ModelConfig, module: Any, batch_size: int) -> tuple[torch.Tensor, ...]:
    """Arguments of run_forward; the widths of the embeddings come from the UNet."""
    import torch

    unet = module.unet.config
    pooled = unet.projection_class_embeddings_input_dim - 6 * unet.addition_time_embed_dim
    rows, dtype = 2 * batch_size, module.dtype
    return (torch.zeros(batch_size, *config.latent_shape), torch.zeros(rows, config.max_seq_len, unet.cross_attention_dim, dtype=dtype),
            torch.zeros(rows, pooled, dtype=dtype), torch.zeros(rows, 6, dtype=dtype), torch.ones(1),
            torch.zeros(1, dtype=torch.int64))


def export_module(config: ModelConfig, module: str, checkpoint: str, output: Path, architecture: str = "host") -> list[Path]:
    """Write the MLIR of `module` at each of its batch sizes, and its archive; the files written."""
    from iree.turbine import aot

    from export import checkpoint as checkpoints  # torch

    built = checkpoints.load(config, module, checkpoint, precision.fp8_format(config, architecture))
    aot.externalize_module_parameters(built, external_scope="model")
    written = []
    for size in config.batch_sizes[module]:
        arguments = example_arguments(config, module, size)
        if module == "scheduled_unet":
            arguments["run_forward"] = forward_arguments(config, built, size)
        if set(arguments) != set(config.function_names[module]):
            raise ConfigError(f"function_names.{module} is {list(config.function_names[module])}; it exports {list(arguments)}")
        path = output / f"{module}_bs{size}.mlir"
        write_mlir(built, arguments, config.module_names[module], path)
        written.append(path)
    if checkpoint != NO_CHECKPOINT:
        written.append(output / f"{module}.irpa")
        partial = output / f".{module}.partial.irpa"
        aot.save_module_parameters(partial, built)
        partial.replace(written[-1])
    return written


def write_mlir(built: torch.nn.Module, arguments: dict[str, tuple[torch.Tensor, ...]], name: str, path: Path) -> None:
    """Trace each method of `built` named in `arguments` into one MLIR module that shares the parameters."""
    import torch
    from iree.turbine import aot

    from export import quantized_mlir

    programs, bare = aot.FxProgramsBuilder(built), copy.copy(built)
    bare._modules = {}
    for function, example in arguments.items():
        method = getattr(type(built), function)
        if function == "encode_prompts":
            # transformers installs its hidden-state hooks on the first call, under a lock that cannot be traced
            with torch.no_grad():
                method(built, *(ids[:1, :2] for ids in example))
        # What uses no submodule is traced without them: torch carries every parameter through each of its passes
        programs.root_module = bare if function in getattr(built, "own_functions", ()) else built
        try:
            with torch.no_grad():
                programs.export_program(method, args=example, name=function, strict=False)
        except Exception as error:  # torch.export raises whatever the traced code raises
            raise ExportError(f"{function} of {name} cannot be traced: {type(error).__name__}: {str(error)[:300]}") from error
    partial = path.with_name(f".{path.stem}.partial.mlir")
    aot.export(programs, module_name=name).save_mlir(partial)
    if quantized_mlir.has_operators(text := partial.read_text()):
        partial.write_text(quantized_mlir.lower(text))
    partial.replace(path)


def main() -> int:
    settings = parse()
    config = model_config.read(settings.model_json)
    for module in settings.module:
        module_files(config, module, settings.checkpoint)  # what is absent is said before torch is even imported
    print(f"export {settings.model_json} checkpoint {settings.checkpoint} modules {' '.join(settings.module)} "
          f"to {settings.output}", flush=True)
    torch_setup.prepare()
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {settings.output}: {error.strerror}; choose another --output") from error
    seconds, files = {}, []
    for module in settings.module:
        started = time.monotonic()
        try:
            files += export_module(config, module, settings.checkpoint, settings.output, settings.architecture)
        except OSError as error:
            raise ExportError(f"cannot write to {settings.output}: {error.strerror or error}; free the disk or choose another "
                              "--output") from error
        seconds[module] = round(time.monotonic() - started, 2)
        print(f"exported {module} at batch sizes {list(config.batch_sizes[module])}: {seconds[module]:.1f} s", flush=True)
    print(json.dumps({"files": [path.name for path in files], "seconds": seconds}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

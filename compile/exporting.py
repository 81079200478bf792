"""Exports from the cache; what is missing is made by `python -m export.sdxl` or `export.llm` in a process of its own, for it needs torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from compile.cache import ROOT, Cache
from compile.compiler import uninterrupted, with_group
from export import decoder_files
from export.checkpoint_files import NO_CHECKPOINT
from export.decoder_config import DecoderConfig
from export.export_key import export_key
from export.model_config import MODULES
from export.model_json import Model
from ireeperf.errors import ExportError


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One module: its MLIR per batch size and its parameter archive (None without a checkpoint)."""

    module: str
    module_name: str  # inside the executable
    entry_points: tuple[str, ...]
    key: str
    mlir: dict[int, Path]
    archive: Path | None


def export_all(config: Model, model_json: Path, checkpoint: str, cache: Cache, architecture: str = "host") -> list[Exported]:
    """Every module of `config`, exported now or taken from the cache. `architecture` says which FP8 a quantized model gets."""
    if isinstance(config, DecoderConfig):
        return [_decoder(config, model_json, checkpoint, cache)]
    keys = {module: export_key(config, module, checkpoint, cache.digest, architecture) for module in MODULES}
    folders = {module: cache.entry("export", keys[module]) for module in MODULES}
    missing = [module for module in MODULES if folders[module] is None]
    if missing:
        with cache.scratch() as scratch:
            run_exporter(model_json, checkpoint, scratch, missing, architecture)
            for module in missing:
                folders[module] = cache.add("export", keys[module], _part(scratch, module), module=module)
    found = []
    for module in MODULES:
        folder = folders[module]
        assert folder is not None
        mlir = {size: folder / f"{module}_bs{size}.mlir" for size in config.batch_sizes[module]}
        archive = None if checkpoint == NO_CHECKPOINT else folder / f"{module}.irpa"
        if absent := [str(file) for file in (*mlir.values(), archive) if file is not None and not file.is_file()]:
            raise ExportError(f"the exporter did not write {', '.join(absent)}; this is a bug in ireeperf")
        found.append(Exported(module=module, module_name=config.module_names[module], entry_points=config.function_names[module],
                              key=keys[module], mlir=mlir, archive=archive))
    return found


def _decoder(config: DecoderConfig, model_json: Path, checkpoint: str, cache: Cache) -> Exported:
    """The one module of a decoder, which has all of its batch sizes; it goes by the largest."""
    key, module = decoder_files.export_key(config, checkpoint, cache.digest), decoder_files.MODULE
    folder = cache.entry("export", key)
    if folder is None:
        with cache.scratch() as scratch:
            _run("export.llm", model_json, checkpoint, scratch)
            folder = cache.add("export", key, scratch, module=module)
    archive = None if checkpoint == NO_CHECKPOINT else folder / f"{module}.irpa"
    if absent := [str(file) for file in (folder / f"{module}.mlir", archive) if file is not None and not file.is_file()]:
        raise ExportError(f"the exporter did not write {', '.join(absent)}; this is a bug in ireeperf")
    return Exported(module=module, module_name=module, entry_points=decoder_files.entry_points(config), key=key,
                    mlir={config.decode_batch_sizes[-1]: folder / f"{module}.mlir"}, archive=archive)


def _part(scratch: Path, module: str) -> Path:
    """The files of one module in a folder of their own."""
    part = scratch / f"part-{module}"
    part.mkdir()
    for file in [*scratch.glob(f"{module}_bs*.mlir"), *scratch.glob(f"{module}.irpa")]:
        file.rename(part / file.name)
    return part


def run_exporter(model_json: Path, checkpoint: str, output: Path, modules: list[str], architecture: str) -> None:
    """Run the exporter of SDXL's modules, its lines passed through."""
    _run("export.sdxl", model_json, checkpoint, output, "--architecture", architecture, *(word for module in modules for word in ("--module", module)))


def _run(program: str, model_json: Path, checkpoint: str, output: Path, *words: str) -> None:
    place = checkpoint if checkpoint == NO_CHECKPOINT else str(Path(checkpoint).resolve())
    command = [sys.executable, "-m", program, "--model-json", str(model_json.resolve()), "--checkpoint", place, "--output", str(output), *words]
    process = None
    try:
        with uninterrupted():
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
                                       env=os.environ | {"PYTHONUNBUFFERED": "1"})
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if not line.startswith("{"):  # its own closing object: nothing that is not in the files
                    print(line, end="", flush=True)
        code = process.wait()
    except BaseException:
        if process is not None:
            with_group(process, signal.SIGKILL)
            process.wait()
        raise
    if code:
        raise ExportError(f"the exporter exited with code {code}; its error stands above; reproduce: {' '.join(command[1:])}")

#!/usr/bin/env python3
"""Compile a model for a target: exports if needed, compiles every module and batch size, writes one build folder.

    ./compile/precompile.py --model-json export/configs/sdxl_nano_bs2.json --checkpoint models/sdxl-nano
    ./compile/precompile.py --model-json export/configs/sdxl_fp16_bs32.json --checkpoint none --target gfx942

The build folder holds manifest.json, the executables (.vmfb), each with its command line, and the parameter archives
(.irpa). All work is kept in IREE_BUILD_DIR (default build/cache): a second run that changes nothing only looks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if not __package__:  # started as a file: compile/ must not shadow the standard library
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    if not (find_spec("iree") and find_spec("iree.compiler")):  # an interpreter without the compiler: that of ./scripts/setup
        python = Path(sys.path[0], ".venv/bin/python")
        if python.is_file() and Path(sys.prefix) != python.parents[1]:
            os.execv(python, [str(python), __file__, *sys.argv[1:]])
    _ENVIRONMENT = Path(sys.path[0], ".venv")
    if sys.prefix == sys.base_prefix and (_ENVIRONMENT / "bin/python").exists():  # typed as ./compile/precompile.py
        os.execv(_ENVIRONMENT / "bin/python", [str(_ENVIRONMENT / "bin/python"), *sys.argv])

from compile import compiler, exporting, manifest, target
from compile.cache import ROOT, Cache, build_root, key_of
from compile.exporting import Exported
from compile.flags import flags
from compile.manifest import Executable, Manifest, ParameterArchive, Spec
from compile.target import Target
from export import model_config
from export.model_config import ModelConfig
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError, PipelineError, exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileSettings:
    """The command line."""

    model_json: Path
    checkpoint: str | None
    td_spec: Path | None
    target: str | None
    output: Path | None
    jobs: int | None


def parse(argv: Sequence[str] | None = None) -> CompileSettings:
    parser = argparse.ArgumentParser(prog="compile/precompile.py", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--model-json", "--model_json", type=Path, required=True, help="model config: export/configs/*.json")
    parser.add_argument("--checkpoint", "--model_weights", metavar="DIR|none",
                        help="folder in diffusers layout; none: no weights (default models/<model of the JSON>)")
    parser.add_argument("--td-spec", "--td_spec", type=Path, help="transform-dialect tuning spec (.mlir)")
    parser.add_argument("--target", help=f"{', '.join(target.TARGETS)} (default: what the spec or the model JSON names)")
    parser.add_argument("--output", type=Path, help="build folder (default build/<model JSON>-<target>)")
    parser.add_argument("--jobs", type=int, help="compiles at a time (default: as many as cores and memory allow)")
    return CompileSettings(**vars(parser.parse_args(argv)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One executable to be: where its MLIR is, its flags, its key."""

    exported: Exported
    batch_size: int
    flags: tuple[str, ...]
    key: str

    def name(self, config: ModelConfig) -> str:
        return f"{config.module_names[self.exported.module]}_bs{self.batch_size}"


def checkpoint_of(settings: CompileSettings, config: ModelConfig) -> str:
    """As given, or models/<model>; MissingFileError when there is neither."""
    if settings.checkpoint:
        return settings.checkpoint
    folder = ROOT / "models" / config.model
    if not folder.is_dir():
        raise MissingFileError(f"no --checkpoint, and {folder} does not exist; give a folder in diffusers layout, "
                               "or --checkpoint none for executables without weights")
    return str(folder)


def units_of(config: ModelConfig, exported: Sequence[Exported], chosen: Target, spec: Path | None, cache: Cache) -> list[Unit]:
    """What there is to compile. A key changes with the MLIR, the flags, the spec's text, the compiler and, for `cpu`, the host."""
    chosen_flags = tuple(flags(chosen, spec))
    stated = [flag for flag in chosen_flags if spec is None or str(spec) not in flag]
    settings = {"flags": stated, "spec": cache.digest(spec) if spec else None, "compiler": compiler.compiler_version(),
                "host": host_cpu() if chosen.architecture == "host" else None}
    return [Unit(exported=one, batch_size=size, flags=chosen_flags,
                 key=key_of(settings | {"mlir": cache.digest(mlir), "name": config.module_names[one.module]}))
            for one in exported for size, mlir in one.mlir.items()]


def host_cpu() -> str:
    """What `host` stands for: model and instruction-set flags, for a build made elsewhere must not be taken for ours."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return " ".join(os.uname())
    return " ".join(line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "flags")))


def compile_units(config: ModelConfig, units: Sequence[Unit], cache: Cache, jobs: int) -> dict[str, float]:
    """Compile what the cache lacks, with a line a module; seconds per key compiled now."""
    missing = [unit for unit in units if cache.entry("executable", unit.key) is None]
    seconds: dict[str, float] = {}
    if not missing:
        return seconds
    print(f"compiling {len(missing)} of {len(units)} executables, {min(jobs, len(missing))} at a time", flush=True)
    with cache.scratch() as scratch:
        by_task = {compiler.Task(label=f"{unit.exported.module} bs{unit.batch_size}", mlir=unit.exported.mlir[unit.batch_size],
                                 flags=unit.flags, folder=scratch / unit.key, name=unit.name(config),
                                 log=cache.folder / "failed" / f"{unit.name(config)}-{unit.key[:8]}.log"): unit
                   for unit in missing}
        # longest first: the UNet decides when the last one ends
        tasks = sorted(by_task, key=lambda task: -task.mlir.stat().st_size)
        for done, (task, spent) in enumerate(compiler.compile_all(tasks, jobs), 1):
            unit = by_task[task]
            cache.add("executable", unit.key, task.folder, seconds=round(spent, 2), label=task.label)
            seconds[unit.key] = round(spent, 2)
            print(f"[{done}/{len(missing)}] {task.label}: {spent:.1f} s", flush=True)
    return seconds


def assemble(output: Path, record: dict[str, Any], units: Sequence[Unit], exported: Sequence[Exported], spec: Path | None,
             config: ModelConfig, cache: Cache, seconds: dict[str, float]) -> None:
    """Put the build into `output`. All of it is copied beside `output` first: on a full disk the old build is still whole."""
    staging = output.absolute().with_name(f".{output.absolute().name}.partial")
    executables, archives = [], []
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for unit in units:
            entry = cache.entry("executable", unit.key)
            assert entry is not None
            name, module = unit.name(config), unit.exported.module
            for file in (f"{name}.vmfb", f"{name}.command.sh"):
                shutil.copyfile(entry / file, staging / file)
            executables.append(Executable(
                module=module, module_name=config.module_names[module], entry_points=config.function_names[module],
                batch_size=unit.batch_size, path=f"{name}.vmfb", sha256=cache.digest(entry / f"{name}.vmfb"),
                command=f"{name}.command.sh", seconds=seconds.get(unit.key, 0.0)))
        for one in exported:
            if one.archive is not None:
                # a copy, never a link: who damages a build must not damage the cache
                shutil.copyfile(one.archive, staging / one.archive.name)
                archives.append(ParameterArchive(module=one.module, path=one.archive.name, sha256=cache.digest(one.archive),
                                                 bytes=one.archive.stat().st_size))
        if spec is not None:
            shutil.copyfile(spec, staging / spec.name)
        document.write(Manifest(executables=tuple(executables), parameter_archives=tuple(archives),
                                spec=Spec(path=spec.name, sha256=cache.digest(spec)) if spec else None, **record),
                       staging / manifest.NAME)
        move_in(staging, output)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or output}: {error.strerror}; free the disk or choose another --output") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for name in [executable.path for executable in executables] + [archive.path for archive in archives]:
        cache.digest(output / name)  # so that the next run need not read them


def move_in(staging: Path, output: Path) -> None:
    """Replace the files of `output` by those of `staging`, the manifest last: a folder with a manifest is whole."""
    output.mkdir(parents=True, exist_ok=True)
    (output / manifest.NAME).unlink(missing_ok=True)
    for file in sorted(staging.iterdir(), key=lambda path: path.name == manifest.NAME):
        file.replace(output / file.name)


def unchanged(output: Path, key: str, cache: Cache) -> bool:
    """Whether `output` already holds the build `key`, every file as the manifest says."""
    try:
        found = manifest.read(output)
        files = [(e.path, e.sha256) for e in found.executables] + [(a.path, a.sha256) for a in found.parameter_archives]
        return (found.key == key and all(cache.digest(output / path) == sha256 for path, sha256 in files) and
                all((output / executable.command).is_file() for executable in found.executables))
    except PipelineError:  # absent, damaged or of another release: made again
        return False


def build(settings: CompileSettings) -> tuple[Path, str, dict[str, Any]]:
    """Do what the command line asks: the build folder, its key, and figures of what was done."""
    config = model_config.read(settings.model_json)
    if settings.td_spec is not None and not settings.td_spec.is_file():
        raise MissingFileError(f"tuning spec {settings.td_spec} does not exist")
    if settings.jobs is not None and settings.jobs < 1:
        raise ConfigError(f"--jobs is {settings.jobs}; at least 1")
    spec = settings.td_spec.resolve() if settings.td_spec else None
    chosen = target.choose(settings.target, spec, config.target)
    checkpoint = checkpoint_of(settings, config)
    output = settings.output or build_root() / f"{settings.model_json.stem}-{chosen.name}"
    jobs = settings.jobs or compiler.default_jobs()
    cache = Cache()
    print(f"precompile {settings.model_json} checkpoint {checkpoint} target {chosen.name} ({chosen.driver}) spec {spec or 'none'} "
          f"compiler {compiler.compiler_version()} cache {cache.folder} output {output}", flush=True)
    if chosen.caveat and "float16" in (config.unet_dtype, config.clip_dtype, config.vae_dtype):
        print(f"caveat: {chosen.caveat}", flush=True)
    started = time.monotonic()
    exported = exporting.export_all(config, settings.model_json, checkpoint, cache, chosen.architecture)
    after_export = time.monotonic()
    units = units_of(config, exported, chosen, spec, cache)
    seconds = compile_units(config, units, cache, jobs)
    finished = time.monotonic()
    key = key_of({"executables": [unit.key for unit in units], "model": document.to_dict(config), "target": chosen.name,
                  "archives": [cache.digest(one.archive) for one in exported if one.archive]})
    figures = {"key": key, "target": chosen.name, "executables": len(units), "compiled": len(seconds), "unchanged": False}
    if unchanged(output, key, cache):
        cache.remember()
        return output, key, figures | {"unchanged": True}
    record = {"key": key, "created_utc": datetime.now(UTC).isoformat(timespec="seconds"), "model": config,
              "model_json": str(settings.model_json), "checkpoint": settings.checkpoint or f"models/{config.model}",
              "target": chosen.name, "driver": chosen.driver, "compiler_version": compiler.compiler_version(),
              "stage_seconds": {"export": round(after_export - started, 2), "compile": round(finished - after_export, 2)}}
    assemble(output, record, units, exported, spec, config, cache, seconds)
    cache.remember()
    return output, key, figures


def main() -> int:
    # an ended terminal or a `kill` cleans up as Ctrl-C does
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    settings = parse()
    started = time.monotonic()
    try:
        output, _, figures = build(settings)
    except OSError as error:
        raise ConfigError(f"{error.filename or 'the cache'}: {error.strerror}; free the disk, or set IREE_BUILD_DIR") from error
    print(json.dumps({"manifest": str(output / manifest.NAME), **figures, "seconds": round(time.monotonic() - started, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

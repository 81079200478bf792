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

from compile import compiler, dumps, exporting, manifest, memory_plan, target, tuning_spec, winograd
from compile.build_folder import Unit, assemble, unchanged
from compile.cache import ROOT, Cache, build_root, key_of
from compile.exporting import Exported
from compile.flags import flags
from compile.memory_plan import MemoryPlan
from compile.target import Target
from export import decoder_files, model_json
from export.model_json import Model
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError, exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileSettings:
    """The command line."""

    model_json: Path
    checkpoint: str | None
    td_spec: Path | None
    target: str | None
    output: Path | None
    jobs: int | None
    processes_per_partition: int


def parse(argv: Sequence[str] | None = None) -> CompileSettings:
    parser = argparse.ArgumentParser(prog="compile/precompile.py", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--model-json", "--model_json", type=Path, required=True, help="model config: export/configs/*.json")
    parser.add_argument("--checkpoint", "--model_weights", metavar="DIR|none",
                        help="folder in diffusers layout; none: no weights (default models/<model of the JSON>)")
    parser.add_argument("--td-spec", "--td_spec", type=Path, metavar="FILE|FOLDER|none",
                        help="tuning spec (.mlir) or folder of records (default specs/<target>/<model JSON> where it exists)")
    parser.add_argument("--target", help=f"{', '.join(target.TARGETS)} (default: what the spec or the model JSON names)")
    parser.add_argument("--output", type=Path, help="build folder (default build/<model JSON>-<target>)")
    parser.add_argument("--jobs", type=int, help="compiles at a time (default: as many as cores and memory allow)")
    parser.add_argument("--processes-per-partition", type=int, default=1, help="how many load the build on one partition: for the memory plan")
    return CompileSettings(**vars(parser.parse_args(argv)))


def checkpoint_of(settings: CompileSettings, config: Model) -> str:
    """As given, or models/<model>; MissingFileError when there is neither."""
    if settings.checkpoint:
        return settings.checkpoint
    folder = ROOT / "models" / config.model
    if not folder.is_dir():
        raise MissingFileError(f"no --checkpoint, and {folder} does not exist; give a folder in diffusers layout, "
                               "or --checkpoint none for executables without weights")
    return str(folder)


def units_of(exported: Sequence[Exported], chosen: Target, spec: Path | None, cache: Cache) -> list[Unit]:
    """What there is to compile. A key changes with the MLIR, the flags, the spec's text, the compiler and, for `cpu`, the host."""
    chosen_flags = tuple(flags(chosen, spec, decodes=exported[0].module == decoder_files.MODULE))
    stated = [flag for flag in chosen_flags if spec is None or str(spec) not in flag]
    settings = {"flags": stated, "spec": cache.digest(spec) if spec else None, "compiler": compiler.compiler_version(),
                "chip": chosen.chip.attribute if chosen.chip else None, "host": host_cpu() if chosen.architecture == "host" else None}
    units = []
    for one in exported:
        for size, mlir in one.mlir.items():
            rewrites = winograd.flags(chosen, mlir, cache)
            named = {"rewrites": [Path(flag).name for flag in rewrites]} if rewrites else {}  # of the spec its name, which its text decides
            key = key_of(settings | named | {"mlir": cache.digest(mlir), "name": one.module_name})
            units.append(Unit(exported=one, batch_size=size, flags=(*chosen_flags, *rewrites), chip=chosen.chip, key=key))
    return units


def host_cpu() -> str:
    """What `host` stands for: model and instruction-set flags, for a build made elsewhere must not be taken for ours."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return " ".join(os.uname())
    return " ".join(line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "flags")))


def compile_units(units: Sequence[Unit], cache: Cache, jobs: int) -> dict[str, float]:
    """Compile what the cache lacks, with a line a module; seconds per key compiled now."""
    missing = [unit for unit in units if cache.entry("executable", unit.key) is None]
    seconds: dict[str, float] = {}
    if not missing:
        return seconds
    print(f"compiling {len(missing)} of {len(units)} executables, {min(jobs, len(missing))} at a time", flush=True)
    with cache.scratch() as scratch:
        by_task = {compiler.Task(label=f"{unit.exported.module} bs{unit.batch_size}", mlir=unit.exported.mlir[unit.batch_size],
                                 flags=unit.flags, folder=scratch / unit.key, name=unit.name,
                                 log=cache.folder / "failed" / f"{unit.name}-{unit.key[:8]}.log", chip=unit.chip, dispatches=True): unit
                   for unit in missing}
        # longest first: the UNet decides when the last one ends
        tasks = sorted(by_task, key=lambda task: -task.mlir.stat().st_size)
        for done, (task, spent) in enumerate(compiler.compile_all(tasks, jobs), 1):
            unit = by_task[task]
            cache.add("executable", unit.key, task.folder, seconds=round(spent, 2), label=task.label)
            seconds[unit.key] = round(spent, 2)
            print(f"[{done}/{len(missing)}] {task.label}: {spent:.1f} s", flush=True)
    return seconds


def plan_of(settings: CompileSettings, chosen: Target, units: Sequence[Unit], cache: Cache, key: str) -> MemoryPlan:
    """What the build takes of one partition; ConfigError with the numbers when it cannot fit."""
    resident = []
    for unit in units:
        entry = cache.entry("executable", unit.key)
        assert entry is not None
        resident.append(memory_plan.resident(unit.exported.module, unit.batch_size, mlir=unit.exported.mlir[unit.batch_size],
                                             archive=unit.exported.archive, dispatches=entry / f"{unit.name}{dumps.SUFFIX}"))
    return memory_plan.plan(chosen.name, resident, key=key, processes_per_partition=settings.processes_per_partition)


def build(settings: CompileSettings) -> tuple[Path, str, dict[str, Any]]:
    """Do what the command line asks: the build folder, its key, and figures of what was done."""
    config = model_json.read(settings.model_json)
    if settings.jobs is not None and settings.jobs < 1:
        raise ConfigError(f"--jobs is {settings.jobs}; at least 1")
    cache = Cache()
    chosen, spec = tuning_spec.choose(settings.td_spec, settings.target, config.target, settings.model_json.stem, cache)
    checkpoint = checkpoint_of(settings, config)
    output = settings.output or build_root() / f"{settings.model_json.stem}-{chosen.name}"
    jobs = settings.jobs or compiler.default_jobs()
    print(f"precompile {settings.model_json} checkpoint {checkpoint} target {chosen.name} ({chosen.driver}) spec {spec.path if spec else 'none'} "
          f"compiler {compiler.compiler_version()} cache {cache.folder} output {output}", flush=True)
    if chosen.caveat and "float16" in model_json.dtypes(config):
        print(f"caveat: {chosen.caveat}", flush=True)
    started = time.monotonic()
    exported = exporting.export_all(config, settings.model_json, checkpoint, cache, chosen.architecture)
    after_export = time.monotonic()
    units = units_of(exported, chosen, spec.path if spec else None, cache)
    seconds = compile_units(units, cache, jobs)
    finished = time.monotonic()
    key = key_of({"executables": [unit.key for unit in units], "model": document.to_dict(config), "target": chosen.name,
                  "archives": [cache.digest(one.archive) for one in exported if one.archive]})
    figures = {"key": key, "target": chosen.name, "executables": len(units), "compiled": len(seconds), "unchanged": False}
    plan = plan_of(settings, chosen, units, cache, key)
    print(plan.line(), flush=True)
    if unchanged(output, key, cache):
        if memory_plan.read(output) != plan:  # the same executables for another number of processes
            memory_plan.write(plan, output)
        cache.remember()
        return output, key, figures | {"unchanged": True}
    record = {"key": key, "created_utc": datetime.now(UTC).isoformat(timespec="seconds"), "model": config,
              "model_json": str(settings.model_json), "checkpoint": settings.checkpoint or f"models/{config.model}",
              "target": chosen.name, "driver": chosen.driver, "compiler_version": compiler.compiler_version(),
              "stage_seconds": {"export": round(after_export - started, 2), "compile": round(finished - after_export, 2)}}
    assemble(output, record, units, exported, spec, plan, cache, seconds)
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

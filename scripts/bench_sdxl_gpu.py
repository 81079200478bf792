"""One UNet step of SDXL on a GPU: IREE, without and with a tuning spec, against diffusers eager and torch.compile.

    ./scripts/bench sdxl-gpu pack --wheels DIR --output sdxl_gpu.tar.gz [--td-spec SPEC]      # here, with the compiler
    tar xf sdxl_gpu.tar.gz && ./sdxl_gpu/bench --pairs 21 --kernels kernels.json              # on the machine: torch, no compiler

Weights are random from a fixed seed and made there: speed does not depend on their values. docs/CUDA.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError
from scripts.bench_sdxl_gpu_packed import DEFAULT, ENTRY, NAME, SCOPE, TUNED, Packed, Variant

ROOT = Path(__file__).resolve().parents[1]
TOP = "sdxl_gpu"  # folder in the archive
CARRIED = ("scripts/bench", "scripts/bench_sdxl_gpu.py", "scripts/bench_sdxl_gpu_packed.py", "scripts/bench_sdxl_gpu_run.py", "scripts/bench_turns.py",
           "scripts/first_contact_parts/__init__.py", "scripts/first_contact_parts/opened.py", "scripts/first_contact_parts/tensors.py",
           "scripts/first_contact_parts/contents.py", "scripts/first_contact_parts/wheels.py",
           "ireeperf/__init__.py", "ireeperf/errors.py", "ireeperf/document.py")
WHEELS = {"diffusers": "diffusers", "importlib_metadata": "importlib_metadata", "zipp": "zipp"}  # beside those of first_contact


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSettings:
    """The command line of pack."""

    model_json: Path
    batch_size: int
    target: str
    td_spec: Path | None
    flag: tuple[str, ...]
    executable: tuple[str, ...]
    wheels: Path | None
    output: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The command line on the machine."""

    packed: Path
    pairs: int
    kernels: Path | None
    without_compile: bool


def parse(argv: Sequence[str] | None = None) -> PackSettings | RunSettings:
    parser = argparse.ArgumentParser(prog="scripts/bench sdxl-gpu", allow_abbrev=False, description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", allow_abbrev=False, help="here: make the archive")
    pack.add_argument("--model-json", type=Path, default=Path("export/configs/sdxl_fp16_bs2.json"), help="(default %(default)s)")
    pack.add_argument("--batch-size", type=int, default=1, help="samples a step; the UNet sees twice as many (default %(default)s)")
    pack.add_argument("--target", default="sm_80", help="(default %(default)s; IREE 3.13 has none for Hopper, which runs this one's PTX)")
    pack.add_argument("--td-spec", type=Path, help="tuning spec of a second executable, which is set beside the default")
    pack.add_argument("--flag", action="append", default=[], help="one more compiler flag, for experiments (repeatable)")
    pack.add_argument("--executable", action="append", default=[], metavar="NAME=FILE",
                      help="take these, of precompile's build folders and of this step, and compile none (repeatable, the default first)")
    pack.add_argument("--wheels", type=Path, help="folder with wheels of iree-base-runtime and diffusers for the machine's Python")
    pack.add_argument("--output", type=Path, default=Path("sdxl_gpu.tar.gz"), help="(default %(default)s)")
    run = commands.add_parser("run", allow_abbrev=False, help="on the machine")
    run.add_argument("--packed", type=Path, required=True, help="the unpacked archive's folder")
    run.add_argument("--pairs", type=int, default=21, help="rounds in which each contestant runs once (default %(default)s)")
    run.add_argument("--kernels", type=Path, help="write every contestant's GPU kernels with their times to this file")
    run.add_argument("--without-compile", action="store_true", help="leave torch.compile out")
    arguments = vars(parser.parse_args(argv))
    if arguments.pop("command") == "run":
        return RunSettings(**arguments)
    return PackSettings(**arguments | {name: tuple(arguments[name]) for name in ("flag", "executable")})


def pack(settings: PackSettings) -> Packed:
    """Export and compile the step, then write the archive, whole or not at all."""
    from compile import compiler, cuda_layout, dispatch_ir, dumps, target
    from compile.flags import flags

    if settings.wheels is not None and not list(settings.wheels.glob("*.whl")):
        raise MissingFileError(f"{settings.wheels} holds no wheel; fill it with pip download, or leave --wheels out")
    chosen, given = target.choose(settings.target, settings.td_spec, None), given_executables(settings)
    with tempfile.TemporaryDirectory(prefix="bench-sdxl-gpu-") as name:
        folder = Path(name) / TOP
        folder.mkdir()
        mlir = Path(name) / "step.mlir"
        packed = _described(settings, None if given else mlir, chosen.name, chosen.driver)
        variants = {}
        for label, file in given.items():
            shutil.copyfile(file, folder / f"{label}.vmfb")
            variants[label] = Variant(name=label, executable=f"{label}.vmfb", flags=(f"of {file.name}",), sha256=document.digest(file))
        specs = {} if given else {DEFAULT: None} | ({TUNED: settings.td_spec.resolve()} if settings.td_spec else {})
        tasks = [compiler.Task(label=label, mlir=mlir, flags=(*flags(chosen, spec), *settings.flag), folder=Path(name) / label, name=label,
                               log=Path(name) / f"{label}.log", dispatches=True) for label, spec in specs.items()]
        for task, seconds in compiler.compile_all(tasks, compiler.default_jobs()):
            print(f"  {task.label}: {seconds:.1f} s, {' '.join(task.flags)}", flush=True)
            cuda_layout.refuse(dispatch_ir.dispatches(task.folder / f"{task.name}{dumps.SUFFIX}"))
            shutil.copyfile(task.vmfb, folder / task.vmfb.name)
            variants[task.label] = Variant(name=task.label, executable=task.vmfb.name, flags=task.flags, sha256=document.digest(task.vmfb))
        packed = replace(packed, variants=tuple(variants[label] for label in (*given, *specs)))
        document.write(packed, folder / NAME)
        _carry(folder, packed.model, settings.wheels)
        partial = Path(name) / "archive.tar.gz"
        with tarfile.open(partial, "w:gz") as archive:
            archive.add(folder, TOP)
        shutil.move(partial, settings.output)
    return packed


def given_executables(settings: PackSettings) -> dict[str, Path]:
    """Names and files of --executable; MissingFileError or ConfigError when one is not there or has no name."""
    found = {}
    for text in settings.executable:
        name, equals, file = text.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"--executable {text}: expected NAME=FILE, the name in letters and digits")
        if not Path(file).is_file():
            raise MissingFileError(f"--executable {name}: {file} does not exist; give the .vmfb of a build folder")
        found[name] = Path(file)
    if found and (settings.td_spec or settings.flag):
        raise ConfigError("--executable takes what is compiled; --td-spec and --flag are for compiling")
    return found


def _described(settings: PackSettings, mlir: Path | None, target: str, driver: str) -> Packed:
    """What the archive says of the step, but for the executables; its graph is written to `mlir`."""
    from export import checkpoint, model_config, sdxl, torch_setup
    from export.checkpoint_files import NO_CHECKPOINT

    torch_setup.prepare()
    from iree.turbine import aot

    from compile import compiler

    config = model_config.read(settings.model_json)
    built: Any = checkpoint.load(config, "scheduled_unet", NO_CHECKPOINT)
    arguments = sdxl.forward_arguments(config, built, settings.batch_size)
    if mlir is not None:
        aot.externalize_module_parameters(built, external_scope=SCOPE)
        sdxl.write_mlir(built, {ENTRY: arguments}, "compiled_spunet", mlir)
    elements = {"torch.float32": "f32", "torch.float16": "f16", "torch.int64": "i64"}
    kinds = tuple("tensor<" + "".join(f"{side}x" for side in a.shape) + elements[str(a.dtype)] + ">" for a in arguments)
    return Packed(
        model=config.model, target=target, driver=driver, compiler_version=compiler.compiler_version(), batch_size=settings.batch_size,
        unet_dtype=config.unet_dtype, num_inference_steps=config.num_inference_steps,
        image_shape=(config.image_shape[0], config.image_shape[1]), arguments=kinds, variants=())


def _carry(folder: Path, model: str, wheels: Path | None) -> None:
    """The code that runs there, the network's configs, the one command and the wheels."""
    configs = [f"export/architectures/{model}/{part}" for part in ("unet/config.json", "scheduler/scheduler_config.json")]
    for name in (*CARRIED, *configs):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "bench").write_text('#!/bin/sh\n# The one command. It takes the options of `scripts/bench sdxl-gpu run`.\n'
                                  'here=$(cd "$(dirname "$0")" && pwd)\n'
                                  'exec python3 "$here/scripts/bench" sdxl-gpu run --packed "$here" "$@"\n')
    (folder / "bench").chmod(0o755)
    if wheels is not None:
        (folder / "wheels").mkdir()
        for wheel in sorted(wheels.glob("*.whl")):
            shutil.copy(wheel, folder / "wheels" / wheel.name)


def run(settings: RunSettings) -> dict[str, Any]:
    """On the machine: wheels first, for the rest imports them."""
    import sys

    from scripts.first_contact_parts import wheels

    if settings.pairs < 3:
        raise ConfigError(f"--pairs is {settings.pairs}; at least 3, for quartiles")
    site = settings.packed / "site"
    used = wheels.unpack(settings.packed / "wheels", site, WHEELS)
    sys.path.insert(0, str(site))
    from scripts import bench_sdxl_gpu_run

    print(f"wheels {used or 'none'}", flush=True)
    return bench_sdxl_gpu_run.run(settings.packed, settings.pairs, settings.kernels, settings.without_compile)


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    print(f"bench sdxl-gpu: {settings}", flush=True)
    if isinstance(settings, RunSettings):
        print(json.dumps(run(settings)))
        return 0
    packed = pack(settings)
    print(json.dumps({"archive": str(settings.output), "bytes": settings.output.stat().st_size, "target": packed.target,
                      "variants": [variant.name for variant in packed.variants]}))
    return 0

#!/usr/bin/env python3
"""shortfin 3.9 (AMD's shark-ai) against our device pool: the nano model on the CPU, contestants taking turns in one run.

    python3.11 -m venv build/shark-venv
    build/shark-venv/bin/pip install --no-deps --require-hashes -r requirements/shark.txt
    ./scripts/shark_side_by_side.py --build build/sdxl_nano_fp32_bs2-cpu --samples build/samples/sdxl-nano-64.npz

Every contestant is a process that stays up (scripts/shark_contestant.py). A round asks each in turn for the same samples, in
an order that rotates. The build's MLIR is compiled once more with the compiler of shortfin's version. docs/SHARK.md has the
figures. The last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    _OURS = Path(sys.path[0], ".venv")
    if Path(sys.prefix) != _OURS and (_OURS / "bin/python").exists():
        os.execv(_OURS / "bin/python", [str(_OURS / "bin/python"), *sys.argv])

import numpy as np

from compile import manifest as manifests
from compile.manifest import Manifest
from export.model_config import MODULES
from ireeperf import samples as sample_sets
from ireeperf.errors import CompileError, ConfigError, MissingFileError, exit_code
from scripts.shark_contestant import Contest, Running

ROOT: Final = Path(__file__).resolve().parents[1]
REFERENCE: Final = "pool"  # ratios are in units of this contestant, pictures are compared with its
# shortfin -> our pool with the same executables and as many threads: what is left is the runtime
TWINS: Final = {"shortfin_1_worker": "pool_iree39_1_device", "shortfin_2_workers": "pool_iree39"}
# Without this pass the convolutions of shortfin 3.9's compiler take four times as long (docs/SHARK.md)
IMG2COL: Final = "iree-preprocessing-convert-conv2d-to-img2col"
SHARK_SETUP: Final = ("python3.11 -m venv build/shark-venv && "
                      "build/shark-venv/bin/pip install --no-deps --require-hashes -r requirements/shark.txt")
_ATTENTION: Final = re.compile(
    r"^(?P<indent>\s*)(?P<head>%\S+ = torch\.aten\.scaled_dot_product_attention (?:%\S+, ){6})"
    r"(?P<scale>%[^\s,]+), (?P<last>%\S+) : "
    r"(?P<types>!torch\.vtensor<\[[\d,]*?(?P<width>\d+)\],.*), !torch\.float, !torch\.bool -> (?P<result>.*)$")
_FLOAT: Final = re.compile(r"^\s*(%\S+) = torch\.constant\.float (\S+)$")
_PUBLIC: Final = "attributes {torch.assume_strict_symbolic_shapes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSettings:
    """The command line."""

    build: Path
    samples: Path
    shark: Path
    work: Path
    rounds: int
    sample_count: int
    same_flags: bool
    only: tuple[str, ...]
    timeout: float


def parse(argv: Sequence[str] | None = None) -> SideSettings:
    parser = argparse.ArgumentParser(prog="scripts/shark_side_by_side.py", allow_abbrev=False,
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build/sdxl_nano_fp32_bs2-cpu",
                        help="build for cpu (default %(default)s)")
    parser.add_argument("--samples", type=Path, default=ROOT / "build/samples/sdxl-nano-64.npz",
                        help="sample set (default %(default)s)")
    parser.add_argument("--shark", type=Path, default=ROOT / "build/shark-venv",
                        help="environment of requirements/shark.txt (default %(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "build/shark",
                        help="where its executables go (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=8,
                        help="times that each contestant draws, other samples each time (default %(default)s)")
    parser.add_argument("--sample-count", type=int, default=4, help="samples a round (default %(default)s)")
    parser.add_argument("--same-flags", action="store_true",
                        help="compile for shortfin with the build's flags only (slow convolutions)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help=f"a contestant beside {REFERENCE} (repeatable; default all)")
    parser.add_argument("--timeout", type=float, default=600.0,
                        help="seconds for one answer of a contestant (default %(default)g)")
    arguments = vars(parser.parse_args(argv))
    settings = SideSettings(**arguments | {"only": tuple(arguments["only"])})
    if settings.rounds < 1 or settings.sample_count < 1:
        raise ConfigError(f"--rounds {settings.rounds} and --sample-count {settings.sample_count} must be at least 1")
    return settings


def for_compiler_39(mlir: str) -> str:
    """Our MLIR as compiler 3.9.0 and shortfin take it; the same arithmetic. CompileError when a scale is not the default.

    An explicit attention scale is refused there ("explicitly marked illegal") even where it is the default, so that
    becomes none. shortfin calls an $async entry point only when its reflection says coarse-fences, which our flags leave in
    neither compiler's output.
    """
    constants: dict[str, str] = {}  # as of the line that is read: names are those of a function
    lines = []
    for number, line in enumerate(mlir.split("\n")):
        if constant := _FLOAT.match(line):
            constants[constant[1]] = constant[2]
        if match := _ATTENTION.match(line):
            scale, default = float(constants[match["scale"]]), int(match["width"]) ** -0.5
            if not math.isclose(scale, default, rel_tol=1e-6):
                raise CompileError(f"attention scale {scale} is not the default {default}; compiler 3.9.0 takes no other")
            lines.append(f"{match['indent']}%default_scale_{number} = torch.constant.none")
            lines.append(f"{match['indent']}{match['head']}%default_scale_{number}, {match['last']} : {match['types']}, "
                         f"!torch.none, !torch.bool -> {match['result']}")
        else:
            lines.append(line)
    return "\n".join(lines).replace(
        _PUBLIC, 'attributes {torch.assume_strict_symbolic_shapes, iree.reflection = {iree.abi.model = "coarse-fences"}}')


def compile_command(command: str, program: Path, source: Path, output: Path, same_flags: bool) -> list[str]:
    """The command line of one of the build's executables with another compiler, source and output."""
    words = shlex.split(command.splitlines()[-1])
    flags = [word for word in words[2:words.index("-o")] if word.startswith("--")]
    if not same_flags:
        flags = [flag.replace("-to-channels-last)", f"-to-channels-last,{IMG2COL})") for flag in flags]
    return [str(program), str(source), *flags, "-o", str(output)]


def compile_for_shark(settings: SideSettings, manifest: Manifest, size: int) -> dict[str, str]:
    """Module -> .vmfb of shortfin's compiler. What lies there from the same command and source is kept."""
    settings.work.mkdir(parents=True, exist_ok=True)
    print(f"compiling with {settings.shark}/bin/iree-compile what {settings.work} does not hold", flush=True)
    made = {}
    for module in MODULES:
        command = (settings.build / manifest.executable(module, size).command).read_text()
        mlir = Path(shlex.split(command.splitlines()[-1])[1])
        if not mlir.is_file():
            raise MissingFileError(f"{mlir}, of which the build was made, is gone; delete {settings.build} and "
                                   "compile again with ./compile/precompile.py")
        source, output = settings.work / f"{module}_bs{size}.mlir", settings.work / f"{module}_bs{size}.vmfb"
        argv = compile_command(command, settings.shark / "bin/iree-compile", source, output, settings.same_flags)
        paper = settings.work / f"{module}_bs{size}.command.sh"
        text = for_compiler_39(mlir.read_text())
        kept = output.is_file() and paper.is_file() and source.is_file()
        if not (kept and paper.read_text() == shlex.join(argv) and source.read_text() == text):
            output.unlink(missing_ok=True)
            source.write_text(text)
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode or not output.is_file():
                raise CompileError(f"{shlex.join(argv)} ended with {done.returncode}: {done.stderr[:600]}")
            paper.write_text(shlex.join(argv))
        made[module] = str(output.resolve())
    return made


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def contests(settings: SideSettings, manifest: Manifest, size: int,
             shark: dict[str, str]) -> dict[str, tuple[Path, Contest]]:
    """Name -> (interpreter, contest). The reference comes first."""
    ours = {module: str((settings.build / manifest.executable(module, size).path).resolve()) for module in shark}
    cores = _cores()
    same = {"build": str(settings.build.resolve()), "samples": str(settings.samples.resolve()), "batch_size": size}
    here, there = Path(sys.executable), settings.shark / "bin/python"
    several: dict[str, Any] = {"workers": cores, "driver": "local-sync", "threads": 1}
    one: dict[str, Any] = {"workers": 1, "driver": "local-task", "threads": cores}
    theirs: dict[str, Any] = {"executables": shark, "reflection": False}
    return {
        REFERENCE: (here, Contest(kind="pool", executables=ours, **several, **same)),
        "pool_1_device": (here, Contest(kind="pool", executables=ours, **one, **same)),
        "pool_iree39": (there, Contest(kind="pool", **theirs, **several, **same)),
        "pool_iree39_1_device": (there, Contest(kind="pool", **theirs, **one, **same)),
        "shortfin_1_worker": (there, Contest(kind="shortfin", executables=shark, workers=1, **same)),
        "shortfin_2_workers": (there, Contest(kind="shortfin", executables=shark, workers=2, **same)),
    }


Times = Mapping[str, Sequence[Mapping[str, float]]]


def ratios(times: Times, mine: str, theirs: str) -> dict[str, Any]:
    """What `mine` takes in units of `theirs`, median and range over the rounds (above 1: it takes more)."""
    found: dict[str, Any] = {}
    for kind in ("wall", "cpu"):
        paired = [a[kind] / b[kind] for a, b in zip(times[mine], times[theirs], strict=True)]
        found[f"{kind}_ratio"] = round(statistics.median(paired), 3)
        found[f"{kind}_ratio_range"] = [round(min(paired), 3), round(max(paired), 3)]
    return found


def summary(times: Times, count: int, differences: Mapping[str, float]) -> dict[str, Any]:
    """Per contestant: median seconds an image, ratios to the reference, and shortfin's to our pool on its executables."""
    found: dict[str, Any] = {}
    for name, rounds in times.items():
        medians = {f"{kind}_s_per_image": round(statistics.median(each[kind] for each in rounds) / count, 4)
                   for kind in ("wall", "cpu")}
        found[name] = {"rounds": len(rounds), **medians, **ratios(times, name, REFERENCE),
                       "mean_uint8_difference": round(differences[name], 4)}
        if TWINS.get(name) in times:
            found[name]["same_executables"] = {"pool": TWINS[name], **ratios(times, name, TWINS[name])}
    return found


def measure(running: Sequence[Running], settings: SideSettings) -> tuple[Times, dict[str, float]]:
    """Rounds of every contestant, in an order that rotates; the mean uint8 difference of its pictures to the reference's."""
    pictures: dict[str, list[np.ndarray]] = {each.name: [] for each in running}
    times: dict[str, list[dict[str, float]]] = {each.name: [] for each in running}
    for number in range(settings.rounds):
        turn = number % len(running)
        rows = list(range(number * settings.sample_count, (number + 1) * settings.sample_count))
        for each in [*running[turn:], *running[:turn]]:
            answer = each.draw(rows, images := settings.work / f"{each.name}.npy")
            pictures[each.name].append(np.load(images).astype(np.int16))
            times[each.name].append(answer)
            print(f"round {number + 1}: {each.name}: {answer['wall']:.2f} s, CPU {answer['cpu']:.2f} s", flush=True)
    drawn = {name: np.concatenate(found) for name, found in pictures.items()}
    return times, {name: float(np.abs(found - drawn[REFERENCE]).mean()) for name, found in drawn.items()}


def check(settings: SideSettings, manifest: Manifest, size: int) -> None:
    """ConfigError or MissingFileError unless the contest can be held on this build at batch size `size`."""
    if manifest.target != "cpu" or manifest.images.vae_batch_size(size) != size:
        raise ConfigError(f"{settings.build} is for {manifest.target}, its VAE draws "
                          f"{manifest.images.vae_batch_size(size)} of {size} samples at a time; give --build a build for cpu "
                          "whose VAE draws all of a batch")
    if settings.sample_count % size:
        raise ConfigError(f"--sample-count {settings.sample_count} is not a multiple of the batch size {size}")
    found = len(sample_sets.read(settings.samples))
    if settings.rounds * settings.sample_count > found:
        raise ConfigError(f"{settings.rounds} rounds of {settings.sample_count} samples are more than the {found} "
                          f"of {settings.samples}; lower one of them")
    if any(manifest.archive(module) is None for module in MODULES):
        raise ConfigError(f"{settings.build} has no weights; compile with --checkpoint FOLDER")


def run(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    for path in (settings.shark / "bin/python", settings.shark / "bin/iree-compile"):
        if not path.exists():
            raise MissingFileError(f"{path} does not exist; make the environment: {SHARK_SETUP}")
    manifest = manifests.read(settings.build)
    check(settings, manifest, size := min(manifest.images.sample_batch_sizes))
    load = os.getloadavg()[0]
    print(f"side by side: {manifest.model_json} bs{size}, {settings.sample_count} samples, {settings.rounds} rounds, "
          f"{_cores()} cores, load {load:.1f}", flush=True)
    shark = compile_for_shark(settings, manifest, size)
    everyone = contests(settings, manifest, size, shark)
    if unknown := set(settings.only) - set(everyone):
        raise ConfigError(f"--only {', '.join(sorted(unknown))}: there are {', '.join(everyone)}")
    asked = [name for name in everyone if not settings.only or name in (REFERENCE, *settings.only)]
    running: list[Running] = []
    try:
        for name in asked:
            running.append(Running(name, *everyone[name], settings.timeout))
        times, differences = measure(running, settings)
        versions = {each.name: each.about["versions"] for each in running}
    finally:
        for each in running:
            each.stop()
    print(json.dumps({
        "contestants": summary(times, settings.sample_count, differences), "reference": REFERENCE, "versions": versions,
        "compiler": manifest.compiler_version, "shark_flags": "same" if settings.same_flags else f"same and {IMG2COL}",
        "rounds": settings.rounds, "sample_count": settings.sample_count, "batch_size": size,
        "cores": _cores(), "load_before": round(load, 2), "load_after": round(os.getloadavg()[0], 2)}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(run))

"""Here, where the compiler is: build, probes, CPU reference, this code and wheels into one archive."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from compile import compiler, exporting, manifest, precompile, target, tuning_spec
from compile.cache import ROOT, Cache
from compile.flags import flags
from compile.manifest import Manifest
from export.checkpoint_files import NO_CHECKPOINT
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError, MissingFileError
from scripts.first_contact_parts import contents, flow_text, planted
from scripts.first_contact_parts.contents import Contents, Dispatch, Unit

TOP = "first_contact"  # folder in the archive
REFERENCE = "cpu-avx2"  # any x86-64 server runs it
CARRIED = ("scripts/first_contact", "scripts/first_contact_parts", "ireeperf/__init__.py", "ireeperf/errors.py", "ireeperf/document.py")
BUILD_ONLY = ("pack.py", "planted.py", "flow_text.py", "ingest.py", "report.py")
# said to the compiler where the graph is read; a flow-level module holds them already
_PLACE = re.compile(r"--iree-(hal-target-device|hal-local-target-device-backends|llvmcpu-target-cpu|rocm-target|cuda-target)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSettings:
    """The command line."""

    model_json: Path
    checkpoint: str | None
    target: str | None
    td_spec: Path | None
    output: Path
    wheels: Path | None
    repeats: int
    random_parameters: bool
    plant_defect: str | None
    jobs: int | None


def pack(settings: PackSettings) -> Contents:
    """Make the archive, whole or not at all."""
    if settings.repeats < 2:
        raise ConfigError(f"--repeats is {settings.repeats}; at least 2, for a launch's time is a difference")
    if settings.wheels is not None and not list(settings.wheels.glob("*.whl")):
        raise MissingFileError(f"{settings.wheels} holds no wheel; fill it with pip download, or leave --wheels out")
    with tempfile.TemporaryDirectory(prefix="first_contact-", dir=_parent(settings.output)) as name:
        folder = Path(name) / TOP
        found = _fill(settings, folder)
        document.write(found, folder / contents.NAME)
        _carry(folder, settings.wheels)
        partial = Path(name) / settings.output.name
        mode: Literal["w:gz", "w"] = "w:gz" if settings.output.suffix in (".gz", ".tgz") else "w"
        with tarfile.open(partial, mode) as archive:
            archive.add(folder, TOP)
        os.replace(partial, settings.output)
    return found


def _parent(output: Path) -> Path:
    parent = output.absolute().parent
    if not parent.is_dir():
        raise ConfigError(f"{parent} does not exist; create it or choose another --output")
    return parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One executable of the build with its graph at flow level."""

    executable: manifest.Executable
    flow: str
    traced: str  # the same with every dispatch traced
    shown: str  # what is compiled for the target: `flow`, or `flow` with the planted defect
    found: flow_text.Found

    @property
    def name(self) -> str:
        return f"{self.executable.module}_bs{self.executable.batch_size}"


def _fill(settings: PackSettings, folder: Path) -> Contents:
    """Compile everything into `folder`; what the archive holds."""
    if settings.td_spec is not None and settings.td_spec.is_dir():
        raise ConfigError(f"{settings.td_spec} is a folder of records; give the spec rendered from it, {settings.td_spec}.mlir")
    wanted = precompile.CompileSettings(model_json=settings.model_json, checkpoint=settings.checkpoint, td_spec=settings.td_spec or tuning_spec.NONE,
                                        target=settings.target, output=folder.parent / "build", jobs=settings.jobs, processes_per_partition=1)
    build, _, _ = precompile.build(wanted)
    made = manifest.read(build)
    model = made.images  # a decoder has no drawing to be compared
    exported = exporting.export_all(model, settings.model_json, precompile.checkpoint_of(wanted, model), Cache(),
                                    target.find(made.target).architecture)
    graphs = _graphs(settings, made, exported, folder.parent)
    payload = folder / contents.PAYLOAD
    payload.mkdir(parents=True)
    reference = target.find(reference_of(target.find(made.target)))
    paths = _executables(settings, made, build, graphs, payload, _reference_device(folder.parent, reference, settings.jobs))
    return Contents(
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"), key=made.key, model_json=settings.model_json.name, model=model.model,
        checkpoint="random" if settings.random_parameters else made.checkpoint, target=made.target, driver=made.driver,
        compiler_version=made.compiler_version, num_inference_steps=model.num_inference_steps, guidance_scale=model.guidance_scale,
        repeats=settings.repeats, reference_target=reference.name, spec=made.spec.path if made.spec else None, planted=settings.plant_defect,
        units=tuple(_unit(settings, made, graph, paths[graph.name], folder) for graph in graphs))


def _graphs(settings: PackSettings, made: Manifest, exported: Sequence[exporting.Exported], scratch: Path) -> list[Graph]:
    """The build's graphs at flow level, where the dispatches are formed and nothing of the target is in them but one line."""
    own = [*flags(target.find(made.target), settings.td_spec.resolve() if settings.td_spec else None), "--compile-to=flow"]
    sources = {one.module: one.mlir for one in exported}
    calls = []
    for executable in made.executables:
        source, name = sources[executable.module][executable.batch_size], f"{executable.module}_bs{executable.batch_size}"
        calls += [(source, own, scratch / f"{name}.flow.mlir"),
                  (source, [*own, "--iree-flow-trace-dispatch-tensors"], scratch / f"{name}.traced.mlir")]
    _compile(calls, scratch, settings.jobs)
    graphs = []
    for executable, plain, traced in zip(made.executables, calls[::2], calls[1::2], strict=True):
        flow, chip = plain[2].read_text(), target.find(made.target).chip
        if chip is not None:  # probes are compiled for the partition that the executable was compiled for
            flow = target.set_chip(flow, chip)
        found = flow_text.dispatches(flow)
        if not found.dispatches:
            raise CompileError(f"{plain[0].name} has no dispatch that can be probed: {found.unprobed}")
        graphs.append(Graph(executable=executable, flow=flow, traced=traced[2].read_text(), found=found,
                            shown=planted.plant(flow, settings.plant_defect) if settings.plant_defect else flow))
    if settings.plant_defect and all(graph.shown == graph.flow for graph in graphs):
        raise ConfigError(f"no dispatch is called {settings.plant_defect!r}; names are in {contents.NAME} of an archive")
    return graphs


def _executables(settings: PackSettings, made: Manifest, build: Path, graphs: Sequence[Graph], payload: Path,
                 reference_device: str) -> dict[str, dict[str, Path]]:
    """Everything compiled, and the build's own files: unit -> what -> path."""
    chosen, scratch = target.find(made.target), payload.parents[1]
    own = _backend(flags(chosen, settings.td_spec.resolve() if settings.td_spec else None))
    repeat = f"--iree-hal-benchmark-dispatch-repeat-count={settings.repeats}"
    reference = ["--iree-opt-level=O3", "--compile-from=flow"]
    calls, paths = [], dict[str, dict[str, Path]]()
    for graph in graphs:
        probes, plain = flow_text.probes(graph.shown, graph.found), flow_text.probes(graph.flow, graph.found)
        texts: dict[str, tuple[str, list[str]]] = {
            "probes": (probes, own), "repeated": (probes, [*own, repeat]),
            "reference": (flow_text.with_device(graph.traced, reference_device), reference),
            "reference_probes": (flow_text.with_device(plain, reference_device), reference)}
        if settings.td_spec is not None:
            texts |= {"baseline": (probes, _backend(flags(chosen, None))), "baseline_repeated": (probes, [*_backend(flags(chosen, None)), repeat])}
        mine = paths[graph.name] = {"executable": payload / f"{graph.name}.vmfb"}
        if graph.shown != graph.flow:  # the executable too is made of the graph with the defect
            texts["executable"] = graph.shown, own
        else:
            shutil.copyfile(build / graph.executable.path, mine["executable"])
        for what, (text, options) in texts.items():
            source = scratch / f"{graph.name}.{what}.mlir"
            source.write_text(text)
            mine.setdefault(what, payload / f"{graph.name}.{what}.vmfb")
            calls.append((source, options, mine[what]))
        archive = None if settings.random_parameters else made.archive(graph.executable.module)
        if archive is not None:
            mine["parameters"] = payload / archive.path
            shutil.copyfile(build / archive.path, mine["parameters"])
    _compile(calls, scratch, settings.jobs)
    return paths


def _backend(options: Sequence[str]) -> list[str]:
    """Flags for a module that is at flow level already."""
    return [flag for flag in options if not _PLACE.match(flag)] + ["--compile-from=flow"]


def _unit(settings: PackSettings, made: Manifest, graph: Graph, paths: Mapping[str, Path], folder: Path) -> Unit:
    """What the archive says of one executable."""
    relative = {what: str(path.relative_to(folder)) for what, path in paths.items()}
    archive = None if settings.random_parameters else made.archive(graph.executable.module)
    named = flow_text.parameters(graph.flow)
    return Unit(
        name=graph.name, module=graph.executable.module, batch_size=graph.executable.batch_size,
        entry_points={entry: tuple(kinds) for entry, kinds in flow_text.entry_points(graph.flow).items()
                      if entry in graph.executable.entry_points},
        executable=relative["executable"], probes=relative["probes"], repeated=relative["repeated"], reference=relative["reference"],
        baseline=relative.get("baseline"), baseline_repeated=relative.get("baseline_repeated"),
        reference_probes=relative["reference_probes"], parameters=relative.get("parameters"),
        scope=archive.scope if archive else next((scope for scope, _, _ in named), "model"),
        random_parameters=() if archive else tuple((parameter, kind) for _, parameter, kind in named),
        dispatches=tuple(Dispatch(label=one.label, operands=one.operands, results=one.results, calls=graph.found.calls[one.label])
                         for one in graph.found.dispatches),
        unprobed=graph.found.unprobed, digests={relative[what]: document.digest(path) for what, path in paths.items()},
        fenced=any(flow_text.fenced(graph.flow, entry) for entry in graph.executable.entry_points))


def reference_of(chosen: target.Target) -> str:
    """The CPU target that gives the reference.

    A CPU target is its own: data tiling lays operands out for one instruction set, and IREE 3.13 computes a batch_mmt4d of
    AVX-512's 16x16x1 tiles wrongly for AVX2 (relative error 1.3 against numpy). Graphs for GPUs have no such tiles.
    """
    return chosen.name if chosen.backend == "cpu" else REFERENCE


def _reference_device(scratch: Path, reference: target.Target, jobs: int | None) -> str:
    """The line that makes a flow-level module one for the reference's CPU."""
    source = scratch / "device.mlir"
    source.write_text("func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {\n  %y = arith.addf %x, %x : tensor<4xf32>\n"
                      "  return %y : tensor<4xf32>\n}\n")
    _compile([(source, [*flags(reference, None), "--compile-to=flow"], scratch / "device.flow.mlir")], scratch, jobs)
    return flow_text.device_line((scratch / "device.flow.mlir").read_text())


def _compile(calls: Sequence[tuple[Path, Sequence[str], Path]], scratch: Path, jobs: int | None) -> None:
    """Compiler calls (source, options, output), several at a time."""
    failed = Cache().folder / "failed"
    outputs = {compiler.Task(label=output.name, mlir=source, flags=tuple(options), folder=scratch / f"{output.name}.d", name="out",
                             log=failed / f"first_contact-{output.name}.log"): output for source, options, output in calls}
    for task, seconds in compiler.compile_all(list(outputs), jobs or compiler.default_jobs()):
        output = outputs[task]
        os.replace(task.vmfb, output)
        shutil.rmtree(task.folder)
        if output.suffix == ".vmfb":
            print(f"  {output.name}: {seconds:.1f} s", flush=True)


def _carry(folder: Path, wheels: Path | None) -> None:
    """This code, its README, the one command and the wheels."""
    for name in CARRIED:
        source, copy = ROOT / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", *BUILD_ONLY))
        else:
            shutil.copy(source, copy)
    (folder / "first_contact").write_text('#!/bin/sh\n# The one command. It takes the options of `scripts/first_contact run`.\n'
                                          'here=$(cd "$(dirname "$0")" && pwd)\n'
                                          'exec python3 "$here/scripts/first_contact" run --archive "$here" "$@"\n')
    (folder / "first_contact").chmod(0o755)
    shutil.copy(ROOT / "docs" / "FIRST_CONTACT.md", folder / "README.md")
    if wheels is not None:
        (folder / "wheels").mkdir()
        for wheel in sorted(wheels.glob("*.whl")):
            shutil.copy(wheel, folder / "wheels" / wheel.name)


def sizes(found: Contents) -> Mapping[str, int]:
    """Distinct dispatches per executable."""
    return {unit.name: len(unit.dispatches) for unit in found.units}


def random_wanted(checkpoint: str | None) -> bool:
    """Without a checkpoint parameters are random on the machine."""
    return checkpoint == NO_CHECKPOINT

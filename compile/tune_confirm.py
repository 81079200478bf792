"""The last word on winners that another machine measured: whole modules with and without them go there, and records come of what it says.

    python -m compile.tune BUILD --measure modules FILE.zip       # here, after `ingest` of a sweep
    python pack/compile/tune_archive.py pack/pack.json results.json    # there
    python -m compile.tune BUILD --measure ingest results.json    # here: records, or why there are none
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compile import (
    compiler,
    dispatch_ir,
    tune_module,
    tune_pack,
    tune_program,
    tune_space,
    tune_space_gpu,
    tuning_spec,
    winograd,
)
from compile.cache import Cache, key_of
from compile.compiler import Task, compile_all
from compile.dispatch_ir import Dispatch
from compile.flags import flags
from compile.manifest import Executable, Manifest
from compile.target import Target
from compile.tune_module import Winner
from compile.tune_space import Space
from compile.tune_space_attention import AttentionSpace
from compile.tune_space_gpu import GpuSpace
from compile.tune_store import Result, Scope, Store
from export import model_json
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError
from specs import toml_text
from specs.record import TuningRecord

_PARAMETER = re.compile(r'#flow\.parameter\.named<"model"::"([^"]+)"> : tensor<((?:\d+x)*)(\w+)>')
_DTYPES = {"f16": "float16", "f32": "float32", "i8": "int8", "i32": "int32", "i64": "int64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A whole module as the runner tells it. `winners`: what it was compiled with, scope by scope."""

    name: str  # path of the executable in the manifest
    records: tuple[TuningRecord, ...]
    winners: tuple[tuple[Scope, dict[str, int]], ...]
    tolerance: float
    clock: str
    answer: dict[str, Any]


def winners(zips: Sequence[Path], on: Target, store: Store) -> list[Winner]:
    """Of each operation the fastest candidate that lies above the default beyond noise; on the one machine that the
    database knows for the target. ConfigError when it knows none, or several."""
    machines = store.machines(on.name, compiler.compiler_version())
    if len(machines) != 1:
        raise ConfigError(f"{store.path} has results of {len(machines)} machines for {on.name} ({', '.join(machines) or 'none'}); one is needed: "
                          "ingest a sweep first, or give another --database")
    found: dict[str, Winner] = {}
    for one in {one.source_sha256: one for path in zips for one in dispatch_ir.dispatches(path)}.values():
        best = _best(one, on, store, machines[0])
        if best is not None and ((known := found.get(best.dispatch.match.name)) is None or _saved(best) > _saved(known)):  # type: ignore[union-attr]
            found[best.dispatch.match.name] = best  # type: ignore[union-attr]
    return list(found.values())


def space_of(one: Dispatch, target: str, machine: str) -> Space | GpuSpace | AttentionSpace | str:
    """What a sweep may set for a dispatch of a build for `target`, measured on `machine`; or why there is nothing."""
    pipeline = tune_program.PIPELINE.search(one.configuration)
    return (tune_space.space(one.match, pipeline[1] if pipeline else "", tune_space.registers(target, machine)) if target.startswith("cpu") else
            tune_space_gpu.space(one.match, one.configuration, target))


def _best(one: Dispatch, on: Target, store: Store, machine: str) -> Winner | None:
    space = space_of(one, on.name, machine)
    if isinstance(space, str):
        return None
    scope = Scope(source_sha256=one.source_sha256, target=on.name, compiler=compiler.compiler_version(), flags=key_of(tuple(flags(on, None))),
                  machine=machine)
    again = store.results(scope, "again")  # more rounds: what they say of a point goes before the search
    every = [*again, *(pair for pair in store.results(scope) if pair[0] not in [point for point, _ in again])]
    point, result = max((pair for pair in every if (pair[1].ratio_low or 0) > 1), key=lambda pair: pair[1].ratio or 0, default=(None, None))
    if point is None or result is None:
        return None
    return Winner(dispatch=one, scope=scope, point=point, setting=space.setting(point), result=result)


def _saved(winner: Winner) -> float:
    """Microseconds an invocation: of dispatches that a record cannot tell apart the one that matters more decides."""
    return winner.dispatch.calls * ((winner.result.baseline_us or 0) - (winner.result.tuned_us or 0))


def pack(zips: Sequence[Path], found: Manifest, build: Path, on: Target, store: Store, records: Path | None, output: Path) -> dict[str, Any]:
    """Write the archive: each executable in which a winner occurs, with the records that the folder holds and with all winners besides."""
    if found.spec is not None:
        raise ConfigError(f"the build has the spec {found.spec.path}, and a sweep starts from the compiler's defaults; compile with --td-spec none")
    chosen = winners(zips, on, store)
    if not chosen:
        raise ConfigError(f"no candidate in {store.path} is faster than its default beyond noise; nothing to confirm")
    kept = tune_module.known(folder_of(found, on, records))
    new = {one.name: one for one in (winner.record(record_target(on), "alone") for winner in chosen)}
    modules = []
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        specs = {"before": tune_module.spec(kept, Path(scratch) / "before.mlir"),
                 "after": tune_module.spec(tuple(({one.name: one for one in kept} | new).values()), Path(scratch) / "after.mlir")}
        for executable, path in zip(found.executables, zips, strict=True):
            here = {one.match.name for one in dispatch_ir.dispatches(path) if one.match}
            inside = [winner for winner in chosen if winner.dispatch.match and winner.dispatch.match.name in here]
            if inside:
                modules.append(_module(archive, executable, found, build, on, specs, Path(scratch) / executable.module, inside))
        tune_pack.finish(archive, [], driver(on), modules)
        archive.write(specs["after"], "after.mlir")  # type: ignore[arg-type]
    return {"archive": str(output), "modules": [one["name"] for one in modules], "winners": sorted(new)}


def _module(archive: zipfile.ZipFile, executable: Executable, found: Manifest, build: Path, on: Target, specs: dict[str, Path | None], folder: Path,
            inside: Sequence[Winner]) -> dict[str, Any]:
    """One executable's entry in pack.json, compiled twice; what the build holds already is taken."""
    mlir = tune_module.source(executable, build)
    rewrites = winograd.flags(on, mlir, Cache())  # as the build has them
    tasks = [Task(label=f"{executable.module} {name} tuning", mlir=mlir, flags=(*flags(on, path), *rewrites), folder=folder / name,
                  name=executable.module, log=folder / f"{name}.log") for name, path in specs.items() if path is not None]
    folder.mkdir()
    files = {name: build / executable.path for name, path in specs.items() if path is None}
    files |= {task.folder.name: task.vmfb for task, _ in compile_all(tasks, compiler.default_jobs())}
    stem = Path(executable.path).stem
    for name, file in files.items():
        archive.write(file, f"{stem}/{name}.vmfb")
    half = "float16" in model_json.dtypes(found.model)
    return {"name": executable.path, "default": f"{stem}/before.vmfb", "candidate": f"{stem}/after.vmfb",
            "records": [document.to_dict(winner.record(record_target(on), "alone")) for winner in inside],
            "winners": [[document.to_dict(winner.scope), dict(winner.point)] for winner in inside],
            "request": {"driver": driver(on), "rounds": tune_module.PAIRS, "tolerance": tune_module.TOLERANCE["float16" if half else "float32"],
                        "entry_points": {name: tune_module.signature(mlir, name) for name in executable.entry_points}, "parameters": parameters(mlir)}}


def parameters(mlir: Path) -> list[tuple[str, list[int], str]]:
    """Names, shapes and dtypes of the parameters that a module asks for, off its text; CompileError at a type that none are made of."""
    found = [(name, [int(side) for side in sides.split("x") if side], kind) for name, sides, kind in _PARAMETER.findall(mlir.read_text())]
    if strange := {kind for _, _, kind in found} - _DTYPES.keys():
        raise CompileError(f"{mlir} takes parameters of {', '.join(sorted(strange))}; they are made of {', '.join(_DTYPES)}")
    return [(name, shape, _DTYPES[kind]) for name, shape, kind in found]


def ingest(path: Path, found: Manifest, on: Target, store: Store, given: Path | None) -> list[TuningRecord]:
    """Keep what the whole modules of the results `path` showed, and write records when they are faster with all winners; else say why
    there are none."""
    told = [document.from_dict(Confirmed, one, where=f"a module of {path}") for one in document.read(tune_pack.Measurements, path).modules]
    if not told:
        print("candidate_only: records need whole modules measured too: --measure modules FILE.zip packs them with the winners", flush=True)
        return []
    results = {one.name: tune_pack.judged(one.answer, one.tolerance, one.clock, tune_pack.default_times(one.answer)) for one in told}
    for one in told:
        for scope, point in one.winners:
            store.add(scope, point, results[one.name], "module")
    for name, result in results.items():
        print(f"whole module {name}: {words(result, told[0].clock)}", flush=True)
    if why := tune_module.accepted(results):
        print(f"candidate_only: not faster in the whole module: {why}", flush=True)
        return []
    evidence = "; ".join(f"whole module {name}, with all records of this sweep: {words(result, told[0].clock)}" for name, result in results.items())
    folder = folder_of(found, on, given)
    records = {one.name: replace(one, source=f"compile.tune; {evidence}") for module in told for one in module.records}
    for record in records.values():
        print(f"record {toml_text.save(record, folder)}", flush=True)
    print("render them: python -m specs.render", flush=True)
    return list(records.values())


def words(result: Result, clock: str) -> str:
    """A measurement of a module."""
    return tune_module.told(result).replace("CPU time", f"{'wall' if clock == 'wall' else 'CPU'} time")


def driver(on: Target) -> str:
    """What runs the archive: on a CPU one thread, as `--measure local` does."""
    return "local-sync" if on.backend == "cpu" else on.driver


def record_target(on: Target) -> str:
    """The target that records are kept for: of `cpu`, this host's instruction set."""
    names = tuning_spec.names(on)
    if not names:
        raise ConfigError("this CPU has neither AVX-512 nor AVX2, for which records are kept")
    return names[0]


def folder_of(found: Manifest, on: Target, given: Path | None) -> Path:
    """Where records of the build are."""
    return given or tuning_spec.SPECS / record_target(on) / Path(found.model_json).stem

"""The last word on a winner: whole modules compiled with the spec of all winners beside the same modules without it."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from compile import dispatch_ir, dumps, manifest, tune_runner, tune_search, tuning_spec, winograd
from compile.cache import Cache
from compile.compiler import Task, compile_all
from compile.dispatch_ir import Dispatch
from compile.flags import flags
from compile.manifest import Executable, Manifest
from compile.target import Target
from compile.tune_space import Point
from compile.tune_store import Result, Scope, Store
from export import model_json
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError, MissingFileError
from specs import render, toml_text
from specs.record import Setting, TuningRecord

PAIRS = 31
_ARGUMENT = re.compile(r"%\w+: (?:!torch\.vtensor<\[([\d,]*)\],(\w+)>|tensor<((?:\d+x)*)(\w+)>)")
_DTYPES = {"f32": "float32", "f16": "float16", "i64": "int64", "si64": "int64", "i32": "int32", "si32": "int32", "i8": "int8"}
# of a module's output to that of the module without the spec: other orders of summation, through all its layers
TOLERANCE = {"float32": 1e-3, "float16": 2e-2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A candidate that is faster than the default on its own. `result`: of the measurement with more rounds."""

    dispatch: Dispatch
    scope: Scope
    point: Point
    setting: Setting
    result: Result

    def record(self, target: str, evidence: str) -> TuningRecord:
        """The record that keeps it. `evidence`: what the whole module showed."""
        assert self.dispatch.match is not None
        return TuningRecord(
            target=target, match=self.dispatch.match, set=self.setting, evidence="measured", source=f"compile.tune; {evidence}",
            compiler=self.scope.compiler, date=datetime.now(UTC).date().isoformat(), machine=self.scope.machine,
            baseline_us=self.result.baseline_us, tuned_us=self.result.tuned_us, runs=self.result.runs)


def keep(winners: Sequence[Winner], found: Manifest, build: Path, on: Target, store: Store, given: Path | None) -> list[TuningRecord]:
    """Write records of `winners` if the whole module is faster with all of them; else say why they stay candidates."""
    names = (on.name,) if on.name != "cpu" else tuning_spec.names(on)
    if not winners or not names:
        print("candidate_only: this CPU has neither AVX-512 nor AVX2, for which records are kept" if winners else "no winner, nothing to check", flush=True)
        return []
    folder = given or tuning_spec.SPECS / names[0] / Path(found.model_json).stem
    with tempfile.TemporaryDirectory() as scratch:
        results = check(winners, found, build, on, names[0], known(folder), Path(scratch))
    for winner in winners:
        for result in results.values():
            store.add(winner.scope, winner.point, result, "module")
    for name, result in results.items():
        print(f"whole module {name} with {len(winners)} new records: {told(result)}", flush=True)
    if why := accepted(results):
        print(f"candidate_only: {', '.join(winner.dispatch.name for winner in winners)}: not faster in the whole module: {why}", flush=True)
        return []
    evidence = "; ".join(f"whole module {name}, with {len(winners)} records of this sweep: {told(result)}" for name, result in results.items())
    records = [winner.record(names[0], evidence) for winner in winners]
    for record in records:
        print(f"record {toml_text.save(record, folder)}", flush=True)
    print("render them: python -m specs.render", flush=True)
    return records


def check(winners: Sequence[Winner], found: Manifest, build: Path, on: Target, record_target: str, kept: Sequence[TuningRecord],
          folder: Path) -> dict[str, Result]:
    """Each executable in which a winner occurs, measured with the spec of `kept` and all winners beside that of `kept` (none: no spec);
    by executable. What does not compile, run or agree is a result."""
    names = {winner.dispatch.match for winner in winners}
    records = {one.name: one for one in kept} | {one.name: one for one in (winner.record(record_target, "alone") for winner in winners)}
    specs = {"before": spec(tuple(kept), folder / "before.mlir"), "after": spec(tuple(records.values()), folder / "after.mlir")}
    results = {}
    for executable in found.executables:
        here = {one.match for one in dispatch_ir.dispatches(build / f"{Path(executable.path).stem}{dumps.SUFFIX}")}
        if names & here:
            results[executable.path] = _measure(executable, found, build, on, specs, folder / Path(executable.path).stem)
    return results


def spec(records: Sequence[TuningRecord], path: Path) -> Path | None:
    """The rendered spec of `records`; None without any."""
    if not records:
        return None
    document.write_text(path, render.text(records, path.stem))
    return path


def source(executable: Executable, build: Path) -> Path:
    """The MLIR that the executable was compiled from, off its command line. MissingFileError when it is gone."""
    lines = (build / executable.command).read_text().splitlines()
    path = next((Path(words[1]) for line in lines if line and not line.startswith("#") and len(words := shlex.split(line)) > 1), None)
    if path is None or not path.is_file():
        raise MissingFileError(f"{build / executable.command} was compiled from {path}, which is gone; compile again with ./compile/precompile.py")
    return path


def signature(mlir: Path, entry: str) -> list[tuple[list[int], str]]:
    """Shapes and dtypes of an entry point's arguments, off the text of the module: executables of exported programs do not say."""
    with mlir.open() as lines:
        line = next((line for line in lines if f"func.func @{entry}(" in line), None)
    if line is None:
        raise CompileError(f"{mlir} has no function {entry} on one line; compile again with ./compile/precompile.py")
    found = [([int(size) for size in re.findall(r"-?\d+", torch or plain)], kind or plain_kind)
             for torch, kind, plain, plain_kind in _ARGUMENT.findall(line.split("->")[0])]
    if strange := [f"{shape} {kind}" for shape, kind in found if kind not in _DTYPES]:
        raise CompileError(f"{entry} of {mlir} takes {', '.join(strange)}; data is made for {', '.join(_DTYPES)}")
    return [(shape, _DTYPES[kind]) for shape, kind in found]


def _measure(executable: Executable, found: Manifest, build: Path, on: Target, specs: dict[str, Path | None], folder: Path) -> Result:
    folder.mkdir(parents=True)
    mlir = source(executable, build)
    rewrites = winograd.flags(on, mlir, Cache())
    tasks = [Task(label=f"{executable.module} {name} tuning", mlir=mlir, flags=(*flags(on, path), *rewrites), folder=folder / name,
                  name=executable.module, log=folder / f"{name}.log") for name, path in specs.items()]
    try:
        done = {task.folder.name: task.vmfb for task, _ in compile_all(tasks, 1)}
    except CompileError as error:
        return Result(outcome="compile failed", detail=" ".join(str(error).split())[:500])
    archive = found.archive(executable.module)
    tolerance = TOLERANCE["float16" if "float16" in model_json.dtypes(found.model) else "float32"]
    request = folder / "request.json"
    document.write_text(request, json.dumps({
        "default": str(done["before"]), "candidate": str(done["after"]), "archive": str(manifest.check_file(build, archive.path, archive.sha256))
        if archive else None, "entry_points": {name: signature(mlir, name) for name in executable.entry_points},
        "driver": "local-sync", "rounds": PAIRS, "tolerance": tolerance}))
    return tune_search.judged(tune_runner.started("--module", request, 600), tolerance, "cpu")


def accepted(results: dict[str, Result]) -> str | None:
    """Why the winners are no records; None when some module is faster beyond noise, and none is slower beyond it."""
    if not results:
        return "no module holds them"
    for name, result in results.items():
        if result.ratio is None:
            return f"{name}: {result.outcome}, {result.detail}"
    slower = [name for name, result in results.items() if (result.ratio_high or 0) < 1]
    faster = [name for name, result in results.items() if (result.ratio_low or 0) > 1]
    if slower or not faster:
        return "; ".join(f"{name}: {told(result)}" for name, result in results.items())
    return None


def told(result: Result) -> str:
    """A measurement of a module in words."""
    return (f"median ratio {result.ratio:.3f}, 95 % interval {result.ratio_low:.3f} to {result.ratio_high:.3f}, {result.runs} pairs, CPU time"
            if result.ratio is not None else f"{result.outcome}, {result.detail}")


def known(folder: Path) -> tuple[TuningRecord, ...]:
    """Records that `folder` holds; none when there is no such folder."""
    try:
        return render.read_all(folder) if any(folder.glob("*.toml")) else ()
    except ConfigError as error:
        raise ConfigError(f"{error} (records that a tuned module would be compiled with)") from error

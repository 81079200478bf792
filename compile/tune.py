"""Search configurations for the dispatches of a build, against the compiler's default, and keep every result.

    python -m compile.tune build/sdxl_nano_fp32_bs8-cpu --dispatch 'conv_2x16x16' --budget 5m
    python -m compile.tune build/sdxl_fp16_bs2-mi325x-cpx --dispatch 'matmul_like' --measure pack candidates.zip

A candidate that is faster alone becomes a record only when the whole module is faster with it (docs/TUNING.md).
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compile import (
    compiler,
    dispatch_ir,
    dumps,
    manifest,
    target,
    tune_confirm,
    tune_constraints,
    tune_emulator,
    tune_module,
    tune_pack,
    tune_plot,
    tune_program,
    tune_reference,
    tune_runner,
    tune_search,
    tune_space,
)
from compile.cache import Cache, key_of
from compile.dispatch_ir import Dispatch
from compile.flags import flags
from compile.manifest import Manifest
from compile.target import Target
from compile.tune_module import Winner
from compile.tune_search import Sweep
from compile.tune_store import Result, Scope, Store
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError, MissingFileError, exit_code

AGAIN, FINAL_ROUNDS = 3, 31
MEASURES = {"local": 0, "pack": 1, "modules": 1, "ingest": 1}  # and how many files each takes


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSettings:
    """The command line."""

    manifest: Path
    dispatch: str
    budget: float
    candidates: int
    rounds: int
    jobs: int
    database: Path | None
    records: Path | None
    measure: tuple[str, ...]
    plot: Path | None
    emulator: Path | None


def parse(argv: Sequence[str] | None = None) -> TuneSettings:
    parser = argparse.ArgumentParser(prog="compile.tune", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path, help="manifest.json of a build, or its folder")
    parser.add_argument("--dispatch", default="", metavar="REGEX", help="only dispatches whose name it is found in (default all)")
    parser.add_argument("--budget", type=seconds, default="30m", help="time to search: 90s, 30m, 2h (default %(default)s); the checks at the end come on top")
    parser.add_argument("--candidates", type=int, default=60, help="new candidates a dispatch at most (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of default and candidate (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="compiles beside the measurement (default %(default)s)")
    parser.add_argument("--database", type=Path, help="all results (default tuning.sqlite in IREE_BUILD_DIR)")
    parser.add_argument("--records", type=Path, help="folder that winners are kept in (default specs/<target>/<model JSON>)")
    parser.add_argument("--measure", nargs="+", default=["local"], metavar="local|pack FILE.zip|modules FILE.zip|ingest FILE.json",
                        help="here (default); on a machine without the compiler, then whole modules with the winners; what either brings back")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw what the database has of these dispatches")
    parser.add_argument("--emulator", type=Path, metavar="FOLDER",
                        help="with pack, for gfx942: each candidate is executed there first (docs/EMULATOR.md)")
    given = vars(parser.parse_args(argv))
    settings = TuneSettings(**given | {"measure": tuple(given["measure"])})
    if MEASURES.get(settings.measure[0]) != len(settings.measure) - 1:
        raise ConfigError(f"--measure {' '.join(settings.measure)}: give local, pack FILE.zip, modules FILE.zip or ingest FILE.json, and the "
                          "manifest before it")
    if settings.emulator is not None and settings.measure[0] != "pack":
        raise ConfigError(f"--emulator judges candidates that are packed, and --measure is {settings.measure[0]}; leave it out")
    for name in ("candidates", "rounds", "jobs"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"--{name} is {getattr(settings, name)}; at least 1")
    return settings


def seconds(text: str) -> float:
    """A budget such as 90s, 30m or 2h, in seconds."""
    found = re.fullmatch(r"(\d+)([smh])", text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90s, 30m or 2h")
    return int(found[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[found[2]]


def chosen(zips: Sequence[Path], pattern: str) -> list[tuple[Dispatch, Path]]:
    """Dispatches to tune, most FLOPs (times calls) first, each piece of work once. ConfigError when `pattern` is none or finds none."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--dispatch {pattern!r} is no regular expression: {error}") from error
    every = [(one, path) for path in zips for one in dispatch_ir.dispatches(path)]
    found = {one.source_sha256: (one, path) for one, path in every if wanted.search(one.name)}
    if not found:
        raise ConfigError(f"--dispatch {pattern!r} is found in none of {len(every)} dispatches, such as {every[0][0].name if every else '-'}")
    return sorted(found.values(), key=lambda pair: -pair[0].flops * max(pair[0].calls, 1))


def prepared(one: Dispatch, zip_path: Path, on: Target, folder: Path, rounds: int, machine: str) -> Sweep | str:
    """The sweep of one dispatch, its default compiled; or why it cannot be tuned."""
    text = dumps.read(zip_path, f"benchmark/{one.name}.mlir").decode()
    space = tune_confirm.space_of(one, on.name, machine)
    if isinstance(space, str):
        return space
    if space.match.kind == "reduction" and len(one.matches) > 1:
        return f"it holds {len(one.matches)} reductions, and a record sizes one of them"
    if set(space.match.types) - tune_search.TOLERANCE.keys():
        return f"its types are {', '.join(space.match.types)}; data is made for {', '.join(tune_search.TOLERANCE)}"
    if len(written := tune_program.stored(one.configured_text)) != 1 or written - tune_search.TOLERANCE.keys():
        return f"it writes {', '.join(sorted(written)) or 'nothing that is recognized'}; results are compared in one of {', '.join(tune_search.TOLERANCE)}"
    given = tuple(flags(on, None))
    scope = Scope(source_sha256=one.source_sha256, target=on.name, compiler=compiler.compiler_version(), flags=key_of(given), machine=machine)
    try:
        entry, size = tune_program.entry(text)
        text = tune_program.stripped(tune_program.with_data(text))
        default = tune_program.build(text, folder / "default", given)
    except CompileError as error:
        return f"its stand-alone program: {' '.join(str(error).split())[:300]}"
    try:
        # on llvm-cpu IREE emits none
        constraints = None if isinstance(space, tune_space.Space) else tune_constraints.of(tune_constraints.emitted(text, given), space.default)
    except CompileError as error:  # 3.13 crashes on contractions with a batch loop of CUDA's UNet; the space's own rules stay
        print(f"{one.name}: without IREE's constraints, {' '.join(str(error).split())[:120]}", flush=True)
        constraints = None
    return Sweep(space=space, scope=scope, text=text, entry=entry, bytes=size, default=default, flags=given, rounds=rounds,
                 driver="local-sync" if on.backend == "cpu" else on.driver, result_type=written.pop(), constraints=constraints)


def tune(one: Dispatch, sweep: Sweep, store: Store, folder: Path, settings: TuneSettings, deadline: float) -> tuple[Winner | None, dict[str, Any]]:
    """Search one dispatch, measure the best few again with more rounds: the winner, if any, and what came out."""
    added = tune_search.search(sweep, store, folder, deadline=deadline, candidates=settings.candidates, workers=settings.jobs)
    results = store.results(sweep.scope)
    best = sorted((pair for pair in results if pair[1].ratio), key=lambda pair: -(pair[1].ratio or 0))[:AGAIN]
    again: list[tuple[dict[str, int], Result]] = []
    for index, (point, _) in enumerate(best):
        built = tune_search.build(sweep, point, folder / f"again{index}")
        result = built if isinstance(built, Result) else tune_search.measure(sweep, built, FINAL_ROUNDS)
        store.add(sweep.scope, point, result, "again")
        again.append((point, result))
    found = max((pair for pair in again if pair[1].ratio_low and pair[1].ratio_low > 1), key=lambda pair: pair[1].ratio or 0, default=None)
    winner = Winner(dispatch=one, scope=sweep.scope, point=found[0], setting=sweep.space.setting(found[0]), result=found[1]) if found else None
    outcomes = {name: sum(result.outcome == name for _, result in results) for name in sorted({result.outcome for _, result in results})}
    return winner, {"dispatch": one.name, "calls": one.calls, "added": added, "outcomes": outcomes, "faster_alone": winner is not None,
                    "setting": document.to_dict(winner.setting) if winner else None,
                    "result": document.to_dict(winner.result if winner else again[0][1]) if again else None}


def prepare_all(wanted: Sequence[tuple[Dispatch, Path]], on: Target, settings: TuneSettings, machine: str,
                deadline: float) -> Iterator[tuple[Dispatch, Sweep, Path]]:
    """Each dispatch that can be tuned, its sweep and a folder that is gone with the next one, until `deadline`."""
    for index, (one, path) in enumerate(wanted):
        if time.monotonic() > deadline:
            print(f"the budget is spent: {len(wanted) - index} of {len(wanted)} dispatches not reached", flush=True)
            return
        with tempfile.TemporaryDirectory() as scratch:
            sweep = prepared(one, path, on, Path(scratch), settings.rounds, machine)
            if isinstance(sweep, str):
                print(f"{one.name}: not tuned, {sweep}", flush=True)
                continue
            yield one, sweep, Path(scratch)


def local(zips: Sequence[Path], found: Manifest, on: Target, store: Store, settings: TuneSettings) -> dict[str, Any]:
    """Search, measure again, check the whole module, on this machine."""
    if on.backend != "cpu":
        raise ConfigError(f"the build is for {on.name}, and this command measures on the CPU only; --measure pack FILE.zip takes candidates to a GPU")
    if found.spec is not None:
        raise ConfigError(f"the build has the spec {found.spec.path}, and a sweep starts from the compiler's defaults; compile with --td-spec none")
    winners, panels, wanted = list[Winner](), dict[str, Scope](), chosen(zips, settings.dispatch)
    places = {one.source_sha256: path for one, path in wanted}
    deadline = time.monotonic() + settings.budget  # reading the dumps is not searching
    for one, sweep, scratch in prepare_all(wanted, on, settings, tune_runner.machine("local-sync"), deadline):
        error, words = tune_reference.judge(one, places[one.source_sha256], sweep)
        print(f"{one.name}: {words}", flush=True)
        if error is not None and error > 1:
            continue
        winner, said = tune(one, sweep, store, scratch, settings, deadline)
        winners += [winner] if winner else []
        panels[one.name] = sweep.scope
        print(f"{one.name}: {json.dumps(said)}", flush=True)
    plot(panels, store, settings.plot)
    records = tune_module.keep(winners, found, zips[0].parent, on, store, settings.records)
    return {"tuned": len(panels), "faster_alone": len(winners), "records": [one.name for one in records], "candidate_only": len(winners) - len(records)}


def pack(zips: Sequence[Path], on: Target, store: Store, settings: TuneSettings) -> dict[str, Any]:
    """Compile candidates into the archive that another machine measures. What `store` has of any machine is not packed again."""
    output, entries, wanted = Path(settings.measure[1]), list[dict[str, Any]](), chosen(zips, settings.dispatch)
    partial = output.with_name(f".{output.name}.partial")
    gate = tune_emulator.Gate(settings.emulator, on) if settings.emulator else None
    packing = tune_pack.Packing(count=settings.candidates, workers=settings.jobs, gate=gate)
    places = {one.source_sha256: path for one, path in wanted}
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for one, sweep, scratch in prepare_all(wanted, on, settings, "", time.monotonic() + settings.budget):
                known = [pair for name in store.machines(on.name, sweep.scope.compiler) for pair in store.results(replace(sweep.scope, machine=name))]
                samples = tune_reference.samples(one, places[one.source_sha256], sweep)
                if isinstance(samples, str):
                    print(f"{one.name}: not judged by float64: {samples}", flush=True)
                reference = None if isinstance(samples, str) else tune_reference.save(samples)
                entries.append(tune_pack.add(archive, len(entries), one.name, sweep, scratch, packing, reference, known))
                print(f"{one.name}: {sum(item['file'] is not None for item in entries[-1]['candidates'])} of "
                      f"{len(entries[-1]['candidates'])} candidates to be measured", flush=True)
            tune_pack.finish(archive, entries, "local-sync" if on.backend == "cpu" else on.driver)
        if not entries:
            raise ConfigError("no dispatch can be tuned, nothing is packed; give another --dispatch or a longer --budget")
        partial.replace(output)
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}; free the disk or choose another folder") from error
    finally:
        partial.unlink(missing_ok=True)
        if gate:
            gate.close()
    return {"archive": str(output), "packed": len(entries), "candidates": sum(len(entry["candidates"]) for entry in entries)}


def ingest(zips: Sequence[Path], found: Manifest, on: Target, store: Store, settings: TuneSettings) -> dict[str, Any]:
    """Keep what another machine measured, and say which candidates were faster there; of whole modules, write records."""
    names = {one.source_sha256: one.name for path in zips for one in dispatch_ir.dispatches(path)}
    added = tune_pack.ingest(Path(settings.measure[1]), store, names)
    faster = 0
    for scope, count in added:
        known = [(point, result) for point, result in store.results(scope) if result.ratio_low]
        point, best = max(known, key=lambda pair: pair[1].ratio or 0, default=({}, None))
        faster += best is not None and (best.ratio_low or 0) > 1
        print(f"{names[scope.source_sha256]}: {count} new, best {json.dumps(point)} {json.dumps(document.to_dict(best)) if best else 'none'}", flush=True)
    plot({names[scope.source_sha256]: scope for scope, _ in added}, store, settings.plot)
    records = tune_confirm.ingest(Path(settings.measure[1]), found, on, store, settings.records)
    return {"machine": added[0][0].machine if added else None, "ingested": sum(count for _, count in added), "faster_alone": faster,
            "records": [one.name for one in records]}


def plot(panels: Mapping[str, Scope], store: Store, output: Path | None) -> None:
    """Draw the ratios that `store` has of each scope, where a picture is asked for."""
    if output is not None:
        document.write_text(output, tune_plot.svg([(name, [result.ratio for _, result in store.results(scope) if result.ratio])
                                                   for name, scope in panels.items()]))
        print(f"plot {output}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    found = manifest.read(settings.manifest)
    on = target.find(found.target)
    folder = settings.manifest if settings.manifest.is_dir() else settings.manifest.parent
    zips = [folder / f"{Path(one.path).stem}{dumps.SUFFIX}" for one in found.executables]
    if missing := [str(path) for path in zips if not path.is_file()]:
        raise MissingFileError(f"no dumps {', '.join(missing)}; compile again with ./compile/precompile.py")
    database = settings.database or Cache().folder / "tuning.sqlite"
    print(f"tune {settings.manifest} target {on.name} compiler {compiler.compiler_version()} dispatch {settings.dispatch or 'all'!r} measure "
          f"{' '.join(settings.measure)} budget {settings.budget:.0f} s candidates {settings.candidates} rounds {settings.rounds} jobs "
          f"{settings.jobs} database {database} records {settings.records} plot {settings.plot} emulator {settings.emulator}", flush=True)
    store = Store(database)
    if settings.measure[0] == "pack":
        done = pack(zips, on, store, settings)
    elif settings.measure[0] == "modules":
        done = tune_confirm.pack(zips, found, folder, on, store, settings.records, Path(settings.measure[1]))
    else:
        done = (ingest if settings.measure[0] == "ingest" else local)(zips, found, on, store, settings)
    store.close()
    done |= {"database": str(database)}
    print(json.dumps({"target": on.name, **done}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

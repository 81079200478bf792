"""Candidates for a machine without the compiler: one archive out, one JSON file back.

    python -m compile.tune MANIFEST --measure pack FILE.zip       # here
    unzip FILE.zip -d pack; python pack/compile/tune_archive.py pack/pack.json results.json    # there: iree.runtime and numpy
    python -m compile.tune MANIFEST --measure ingest results.json # here
"""

from __future__ import annotations

import itertools
import json
import random
import zipfile
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from compile import (
    dumps,
    kernel_figures,
    static_rank,
    tune_archive,
    tune_emulator,
    tune_runner,
    tune_search,
)
from compile.compiler import compiler_version
from compile.tune_search import Sweep
from compile.tune_space_attention import AttentionSpace
from compile.tune_space_gpu import GpuSpace
from compile.tune_store import Outcome, Phase, Result, Scope, Store
from compile.tuning_spec import SPECS
from ireeperf import document
from ireeperf.errors import ConfigError
from specs import lowering_keys, record
from specs.record import Setting

README = """Candidates of compile.tune. On the machine to be measured, with iree-base-runtime {compiler} and numpy:
    python compile/tune_archive.py pack.json results.json
Bring results.json back. The two files in compile/ are the project's; they need nothing else of it.
"""
DRAWS, STARTS = 600, 2
DISTURBED = 1.1
AGAIN, AGAIN_ROUNDS = 3, 31  # the best candidates of each dispatch are measured again


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One candidate as the runner tells it: `outcome` when the packing machine knew it already, else `answer`."""

    scope: Scope  # its machine is empty: the packing machine cannot know it
    configuration: dict[str, int]
    outcome: str | None
    detail: str
    tolerance: float
    clock: str
    answer: dict[str, Any] | None = None
    phase: Phase = "search"

    def result(self, times: Sequence[float]) -> Result:
        """As the database keeps it, `times` as in judged; ConfigError when the answer is not the runner's."""
        try:
            if self.outcome is not None and self.outcome in get_args(Outcome):
                return Result(outcome=cast(Outcome, self.outcome), detail=self.detail)
            found = judged(self.answer or {}, self.tolerance, self.clock, times)
            return replace(found, detail=f"{found.detail}; {self.detail}") if self.detail else found
        except (KeyError, TypeError, ZeroDivisionError, ValueError) as error:
            raise ConfigError(f"the answer {str(self.answer)[:80]} to {self.configuration} is not the runner's ({error!r}); "
                              "measure again with the tune_archive.py of the archive") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What the runner brings back."""

    machine: str
    results: tuple[Measured, ...]
    modules: tuple[dict[str, Any], ...] = ()


def judged(answer: dict[str, Any], tolerance: float, clock: str, baselines: Sequence[float]) -> Result:
    """What the runner's answer says. Wall times by undisturbed rounds: those within DISTURBED of the fastest, the default's of
    `baselines`, all rounds of its dispatch. A host that wakes up late adds 4 ms at a time (a virtual machine with an H100), to every
    second round or to none; it never takes any away."""
    if clock != "wall" or not answer.get("rounds") or answer["error"] is None or answer["error"] > tolerance:
        return tune_search.judged(answer, tolerance, clock)
    sides = [[value for value in values if value <= DISTURBED * min(values)] for values in (baselines, [one["wall"] for one in answer["rounds"]])]
    (low, middle, high), (own_low, own, own_high) = (tune_search.interval(values) for values in sides)
    return Result(outcome="time", detail=f"{tune_search.judged_by(answer)}, {len(sides[1])} of {len(answer['rounds'])} rounds undisturbed",
                  ratio=middle / own, ratio_low=low / own_high, ratio_high=high / own_low, baseline_us=round(middle, 2),
                  tuned_us=round(own, 2), runs=len(sides[1]))


def baselines(found: Measurements) -> dict[tuple[Scope, Phase], list[float]]:
    """Wall times of the default configuration, of all rounds of a dispatch in one phase."""
    times: dict[tuple[Scope, Phase], list[float]] = {}
    for one in found.results:
        times.setdefault((one.scope, one.phase), []).extend(default_times(one.answer or {}))
    return times


def default_times(answer: dict[str, Any]) -> list[float]:
    """Wall times of the default configuration in one answer."""
    return [pair["baseline_wall"] for pair in answer.get("rounds", ())]


def points(sweep: Sweep, count: int, known: Sequence[tuple[dict[str, int], Result]] = ()) -> list[dict[str, int]]:
    """Up to `count` valid points, the ones to be tried first in front, the same ones every time: what the target's records set (or
    else the compiler's choice, which itself is no candidate), then in turns one step from there, the statically best
    (compile/static_rank.py) and a random one. What is `known` is left out, and the best two of it are where to start from."""
    space, draw = sweep.space, random.Random(0)
    target = sweep.scope.target if sweep.scope else "cpu"
    best = sorted((pair for pair in known if pair[1].ratio and _within(pair[0], space.parameters)), key=lambda pair: -(pair[1].ratio or 0))[:STARTS]
    first = [dict(point) for point, _ in best] or placed(sweep)
    around = [point | {name: value} for point in first for name, values in space.parameters.items() for value in _beside(values, point[name])]
    drawn = [{name: draw.choice(values) for name, values in space.parameters.items()} for _ in range(DRAWS)]

    def valid(some: Sequence[dict[str, int]]) -> list[str]:
        return list(dict.fromkeys(json.dumps(point) for point in some if space.invalid(point) is None))

    def ranked(some: Sequence[str]) -> list[str]:
        scores = {key: static_rank.estimate(space.match, space.setting(json.loads(key)), target) or float("inf") for key in some}
        return sorted(some, key=lambda key: scores[key])

    near, far, every = valid(around), valid(drawn), list[str]()
    for keys in itertools.zip_longest(ranked(near), ranked(near + far), far):
        every += [key for key in keys if key is not None]
    default = space.default if isinstance(space, GpuSpace | AttentionSpace) else None
    seeds = [json.dumps(point) for point in first if space.setting(point) != default]
    done = [point for point, _ in known]
    return [point for key in dict.fromkeys([*seeds, *every]) if (point := json.loads(key)) not in done][:count]


def _within(point: dict[str, int], parameters: dict[str, tuple[int, ...]]) -> bool:
    """Whether a point that was measured is one of this space: an earlier one may have had other parameters."""
    return point.keys() == parameters.keys() and all(value in parameters[name] for name, value in point.items())


def _beside(values: Sequence[int], value: int) -> Sequence[int]:
    place = values.index(value)
    return (*values[max(place - 1, 0):place], *values[place + 1:place + 2])


def placed(sweep: Sweep) -> list[dict[str, int]]:
    """Points at which records of the same operation for this target are; without any, the one of the compiler's choice."""
    space = sweep.space
    if not isinstance(space, GpuSpace | AttentionSpace):
        return []
    paths = sorted((SPECS / space.target).glob(f"*/{space.match.name}.toml"))
    # Where there is one number of stages, it is not part of the search, and a record may have another
    stages = len(space.parameters.get("stages", ())) > 1
    wanted = [_tiles(setting, stages) for setting in ([record.read(path).set for path in paths] or [space.default])]
    choices = (dict(zip(space.parameters, choice, strict=True)) for choice in itertools.product(*space.parameters.values()))
    return [point for point in choices if _tiles(space.setting(point), stages) in wanted and space.invalid(point) is None]


def _tiles(setting: Setting, stages: bool) -> tuple[Any, ...]:
    config = setting.lowering_config
    shares = [share or min(tile, 1) for share, tile in zip(config.get("subgroup", ()), config["workgroup"], strict=False)]
    return (setting.pipeline, config["workgroup"], shares, config["reduction"], config.get("mma_kind"),
            setting.options.get("prefetch_num_stages") if stages else None, config.get("promote_operands"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How candidates come into an archive."""

    count: int  # of a dispatch
    workers: int
    gate: tune_emulator.Gate | None


def add(archive: zipfile.ZipFile, index: int, name: str, sweep: Sweep, folder: Path, packing: Packing, reference: bytes | None,
        known: Sequence[tuple[dict[str, int], Result]] = ()) -> dict[str, Any]:
    """Compile candidates into `archive` until there are enough: the dispatch's entry in pack.json. What does not compile, or what the gate finds
    wrong, is told in it. `reference`: tune_reference.save."""
    archive.write(sweep.default, f"{index}/default.vmfb")
    if reference is not None:
        archive.writestr(f"{index}/reference.npz", reference)
    count, workers = packing.count, packing.workers
    candidates, compiled, tried = list[dict[str, Any]](), 0, iter(enumerate(points(sweep, 3 * count, known)))
    with ThreadPoolExecutor(workers) as pool:
        while compiled < count and (some := list(itertools.islice(tried, min(workers, count - compiled)))):
            for (number, point), built in zip(some, pool.map(lambda pair: _compiled(sweep, pair[1], folder / f"pack{pair[0]}", packing.gate), some),
                                                    strict=True):
                file = f"{index}/{number}.vmfb"
                if isinstance(built, tuple):
                    archive.write(built[0], file)
                    compiled += 1
                    candidates.append({"configuration": point, "file": file, "outcome": None, "detail": built[1]})
                else:
                    candidates.append({"configuration": point, "file": None, "outcome": built.outcome, "detail": built.detail})
    return {"name": name, "scope": asdict(sweep.scope), "request": sweep.request, "default": f"{index}/default.vmfb", "candidates": candidates,
            "reference": f"{index}/reference.npz" if reference is not None else None}


def finish(archive: zipfile.ZipFile, dispatches: list[dict[str, Any]], driver: str, modules: Sequence[dict[str, Any]] = ()) -> None:
    """The rest of the archive: what to run, the runner, and how to."""
    clock = "cpu" if driver.startswith("local") else "wall"  # a GPU's work takes no time of the CPU
    archive.writestr("pack.json", json.dumps({"driver": driver, "clock": clock, "again": AGAIN, "again_rounds": AGAIN_ROUNDS,
                                              "dispatches": dispatches, "modules": list(modules)}, indent=1))
    archive.writestr("compile/__init__.py", "")
    for part in (tune_archive, tune_runner):
        archive.write(str(part.__file__), f"compile/{Path(str(part.__file__)).name}")
    archive.writestr("README.txt", README.format(compiler=compiler_version()))


def ingest(path: Path, store: Store, sources: Collection[str]) -> list[tuple[Scope, int]]:
    """Keep the results of `path` under the name of the machine that measured: scopes with their new rows. ConfigError, and nothing
    kept, when the file is not the runner's or is of dispatches that are not among `sources`."""
    found = document.read(Measurements, path)
    if strange := {one.scope.source_sha256 for one in found.results} - set(sources):
        raise ConfigError(f"{path} has results of {len(strange)} dispatches that the build does not have; give the manifest that the archive "
                          "was packed from")
    if not found.machine:
        raise ConfigError(f"{path} names no machine; measure again with the tune_archive.py of the archive")
    times = baselines(found)
    rows = [(replace(one.scope, machine=found.machine), one.configuration, one.result(times[one.scope, one.phase]), one.phase)
            for one in found.results]
    scopes = list(dict.fromkeys(scope for scope, _, _, _ in rows))
    before = {scope: len(store.results(scope)) for scope in scopes}
    kept = {(scope, phase): [result for _, result in store.results(scope, phase)] for scope, _, _, phase in rows}
    for scope, configuration, result, phase in rows:
        if result not in kept[scope, phase]:  # the file came in before: of later phases a configuration may have several results
            store.add(scope, configuration, result, phase)
    return [(scope, len(store.results(scope)) - before[scope]) for scope in scopes]


def _compiled(sweep: Sweep, point: dict[str, int], folder: Path, gate: tune_emulator.Gate | None) -> tuple[Path, str] | Result:
    """The candidate and what is known of it; for a GPU its assembly is read first, and what spills, leaves the matrix units idle or is wrong
    on the emulator is not worth the trip."""
    if lowering_keys.family(sweep.scope.target) == "cpu":
        built = tune_search.build(sweep, point, folder)
        return built if isinstance(built, Result) else (built, "")
    texts = folder.with_name(f"{folder.name}.dumps")
    built = tune_search.build(replace(sweep, flags=(*sweep.flags, *dumps.flags(texts, whole=True))), point, folder)
    if isinstance(built, Result):
        return built
    if (why := pruned(texts / "files", lowering_keys.architecture(sweep.scope.target))) is not None:
        return Result(outcome="invalid", detail=why)
    goes, words = gate.judge(texts, folder.name) if gate else (True, "")
    return (built, words) if goes else Result(outcome="wrong", detail=words)


def pruned(folder: Path, architecture: str) -> str | None:
    """Why kernels whose assembly is in `folder` are not measured, or None."""
    kernels = [kernel for suffix, read in ((".rocmasm", kernel_figures.read_rocmasm), (".ptx", kernel_figures.read_ptx))
               for path in sorted(folder.glob(f"*{suffix}")) for kernel in read(path.read_text()).values()]
    if not kernels:
        return "the compiler left no assembly to judge it by"
    for kernel in kernels:
        if not kernel.matrix:
            return "its assembly has no matrix instructions"
        if kernel.vgpr_spills:
            return f"it spills {kernel.vgpr_spills} VGPRs"
        if (kernel.lds_bytes or 0) > lowering_keys.LDS_BYTES[architecture]:
            return f"it takes {kernel.lds_bytes} bytes of LDS, {lowering_keys.LDS_BYTES[architecture]} at most"
    return None

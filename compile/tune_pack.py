"""Candidates for a machine without the compiler: one archive out, one JSON file back.

    python -m compile.tune MANIFEST --measure pack FILE.zip       # here
    unzip FILE.zip -d pack; python pack/tune_runner.py pack/pack.json results.json    # there: iree.runtime and numpy
    python -m compile.tune MANIFEST --measure ingest results.json # here
"""

from __future__ import annotations

import itertools
import json
import random
import zipfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from compile import kernel_figures, tune_runner, tune_search
from compile.compiler import compiler_version
from compile.tune_search import Sweep
from compile.tune_store import Outcome, Result, Scope, Store
from ireeperf import document
from ireeperf.errors import ConfigError
from specs import lowering_keys

README = f"""Candidates of compile.tune. On the machine to be measured, with iree-base-runtime {{compiler}} and numpy:
    python tune_runner.py pack.json results.json
Bring results.json back. The runner is the project's {Path(tune_runner.__file__).name}; it needs nothing else of it.
"""


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

    def result(self) -> Result:
        """As the database keeps it; ConfigError when the answer is not the runner's."""
        try:
            if self.outcome is not None and self.outcome in get_args(Outcome):
                return Result(outcome=cast(Outcome, self.outcome), detail=self.detail)
            return tune_search.judged(self.answer or {}, self.tolerance, self.clock)
        except (KeyError, TypeError, ZeroDivisionError, ValueError) as error:
            raise ConfigError(f"the answer {str(self.answer)[:80]} to {self.configuration} is not the runner's ({error!r}); "
                              "measure again with the tune_runner.py of the archive") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What the runner brings back."""

    machine: str
    results: tuple[Measured, ...]


def points(sweep: Sweep, count: int) -> Iterator[dict[str, int]]:
    """Up to `count` random valid points, each once; the same ones every time."""
    draw, seen = random.Random(0), set()
    for _ in range(200 * count):
        point = {name: draw.choice(values) for name, values in sweep.space.parameters.items()}
        key = json.dumps(point, sort_keys=True)
        if key not in seen and sweep.space.invalid(point) is None:
            seen.add(key)
            yield point
            if len(seen) == count:
                return


def add(archive: zipfile.ZipFile, index: int, name: str, sweep: Sweep, folder: Path, count: int, workers: int) -> dict[str, Any]:
    """Compile up to `count` candidates into `archive`: the dispatch's entry in pack.json. What does not compile is told in it."""
    archive.write(sweep.default, f"{index}/default.vmfb")
    candidates = []
    with ThreadPoolExecutor(workers) as pool:
        for number, (point, built) in enumerate(pool.map(lambda pair: (pair[1], _compiled(sweep, pair[1], folder / f"pack{pair[0]}")),
                                                         enumerate(itertools.islice(points(sweep, count), count)))):
            file = f"{index}/{number}.vmfb"
            if isinstance(built, Path):
                archive.write(built, file)
                candidates.append({"configuration": point, "file": file, "outcome": None, "detail": ""})
            else:
                candidates.append({"configuration": point, "file": None, "outcome": built.outcome, "detail": built.detail})
    return {"name": name, "scope": asdict(sweep.scope), "request": sweep.request, "default": f"{index}/default.vmfb", "candidates": candidates}


def finish(archive: zipfile.ZipFile, dispatches: list[dict[str, Any]], driver: str) -> None:
    """The rest of the archive: what to run, the runner, and how to."""
    clock = "cpu" if driver.startswith("local") else "wall"  # a GPU's work takes no time of the CPU
    archive.writestr("pack.json", json.dumps({"driver": driver, "clock": clock, "dispatches": dispatches}, indent=1))
    archive.write(tune_runner.__file__, "tune_runner.py")
    archive.writestr("README.txt", README.format(compiler=compiler_version()))


def ingest(path: Path, store: Store, sources: Collection[str]) -> list[tuple[Scope, int]]:
    """Keep the results of `path` under the name of the machine that measured: scopes with their new rows. ConfigError, and nothing
    kept, when the file is not the runner's or is of dispatches that are not among `sources`."""
    found = document.read(Measurements, path)
    if strange := {one.scope.source_sha256 for one in found.results} - set(sources):
        raise ConfigError(f"{path} has results of {len(strange)} dispatches that the build does not have; give the manifest that the archive "
                          "was packed from")
    if not found.machine:
        raise ConfigError(f"{path} names no machine; measure again with the tune_runner.py of the archive")
    rows = [(replace(one.scope, machine=found.machine), one.configuration, one.result()) for one in found.results]
    scopes = list(dict.fromkeys(scope for scope, _, _ in rows))
    before = {scope: len(store.results(scope)) for scope in scopes}
    for scope, configuration, result in rows:
        store.add(scope, configuration, result)
    return [(scope, len(store.results(scope)) - before[scope]) for scope in scopes]


def _compiled(sweep: Sweep, point: dict[str, int], folder: Path) -> Path | Result:
    """The candidate; for a GPU its assembly is read first, and what spills or leaves the matrix units idle is not worth the trip."""
    if lowering_keys.family(sweep.scope.target) == "cpu":
        return tune_search.build(sweep, point, folder)
    texts = folder.with_name(f"{folder.name}.assembly")
    built = tune_search.build(replace(sweep, flags=(*sweep.flags, f"--iree-hal-dump-executable-intermediates-to={texts}")), point, folder)
    why = pruned(texts, lowering_keys.architecture(sweep.scope.target)) if isinstance(built, Path) else None
    return Result(outcome="invalid", detail=why) if why else built


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

"""Which tuning spec a build gets: a hand-written .mlir, a folder of records rendered now, or the records kept for its target and model."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from compile import compiler, target
from compile.cache import Cache
from compile.target import Target
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError
from specs import foreign, render
from specs.record import TuningRecord

NONE = Path("none")  # --td-spec none: the compiler's defaults
SPECS = render.SPECS


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSpec:
    """A transform-dialect library, and the records that it was rendered from (none: it was written by hand)."""

    path: Path
    records: tuple[TuningRecord, ...]


def choose(given: Path | None, target_name: str | None, configured: str | None, stem: str, cache: Cache) -> tuple[Target, TuningSpec | None]:
    """Target and spec of a build of the model JSON `stem`. `given` is --td-spec: a file, a folder of records, "none", or None for the
    folder specs/<target>/<stem> where there is one, without its static records. ConfigError when spec and target do not fit each other."""
    if given == NONE:
        return target.choose(target_name, None, configured), None
    if given is not None and not given.exists():
        raise MissingFileError(f"tuning spec {given} does not exist")
    if given is not None and given.is_file():
        path = given.resolve()
        chosen = target.choose(target_name, path, configured)
        check_by_hand(path)
        return chosen, TuningSpec(path=path, records=())
    if given is not None:
        records = render.read_all(given)
        chosen = target.find(target_name or configured or records[0].target)
        if records[0].target not in names(chosen):
            raise ConfigError(f"the records of {given} are for {records[0].target}, and the build is for {chosen.name}; "
                              f"give --target {records[0].target}, or the records of {chosen.name}")
        return chosen, rendered(records, given, cache)
    chosen = target.choose(target_name, None, configured)
    kept = next((folder for name in names(chosen) if (folder := SPECS / name / stem).is_dir()), None)
    # a static pick is slower than the compiler's default on a third of the dispatches measured (docs/STATIC_RANKING.md): such records are
    # applied where --td-spec names their folder
    records = tuple(one for one in render.read_all(kept) if one.evidence != "static") if kept else ()
    return chosen, rendered(records, kept, cache) if kept and records else None


def check_by_hand(path: Path) -> None:
    """ConfigError when the hand-written spec `path` is for another IREE or does not parse: before an export and a compile are spent on it."""
    text = path.read_text(errors="replace")
    told, reader = foreign.diagnose(text), compiler.compiler_path().with_name("iree-opt")
    if not told and reader.is_file():
        read = subprocess.run([reader, path, "-o", os.devnull], capture_output=True, text=True, check=False)
        told = foreign.refusal(text, str(path), read.stderr) if read.returncode else []
    if told:
        raise ConfigError(f"{path.name} is no spec of IREE 3.13:\n  " + "\n  ".join(told) +
                          "\n  mend these lines, or make records of it with python -m specs.port")


def names(chosen: Target) -> tuple[str, ...]:
    """Targets whose records a build for `chosen` takes: its own; for `cpu`, those of this host's instruction set."""
    if chosen.architecture != "host":
        return (chosen.name,)
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return ()
    # what x86-64-v4 and x86-64-v3 stand for, by the newest extension of each
    return ("cpu-avx512",) if {"avx512f", "avx512bw", "avx512vl"} <= words else ("cpu-avx2",) if "avx2" in words else ()


def rendered(records: tuple[TuningRecord, ...], folder: Path, cache: Cache) -> TuningSpec:
    """The library of `records`, kept in the cache under its own digest: records that change while a build runs change another file."""
    text = render.text(records, folder.resolve().name)
    path = cache.folder / "spec" / hashlib.sha256(text.encode()).hexdigest() / f"{folder.resolve().name}.mlir"
    if not path.is_file() or path.read_text() != text:
        document.write_text(path, text)
    return TuningSpec(path=path, records=records)

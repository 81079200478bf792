"""The build folder: what a compile leaves for the stages after it, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile import dumps, manifest, match_report, memory_plan
from compile.cache import Cache
from compile.exporting import Exported
from compile.manifest import Executable, Manifest, ParameterArchive, Spec
from compile.memory_plan import MemoryPlan
from compile.target import Chip
from compile.tuning_spec import TuningSpec
from ireeperf import document
from ireeperf.errors import ConfigError, PipelineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One executable to be: where its MLIR is, its flags, its key."""

    exported: Exported
    batch_size: int
    flags: tuple[str, ...]
    key: str
    chip: Chip | None

    @property
    def name(self) -> str:
        """Of the executable's files, without suffix."""
        return f"{self.exported.module_name}_bs{self.batch_size}"


def assemble(output: Path, record: dict[str, Any], units: Sequence[Unit], exported: Sequence[Exported],
             spec: TuningSpec | None, plan: MemoryPlan, cache: Cache, seconds: dict[str, float]) -> None:
    """Put the build into `output`. All of it is copied beside `output` first: on a full disk the old build is still whole."""
    # here, for it reads MLIR with the compiler's own library, which a build that changes nothing need not load
    from compile import reporting

    staging = output.absolute().with_name(f".{output.absolute().name}.partial")
    executables, archives = [], []
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for unit in units:
            entry = cache.entry("executable", unit.key)
            assert entry is not None
            name, module = unit.name, unit.exported.module
            for file in (f"{name}.vmfb", f"{name}.command.sh", f"{name}{dumps.SUFFIX}"):
                shutil.copyfile(entry / file, staging / file)
            executables.append(Executable(
                module=module, module_name=unit.exported.module_name, entry_points=unit.exported.entry_points,
                batch_size=unit.batch_size, path=f"{name}.vmfb", sha256=cache.digest(entry / f"{name}.vmfb"),
                command=f"{name}.command.sh", dispatches=f"{name}{dumps.SUFFIX}", seconds=seconds.get(unit.key, 0.0)))
        for one in exported:
            if one.archive is not None:
                # a copy, never a link: who damages a build must not damage the cache
                shutil.copyfile(one.archive, staging / one.archive.name)
                archives.append(ParameterArchive(module=one.module, path=one.archive.name, sha256=cache.digest(one.archive),
                                                 bytes=one.archive.stat().st_size))
        if spec is not None:
            shutil.copyfile(spec.path, staging / spec.path.name)
        written = Manifest(executables=tuple(executables), parameter_archives=tuple(archives),
                           spec=Spec(path=spec.path.name, sha256=cache.digest(spec.path)) if spec else None, **record)
        reporting.write_report(staging, written, spec.records if spec else ())
        memory_plan.write(plan, staging)
        document.write(written, staging / manifest.NAME)
        move_in(staging, output)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or output}: {error.strerror}; free the disk or choose another --output") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for name in [executable.path for executable in executables] + [archive.path for archive in archives]:
        cache.digest(output / name)  # so that the next run need not read them


def move_in(staging: Path, output: Path) -> None:
    """Replace the files of `output` by those of `staging`, the manifest last: a folder with a manifest is whole."""
    output.mkdir(parents=True, exist_ok=True)
    (output / manifest.NAME).unlink(missing_ok=True)
    for file in sorted(staging.iterdir(), key=lambda path: path.name == manifest.NAME):
        file.replace(output / file.name)


def unchanged(output: Path, key: str, cache: Cache) -> bool:
    """Whether `output` already holds the build `key`, every file as the manifest says."""
    try:
        found = manifest.read(output)
        files = [(e.path, e.sha256) for e in found.executables] + [(a.path, a.sha256) for a in found.parameter_archives]
        return (found.key == key and all(cache.digest(output / path) == sha256 for path, sha256 in files) and
                all((output / name).is_file() for e in found.executables for name in (e.command, e.dispatches or e.command)) and
                all((output / name).is_file() for name in (match_report.NAME, memory_plan.NAME)))
    except PipelineError:  # absent, damaged or of another release: made again
        return False



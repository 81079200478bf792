"""What the compiler tells of each dispatch while it compiles, kept as one zip beside the executable: <name>.dispatches.zip.

    configured/<dispatch>.mlir   after the choice of a configuration, before code generation
    benchmark/<dispatch>.mlir    a stand-alone program of the dispatch, its configuration baked in
    assembly/*, object/*         GPUs: text (.rocmasm, .ptx) and code objects (.hsaco), one for all kernels unless unlinked
    stream.mlir                  functions and their dispatches in program order: how often each is launched
    statistics.json              the scheduler's totals: transient memory, launches
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from ireeperf.errors import CompileError

SUFFIX = ".dispatches.zip"
STREAM, STATISTICS = "stream.mlir", "statistics.json"
_EXPORT = re.compile(r"hal\.executable\.export public @(?:\"([^\"]+)\"|([\w$.]+))")
_KEPT = re.compile(r"^ {0,4}(?:util\.(?:func|initializer)\b|\})|stream\.cmd\.dispatch\b")
_BINARIES = {".rocmasm": "assembly", ".ptx": "assembly", ".hsaco": "object"}


def flags(folder: Path, whole: bool = False) -> list[str]:
    """Compiler flags that write the dumps into `folder`; none of them changes the executable. `whole`: constants in full, for the flag that
    leaves them out does so in what the compiler writes as text, too."""
    return [
        f"--iree-hal-dump-executable-configurations-to={folder / 'configured'}",
        f"--iree-hal-dump-executable-benchmarks-to={folder / 'benchmark'}",
        f"--iree-hal-dump-executable-intermediates-to={folder / 'files'}",
        f"--iree-hal-dump-executable-binaries-to={folder / 'files'}",
        f"--dump-compilation-phases-to={folder / 'phases'}",
        "--iree-scheduling-dump-statistics-format=json",
        f"--iree-scheduling-dump-statistics-file={folder / STATISTICS}",
        *([] if whole else ["--mlir-elide-elementsattrs-if-larger=8"]),  # of constants in the dumps
    ]


def pack(folder: Path, output: Path) -> None:
    """Write `output` from the dumps in `folder`."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for kind in ("configured", "benchmark"):
            for file in sorted((folder / kind).glob("*.mlir")):
                text = file.read_text()
                for name in exports(text):
                    archive.writestr(f"{kind}/{name}.mlir", text)
        for file in sorted((folder / "files").glob("*")):
            if file.suffix in _BINARIES:
                archive.write(file, f"{_BINARIES[file.suffix]}/{file.name}")
        for file in sorted((folder / "phases").glob("*.stream.mlir")):
            with file.open() as lines:
                archive.writestr(STREAM, "".join(kept(lines)))
        if (folder / STATISTICS).is_file():
            archive.write(folder / STATISTICS, STATISTICS)


def exports(text: str) -> list[str]:
    """Names of the dispatches that an executable's dump exports; almost always one."""
    return [quoted or plain for quoted, plain in _EXPORT.findall(text)]


def kept(lines: Iterable[str]) -> Iterator[str]:
    """Of the stream phase: where functions begin and end, and the launches."""
    return (line[:400].rstrip("\n") + "\n" for line in lines if _KEPT.search(line))


def read(path: Path, name: str) -> bytes:
    """One member of a dump; CompileError when the zip or the member is absent or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CompileError(f"cannot read {name} of {path}: {error}; compile again with ./compile/precompile.py") from error


def names(path: Path, kind: str) -> list[str]:
    """Members below `kind`/ (configured, benchmark, assembly, object) without the folder; CompileError when the zip cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removeprefix(f"{kind}/") for name in archive.namelist() if name.startswith(f"{kind}/")]
    except (OSError, zipfile.BadZipFile) as error:
        raise CompileError(f"cannot read {path}: {error}; compile again with ./compile/precompile.py") from error

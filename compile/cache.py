"""The content-addressed store below IREE_BUILD_DIR: exports, executables, and the digests of files that have not changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ireeperf import document
from ireeperf.errors import CompileError

ROOT = Path(__file__).resolve().parents[1]


def build_root() -> Path:
    """build/ of the checkout; of the working directory when installed as a wheel."""
    return (ROOT if (ROOT / ".git").exists() or (ROOT / "pyproject.toml").exists() else Path.cwd()) / "build"


def key_of(content: Any) -> str:
    """sha256 of plain JSON values, hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Cache:
    """One folder: export/<key>/, executable/<key>/, digests.json. Entries appear whole, by rename."""

    def __init__(self, folder: Path | None = None) -> None:
        chosen = folder or Path(os.environ.get("IREE_BUILD_DIR") or build_root() / "cache")
        self.folder = chosen.resolve()
        self._memory = self.folder / "digests.json"
        try:
            self._digests: dict[str, list[Any]] = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            self._digests = {}
        self._changed = False

    def digest(self, file: Path) -> str:
        """sha256 of `file`; remembered until its size, time or inode changes, for checkpoints are large."""
        path = str(file.resolve())
        try:
            stat = file.stat()
        except OSError as error:
            raise CompileError(f"cannot read {file}: {error.strerror}") from error
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._digests.get(path)
        if known is None or known[:3] != stamp:
            self._digests[path] = known = [*stamp, document.digest(file)]
            self._changed = True
        return str(known[3])

    def remember(self) -> None:
        """Keep the digests for the next run."""
        if self._changed:
            kept = {path: entry for path, entry in self._digests.items() if Path(path).exists()}
            document.write_text(self._memory, json.dumps(kept))
            self._changed = False

    def entry(self, kind: str, key: str) -> Path | None:
        """The folder of a complete, unchanged entry, or None. A damaged one is removed."""
        folder = self.folder / kind / key
        if not folder.is_dir():
            return None
        try:
            files = json.loads((folder / "entry.json").read_text())["files"]
            if all(self.digest(folder / name) == sha256 for name, sha256 in files.items()):
                return folder
        except (OSError, ValueError, KeyError, CompileError):
            pass
        shutil.rmtree(folder)
        return None

    def details(self, folder: Path) -> dict[str, Any]:
        """What `add` was told of an entry."""
        return dict(json.loads((folder / "entry.json").read_text()))

    def add(self, kind: str, key: str, partial: Path, **details: Any) -> Path:
        """Turn the folder `partial` into an entry, whole or not at all."""
        folder = self.folder / kind / key
        files = {path.name: self.digest(path) for path in sorted(partial.iterdir())}
        document.write_text(partial / "entry.json", json.dumps(details | {"files": files}, indent=2))
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.rename(folder)
        except OSError as error:
            if self.entry(kind, key) is not None:
                return folder  # another process was here first
            raise CompileError(f"cannot write {folder}: {error.strerror}; free the disk or set IREE_BUILD_DIR") from error
        for name in files:  # they keep size, time and inode under their new name: do not hash them again
            self._digests[str(folder / name)] = self._digests.pop(str(partial.resolve() / name))
        return folder

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the same disk, gone afterwards whatever happens."""
        try:
            (self.folder / "partial").mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self.folder / "partial"))
        except OSError as error:
            raise CompileError(f"cannot write {self.folder}: {error.strerror}; free the disk or set IREE_BUILD_DIR") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

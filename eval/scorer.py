"""Scorer: which networks and files a model's images are scored with. Data in eval/scorers/<model>.json.

The same code scores the rehearsal model and MLPerf's; only these files differ.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError, ScoreError

REPOSITORY = Path(__file__).resolve().parents[1]
SCORERS = Path(__file__).resolve().parent / "scorers"
WEIGHTS = Path("build/weights")  # where files that the user must bring are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringFile:
    """One file a score depends on."""

    place: Literal["repository", "package", "weights"]  # checkout, installed Python package, the user's --weights folder
    path: str  # relative to the place; of a package: below site-packages
    checksum: str  # "sha256:<hex>", a prefix is enough, or "git-blob-sha1:<hex>"
    source: str  # who publishes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Networks by name and the files they load, by role."""

    schema_version: ClassVar[int] = 1
    model: str  # SampleSet.model
    clip: Literal["open-clip-folder", "openai-vit-b-32"]
    fid: Literal["efficientnet-lite0", "inception-v3"]
    files: dict[str, ScoringFile]  # roles: clip, clip_config, clip_..., fid, statistics


def of_model(model: str) -> Scorer:
    """The scorer of `model`; ConfigError names the models there are."""
    path = SCORERS / f"{model}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SCORERS.glob("*.json")))
        raise ConfigError(f"no scorer for model {model!r}; eval/scorers has {known}")
    return read(path)


def read(path: Path) -> Scorer:
    """Read a scorer; ConfigError when malformed."""
    return document.read(Scorer, path)


def locate(scorer: Scorer, weights: Path = WEIGHTS) -> dict[str, Path]:
    """Path of every file by role, checksums compared.

    MissingFileError lists all that are absent, each with checksum and source; ScoreError when one has another content.
    """
    paths = {role: _path(file, weights) for role, file in scorer.files.items()}
    absent = [role for role, path in paths.items() if not path.is_file()]
    if absent:
        lines = [f"  {paths[role]}\n    {scorer.files[role].checksum}\n    from {scorer.files[role].source}" for role in absent]
        raise MissingFileError(f"scoring {scorer.model} needs {len(absent)} more file(s); put them there or give "
                               "their folder with --weights:\n" + "\n".join(lines))
    for role, path in paths.items():
        wanted = scorer.files[role].checksum
        if not checksum(path, wanted.partition(":")[0]).startswith(wanted):
            raise ScoreError(f"{path} is not the file that scores are made with: wanted {wanted}, "
                             f"found {checksum(path, wanted.partition(':')[0])}; get it from {scorer.files[role].source}")
    return paths


def checksum(path: Path, kind: str) -> str:
    """ "sha256:<hex>" or "git-blob-sha1:<hex>" of a file."""
    if kind == "git-blob-sha1":
        state = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        state.update(path.read_bytes())
        return f"{kind}:{state.hexdigest()}"
    return f"sha256:{document.digest(path)}"


def _path(file: ScoringFile, weights: Path) -> Path:
    if file.place == "repository":
        return REPOSITORY / file.path
    if file.place == "weights":
        return weights / file.path
    package, _, rest = file.path.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return Path("site-packages") / file.path  # absent: reported with the name that pip would give it
    return Path(spec.origin).parent / rest

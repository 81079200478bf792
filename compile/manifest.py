"""Manifest: what one compile wrote. Paths are relative to the manifest's folder, so a build can be moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from export.decoder_config import DecoderConfig
from export.model_config import ModelConfig
from export.model_json import Model
from ireeperf import document
from ireeperf.errors import ManifestError

NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """One compiled module (.vmfb) at one batch size, with its exported functions."""

    module: str  # key in ModelConfig.batch_sizes: clip, scheduled_unet, vae; or decoder
    module_name: str  # name inside the .vmfb: compiled_clip
    entry_points: tuple[str, ...]
    batch_size: int
    path: str
    sha256: str
    command: str  # file beside the .vmfb with the command line that made it
    seconds: float  # compile wall time; 0 when taken from the cache
    dispatches: str | None = None  # what the compiler told of each dispatch (compile/dumps.py); None: not kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterArchive:
    """Weights beside an executable, mapped under `scope`."""

    module: str
    path: str
    sha256: str
    bytes: int
    scope: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The tuning spec given to the compiler."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a device needs to run a model, and how it was made."""

    schema_version: ClassVar[int] = 1
    key: str  # content address: MLIR, flags, spec, compiler version
    created_utc: str
    model: Model
    model_json: str  # as given
    checkpoint: str  # as given: folder, or "none" for a graph without weights
    target: str  # compile/target.py: cpu, mi325x-cpx, ...
    driver: str  # iree.runtime driver: local-task, hip, cuda
    compiler_version: str
    executables: tuple[Executable, ...]
    parameter_archives: tuple[ParameterArchive, ...]
    spec: Spec | None
    stage_seconds: dict[str, float]  # export, compile, ...: wall time of each stage of the build that wrote this

    @property
    def decodes(self) -> bool:
        """Whether it is a decoder's build."""
        return isinstance(self.model, DecoderConfig)

    @property
    def images(self) -> ModelConfig:
        """The model of an SDXL build; ManifestError when it is a decoder's."""
        if not isinstance(self.model, ModelConfig):
            raise ManifestError(f"the build of {self.model.model} is a decoder's, it draws no images; give --manifest a build of SDXL")
        return self.model

    @property
    def decoder(self) -> DecoderConfig:
        """The model of a decoder's build; ManifestError when it draws images."""
        if not isinstance(self.model, DecoderConfig):
            raise ManifestError(f"the build of {self.model.model} draws images, it is no decoder's; give --manifest a build of a decoder")
        return self.model

    def executable(self, module: str, batch_size: int) -> Executable:
        """The executable of `module` at `batch_size`; ManifestError names the sizes there are."""
        sizes = {e.batch_size: e for e in self.executables if e.module == module}
        if batch_size not in sizes:
            raise ManifestError(f"{module} was not compiled for batch size {batch_size}; this build has {sorted(sizes)}")
        return sizes[batch_size]

    def archive(self, module: str) -> ParameterArchive | None:
        """The parameter archive of `module`, or None when the build has no weights."""
        return next((a for a in self.parameter_archives if a.module == module), None)


def read(path: Path) -> Manifest:
    """Read `path` (the file, or the folder that holds manifest.json)."""
    return document.read(Manifest, path / NAME if path.is_dir() else path)


def check_file(folder: Path, path: str, sha256: str) -> Path:
    """The file `path` of a build in `folder`, after comparing its digest; ManifestError when absent or changed."""
    file = folder / path
    if not file.is_file():
        raise ManifestError(f"{file} is missing; compile again with ./compile/precompile.py")
    if (found := document.digest(file)) != sha256:
        raise ManifestError(f"{file} has sha256 {found[:12]}, the manifest says {sha256[:12]}: it is corrupt or was "
                            "changed; delete the build and compile again with ./compile/precompile.py")
    return file

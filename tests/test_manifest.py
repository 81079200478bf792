"""Manifests: looked up by module and batch size, and the files they name are the files that were built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compile import manifest
from compile.manifest import Executable, Manifest, ParameterArchive
from export import model_config
from ireeperf import document
from ireeperf.errors import ManifestError

CONFIG = Path(__file__).resolve().parents[1] / "export" / "configs" / "sdxl_nano_bs2.json"


def a_manifest() -> Manifest:
    executables = tuple(Executable(module="clip", module_name="compiled_clip", entry_points=("encode_prompts",), batch_size=size,
                                   path=f"clip_bs{size}.vmfb", sha256="0" * 64, command=f"clip_bs{size}.txt", seconds=1.5)
                        for size in (2, 8))
    return Manifest(key="0123456789abcdef", created_utc="2026-11-23T00:00:00+00:00", model=model_config.read(CONFIG),
                    model_json="sdxl_nano_bs2.json", checkpoint="none", target="cpu", driver="local-task", compiler_version="3.13.0",
                    executables=executables, parameter_archives=(ParameterArchive(module="vae", path="vae.irpa", sha256="1" * 64, bytes=5),),
                    spec=None, stage_seconds={"compile": 2.0})


def test_round_trip_by_folder_and_by_file(tmp_path):
    document.write(a_manifest(), tmp_path / manifest.NAME)
    assert manifest.read(tmp_path) == manifest.read(tmp_path / manifest.NAME) == a_manifest()


def test_executable_by_batch_size():
    assert a_manifest().executable("clip", 8).path == "clip_bs8.vmfb"
    with pytest.raises(ManifestError, match=r"clip was not compiled for batch size 4; this build has \[2, 8\]"):
        a_manifest().executable("clip", 4)
    with pytest.raises(ManifestError, match=r"vae was not compiled for batch size 2; this build has \[\]"):
        a_manifest().executable("vae", 2)


def test_archive_or_none():
    assert a_manifest().archive("vae").bytes == 5
    assert a_manifest().archive("clip") is None
    assert replace(a_manifest(), parameter_archives=()).archive("vae") is None


def test_files_are_compared(tmp_path):
    file = tmp_path / "clip_bs2.vmfb"
    file.write_bytes(b"abc")
    assert manifest.check_file(tmp_path, file.name, document.digest(file)) == file
    with pytest.raises(ManifestError, match="corrupt or was changed; delete the build"):
        manifest.check_file(tmp_path, file.name, "0" * 64)
    with pytest.raises(ManifestError, match="is missing; compile again"):
        manifest.check_file(tmp_path, "absent.vmfb", "0" * 64)

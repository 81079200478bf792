"""harness.inputs: what does not fit is refused before a device opens or a folder is made."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from compile.manifest import NAME
from harness import inputs
from harness.settings import RunSettings, parse
from ireeperf import document
from ireeperf.errors import ConfigError, ManifestError, MissingFileError, PipelineError, RunError
from tests import tiny_build

NOW = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a build (no executables: nothing here opens one) and its samples."""
    monkeypatch.chdir(tmp_path)
    tiny_build.write(tmp_path, compiled=False)
    return tmp_path


def settings(*argv: str) -> RunSettings:
    return parse("offline", argv)


def resolve(*argv: str) -> inputs.Inputs:
    return inputs.resolve(settings(*argv), "Offline", NOW)


def test_no_argument_takes_the_newest_build_and_its_samples(folder: Path) -> None:
    older = folder / "build" / "older"
    shutil.copytree(folder / "build" / "tiny", older)
    os.utime(older / NAME, (1, 1))
    found = resolve()
    assert found.manifest_path == Path("build/tiny") / NAME
    assert found.samples_path == Path("build/samples/tiny-64.npz") and len(found.samples) == 40
    assert found.batch_size == 4 and found.user_conf.name == "sdxl-nano.conf"
    assert found.output == Path("runs/20261124T010203Z-offline-performance-01234567")


def test_a_build_is_given_as_folder_or_file(folder: Path) -> None:
    assert resolve("--manifest", "build/tiny").manifest_path == resolve("--manifest", "build/tiny/manifest.json").manifest_path


def test_the_run_draws_the_compiled_sizes_up_to_its_batch_size_or_just_that_one(folder: Path) -> None:
    assert resolve().sizes == (2, 4) and resolve("--batch-size", "2").sizes == (2,)
    assert resolve("--deterministic-batch").sizes == (4,)


def test_sample_count_takes_the_first(folder: Path) -> None:
    found = resolve("--sample-count", "7")
    assert found.samples.captions == tuple(f"sample {i}" for i in range(7))


def rewrite(folder: Path, **model: object) -> None:
    manifest = tiny_build.manifest(dataclasses.replace(tiny_build.model(), **model))  # type: ignore[arg-type]
    document.write(manifest, folder / "build" / "tiny" / NAME)


def no_build(folder: Path) -> None:
    (folder / "build" / "tiny" / NAME).unlink()


def no_samples(folder: Path) -> None:
    (folder / "build" / "samples" / "tiny-64.npz").unlink()


def cut_samples(folder: Path) -> None:
    path = folder / "build" / "samples" / "tiny-64.npz"
    path.write_bytes(path.read_bytes()[:-200])


def other_latents(folder: Path) -> None:
    samples = dataclasses.replace(tiny_build.samples(8), latents=np.zeros((1, 4, 16, 16), np.float32))
    samples.write(folder / "build" / "samples" / "tiny-64.npz")


def bad_manifest(folder: Path) -> None:
    (folder / "build" / "tiny" / NAME).write_text('{"key": 1')


def audit(folder: Path) -> None:
    (folder / "audit.config").touch()


def other_length(folder: Path) -> None:
    rewrite(folder, max_seq_len=77)
    shutil.copyfile(folder / "build" / "samples" / "tiny-64.npz", folder / "build" / "samples" / "tiny-77.npz")


def other_model(folder: Path) -> None:
    rewrite(folder, model="another")
    shutil.copyfile(folder / "build" / "samples" / "tiny-64.npz", folder / "build" / "samples" / "another-64.npz")


def other_key(folder: Path) -> None:
    rewrite(folder, loadgen_model="resnet50")


@pytest.mark.parametrize(("damage", "argv", "error", "words"), [
    (no_build, [], MissingFileError, r"no build/\*/manifest.json in .*; compile with ./compile/precompile.py"),
    (bad_manifest, [], ConfigError, r"manifest\.json is not valid JSON"),
    (None, ["--manifest", "nowhere"], ConfigError, r"cannot read nowhere: No such file"),
    (None, ["--batch-size", "3"], ManifestError, r"--batch-size 3 was not compiled; this build has \[2, 4\]"),
    (None, ["--sample-count", "41"], ConfigError, "41 samples asked of tiny, which has 40"),
    (no_samples, [], ConfigError, r"tiny-64\.npz does not exist; make it with python -m export\.samples"),
    (cut_samples, [], ConfigError, "is not a sample set .*; make it again with python -m export.samples"),
    (other_length, [], ManifestError, "max_seq_len 64, the build needs 77"),
    (other_model, [], ManifestError, "model tiny, the build needs another"),
    (other_latents, [], ManifestError, r"latent shape \(1, 4, 16, 16\), the build needs \(1, 4, 2, 2\)"),
    (other_key, [], MissingFileError, r"resnet50\.conf does not exist; .*--user-conf"),
    (audit, [], RunError, r"audit\.config would turn this into a compliance run; remove it"),
])
def test_what_does_not_fit_is_refused_and_leaves_nothing(folder: Path, damage: object, argv: list[str],
                                                         error: type[PipelineError], words: str) -> None:
    if callable(damage):
        damage(folder)
    with pytest.raises(error, match=words):
        resolve(*argv)
    assert not (folder / "runs").exists()


def test_the_accuracy_log_is_measured_against_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    digits = 40 * 2 * 16 * 16 * 3
    monkeypatch.setattr(inputs.shutil, "disk_usage", lambda _: usage(10**12, 10**12, digits))
    with pytest.raises(RunError, match=r"the accuracy log of 40 samples needs .* GB free; free the disk, use --output"):
        resolve("--mode", "accuracy")
    resolve("--mode", "performance")  # logs no images
    assert resolve().data_digits == digits and resolve().log_bytes > digits


def test_the_estimate_for_mlperfs_sdxl_is_31_gb() -> None:
    model = dataclasses.replace(tiny_build.model(), dims=((1024, 1024),), model="sdxl-base-1.0")
    found = inputs.Inputs(manifest_path=Path("m"), manifest=tiny_build.manifest(model), samples_path=Path("s"),
                          samples=tiny_build.samples(5000), user_conf=Path("u"), batch_size=4, sizes=(2, 4), output=Path("o"))
    assert 31e9 < found.log_bytes < 32e9  # MLPERF_RULES: logs of 31 GB


def test_a_run_folder_is_new(tmp_path: Path) -> None:
    inputs.make_folder(tmp_path / "a" / "b")
    inputs.make_folder(tmp_path / "a" / "b")  # empty is as good as new
    (tmp_path / "a" / "b" / "result.json").touch()
    with pytest.raises(ConfigError, match="is not empty; one folder holds one run"):
        inputs.make_folder(tmp_path / "a" / "b")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write the run folder .*file/run: .*choose another with --output"):
        inputs.make_folder(tmp_path / "file" / "run")

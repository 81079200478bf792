"""runtime.iree_device: what cannot run is refused in one clear line, and devices are independent."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from compile import manifest as manifests
from compile.manifest import Manifest
from ireeperf import document
from ireeperf.errors import DeviceError, ManifestError
from runtime.batch import Batch, Sample
from runtime.iree_device import Build, HostBudget, IreeEngine, check_build, host_budget
from runtime.iree_driver import thread_cpu_seconds
from tests import tiny_build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the compiled build, to damage."""
    return Path(shutil.copytree(tiny_build.shared(), tmp_path / "tiny"))


def build_of(folder: Path) -> Build:
    return check_build(folder, manifests.read(folder), (2, 4))


def engine(build: Build, uri: str = "local-sync://0") -> IreeEngine:
    return IreeEngine(uri, build, tiny_build.samples(40), 1)


def changed(manifest: Manifest, folder: Path, module: str) -> Manifest:
    """`manifest` with the digests of `module` as they are on disk now."""
    return dataclasses.replace(
        manifest,
        executables=tuple(dataclasses.replace(e, sha256=document.digest(folder / e.path)) if e.module == module else e
                          for e in manifest.executables),
        parameter_archives=tuple(dataclasses.replace(a, sha256=document.digest(folder / a.path)) if a.module == module else a
                                 for a in manifest.parameter_archives))


def test_only_the_sizes_up_to_the_runs_are_used() -> None:
    folder = tiny_build.shared()
    build = check_build(folder, manifests.read(folder), (2,))
    assert build.sizes == (2,) and set(build.executables) == {("clip", 2), ("scheduled_unet", 2), ("vae", 2)}


def test_weights_are_counted_once_for_each_executable_that_loads_them() -> None:
    folder = tiny_build.shared()
    archive = {name: (folder / f"{name}.irpa").stat().st_size for name in ("clip", "scheduled_unet", "vae")}
    one = archive["clip"] + archive["scheduled_unet"]
    assert check_build(folder, manifests.read(folder), (2,)).weight_bytes == one + archive["vae"]
    assert build_of(folder).weight_bytes == 2 * one + archive["vae"]  # the VAE has one size


def test_what_was_not_measured_has_no_budget() -> None:
    assert host_budget("cuda", 2) is None
    assert host_budget("local-sync", 64) == HostBudget(pinned_bytes=0, threads=0)
    assert host_budget("hip", 8) == HostBudget(pinned_bytes=2**30, threads=32)


@pytest.mark.parametrize("name", ["scheduled_unet_bs4.vmfb", "vae.irpa"])
def test_a_flipped_byte_is_found_by_digest(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ManifestError, match=rf"{name} has sha256 .* corrupt or was changed; delete the build and compile again"):
        build_of(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "clip_bs2.vmfb").unlink()
    with pytest.raises(ManifestError, match=r"clip_bs2\.vmfb is missing; compile again"):
        build_of(folder)


def test_an_executable_of_another_compiler_is_refused(folder: Path) -> None:
    manifest = dataclasses.replace(manifests.read(folder), compiler_version="3.9.0rc20250101")
    with pytest.raises(ManifestError, match=r"made by iree-compile 3\.9\.0rc20250101, this environment has iree-base-runtime 3\..*;"
                                            " compile again"):
        check_build(folder, manifest, (2, 4))


def test_a_build_without_weights_is_refused(folder: Path) -> None:
    manifest = dataclasses.replace(manifests.read(folder), parameter_archives=(), checkpoint="none")
    with pytest.raises(ManifestError, match=r"no weights for clip \(checkpoint 'none'\); compile with --checkpoint"):
        check_build(folder, manifest, (2, 4))


def test_a_file_that_is_no_executable_is_named(folder: Path) -> None:
    (folder / "clip_bs2.vmfb").write_bytes(b"no flatbuffer" * 400)
    build = check_build(folder, changed(manifests.read(folder), folder, "clip"), (2, 4))
    with pytest.raises(ManifestError, match=r"cannot load .*clip_bs2\.vmfb .*INVALID_ARGUMENT.*compile again"):
        engine(build).open()


def test_a_file_that_is_no_archive_is_named(folder: Path) -> None:
    (folder / "vae.irpa").write_bytes(b"x" * 4096)
    build = check_build(folder, changed(manifests.read(folder), folder, "vae"), (2, 4))
    with pytest.raises(ManifestError, match=r"vae\.irpa is not a parameter archive .*magic.*compile again"):
        engine(build).open()


def test_an_archive_of_another_model_is_refused(folder: Path) -> None:
    import iree.runtime as rt

    index = rt.ParameterIndex()
    index.add_buffer("another", np.zeros((), np.float32))
    index.create_archive_file(str(folder / "vae.irpa"))
    build = check_build(folder, changed(manifests.read(folder), folder, "vae"), (2, 4))
    with pytest.raises(ManifestError, match=r"cannot load .*vae_bs2\.vmfb .*NOT_FOUND.*compile again"):
        engine(build).open()


def test_an_executable_without_the_entry_point_is_refused(folder: Path) -> None:
    for size in (2, 4):
        shutil.copyfile(folder / f"clip_bs{size}.vmfb", folder / f"scheduled_unet_bs{size}.vmfb")
    build = check_build(folder, changed(manifests.read(folder), folder, "scheduled_unet"), (2, 4))
    with pytest.raises(ManifestError, match=r"has no entry point run_initialize; it has .*encode_prompts"):
        engine(build).open()


def test_a_driver_that_this_machine_lacks_is_one_line() -> None:
    with pytest.raises(DeviceError, match=r"^cannot open no-such-driver://0: .*no driver 'no-such-driver' registered; see ./scripts/doctor"):
        engine(build_of(tiny_build.shared()), "no-such-driver://0").open()


def test_devices_have_drivers_of_their_own_and_their_cpu_time_is_counted() -> None:
    """Cached drivers would share one executor: the second device would then bring no worker thread."""
    build = build_of(tiny_build.shared())
    engines = [engine(build, f"local-task://{i}") for i in range(2)]
    for one in engines:
        one.open()
        one.warm_up(4)
    assert all(one._workers for one in engines) and not engines[0]._workers & engines[1]._workers
    before = [sum(map(thread_cpu_seconds, one._workers)) for one in engines]
    for ticket in range(50):
        engines[0].run(Batch(ticket=ticket, samples=(Sample(0, 1), Sample(0, 2)), size=2))
    after = [sum(map(thread_cpu_seconds, one._workers)) for one in engines]
    assert before[0] < after[0] <= engines[0].executable_cpu_seconds()
    assert before[1] > 0

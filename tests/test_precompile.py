"""precompile: cache, keys and manifest. The exporter is a fake that writes three small modules; iree-compile is real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compile import compiler, exporting, manifest, precompile
from compile.cache import ROOT, Cache
from export.model_config import MODULES, ModelConfig
from ireeperf import document
from ireeperf.errors import ManifestError
from tests.fake_export import CONFIG, Exporter, save_checkpoint, settings


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Exporter:
    monkeypatch.setenv("IREE_BUILD_DIR", str(tmp_path / "cache"))
    fake = Exporter()
    monkeypatch.setattr(exporting, "run_exporter", fake)
    return fake


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "checkpoint")


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a subprocess was started")


def test_a_build_has_a_manifest_whose_files_are_all_there(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    output, key, figures = precompile.build(settings(tmp_path, checkpoint))
    written = manifest.read(output)
    assert figures["compiled"] == 3 and written.key == key
    assert [(e.module, e.batch_size, e.module_name) for e in written.executables] == [
        ("clip", 2, "compiled_clip"), ("scheduled_unet", 2, "compiled_spunet"), ("vae", 2, "compiled_vae")]
    for file in (*written.executables, *written.parameter_archives):
        assert manifest.check_file(output, file.path, file.sha256).stat().st_size > 0
    assert written.archive("vae").bytes == (output / "vae.irpa").stat().st_size  # type: ignore[union-attr]
    assert (written.target, written.driver, written.spec) == ("cpu", "local-task", None)
    assert set(written.stage_seconds) == {"export", "compile"} and written.executables[0].seconds > 0
    command = (output / written.executables[0].command).read_text()
    assert "--iree-llvmcpu-target-cpu=host" in command and f"iree-base-compiler {written.compiler_version}" in command


def test_a_second_run_starts_no_process_and_writes_nothing(exporter: Exporter, checkpoint: Path, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    output, key, _ = precompile.build(settings(tmp_path, checkpoint))
    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(document, "digest", refuse)  # nor is any file hashed again
    _, again, figures = precompile.build(settings(tmp_path, checkpoint))
    assert again == key and figures["unchanged"] and figures["compiled"] == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    assert len(exporter.asked) == 1


def test_the_path_of_a_second_run_imports_neither_torch_nor_a_compiler() -> None:
    code = ("import sys; import compile.precompile; heavy = {'torch', 'numpy', 'iree.compiler', 'iree.runtime', 'diffusers'} "
            "& set(sys.modules); sys.exit(f'imported {heavy}' if heavy else 0)")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_another_folder_gets_the_same_files_without_a_compile(exporter: Exporter, checkpoint: Path, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    precompile.build(settings(tmp_path, checkpoint))
    monkeypatch.setattr(subprocess, "Popen", refuse)
    output, _, figures = precompile.build(settings(tmp_path, checkpoint, output=tmp_path / "other"))
    assert figures["compiled"] == 0 and manifest.read(output).executables[0].seconds == 0


def test_new_weights_export_and_compile_only_what_they_touch(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    _, first, _ = precompile.build(settings(tmp_path, checkpoint))
    (checkpoint / "unet/config.json").write_text('{"of": "a wider unet"}')
    _, second, figures = precompile.build(settings(tmp_path, checkpoint))
    assert exporter.asked == [list(MODULES), ["scheduled_unet"]]
    assert figures["compiled"] == 0 and first != second  # the same graph: only the archive is new
    assert (tmp_path / "build/scheduled_unet.irpa").read_text() == '{"of": "a wider unet"}'


def test_a_file_of_the_build_that_was_changed_is_put_right(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    output, _, _ = precompile.build(settings(tmp_path, checkpoint))
    (output / "compiled_vae_bs2.vmfb").write_bytes(b"damaged")
    executable = manifest.read(output).executable("vae", 2)
    with pytest.raises(ManifestError, match="is corrupt"):
        manifest.check_file(output, executable.path, executable.sha256)
    _, _, figures = precompile.build(settings(tmp_path, checkpoint))
    assert figures["compiled"] == 0 and not figures["unchanged"]  # the cache holds a copy of its own
    manifest.check_file(output, executable.path, executable.sha256)


def test_a_damaged_cache_entry_is_made_again(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    precompile.build(settings(tmp_path, checkpoint))
    victim = next((tmp_path / "cache/executable").glob("*/compiled_vae_bs2.vmfb"))
    victim.write_bytes(b"damaged")
    _, _, figures = precompile.build(settings(tmp_path, checkpoint))
    assert figures["compiled"] == 1 and victim.read_bytes() != b"damaged"


def test_the_key_changes_with_the_spec_text_the_target_and_the_compiler(exporter: Exporter, checkpoint: Path, tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    config, spec, cache = document.read(ModelConfig, CONFIG), tmp_path / "spec.mlir", Cache()
    exported = exporting.export_all(config, CONFIG, str(checkpoint), cache)

    def key(target: str, given: Path | None) -> str:
        return precompile.units_of(exported, precompile.target.find(target), given, cache)[0].key

    spec.write_text("module {}")
    first = key("cpu", spec)
    assert key("cpu", spec) == first
    moved = tmp_path / "moved.mlir"
    moved.write_text("module {}")
    assert key("cpu", moved) == first  # its text counts, not its place
    spec.write_text("module { }")
    assert len({first, key("cpu", spec), key("cpu", None), key("cpu-avx2", None), key("gfx942", None)}) == 5
    monkeypatch.setattr(compiler, "compiler_version", lambda: "3.14.0")
    assert key("cpu", moved) != first


def test_the_model_json_is_never_written(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    model_json = tmp_path / "sdxl_nano_bs2.json"
    model_json.write_bytes(CONFIG.read_bytes())
    model_json.chmod(0o444)
    stamp = model_json.stat().st_mtime_ns
    precompile.build(settings(tmp_path, checkpoint, model_json=model_json))
    assert model_json.stat().st_mtime_ns == stamp and model_json.read_bytes() == CONFIG.read_bytes()

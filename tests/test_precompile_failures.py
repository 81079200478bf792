"""precompile: refusals, compiler failures, interrupts and the command line. The exporter is a fake; iree-compile is mostly real."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from compile import compiler, exporting, manifest, precompile
from compile.cache import ROOT, Cache
from export.model_config import ModelConfig
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError, ExportError, MissingFileError
from tests.fake_export import CONFIG, Exporter, save_checkpoint, settings

PRECOMPILE = str(ROOT / "compile/precompile.py")


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Exporter:
    monkeypatch.setenv("IREE_BUILD_DIR", str(tmp_path / "cache"))
    fake = Exporter()
    monkeypatch.setattr(exporting, "run_exporter", fake)
    return fake


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "checkpoint")


def test_a_failure_names_module_operation_source_line_and_command(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    exporter.operation = "math.no_such_operation %x"
    with pytest.raises(CompileError) as caught:
        precompile.build(settings(tmp_path, checkpoint))
    message = str(caught.value)
    assert message.startswith("vae bs2: iree-compile exited with code 1; operation math.no_such_operation")
    assert "vae_bs2.mlir:3: %y = math.no_such_operation %x" in message
    assert "  reproduce: " in message and "--iree-opt-level=O3 -o /dev/null" in message
    log = next((tmp_path / "cache/failed").iterdir())
    assert str(log) in message and "no_such_operation" in log.read_text()
    assert len(message) < 2500, "not a dump"
    assert not (tmp_path / "build").exists() and not any((tmp_path / "cache/partial").iterdir())


def fake_compiler(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "iree-compile"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setattr(compiler, "compiler_path", lambda: path)
    return path


def test_exit_0_without_the_file_is_an_error(exporter: Exporter, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_compiler(tmp_path, "echo wrote a crash reproducer", monkeypatch)
    with pytest.raises(CompileError, match="exited with code 0 without writing the executable; .*wrote a crash reproducer"):
        precompile.build(settings(tmp_path, checkpoint))


def test_a_crash_is_named_by_its_signal(exporter: Exporter, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_compiler(tmp_path, "kill -SEGV $$", monkeypatch)
    with pytest.raises(CompileError, match="was ended by SIGSEGV"):
        precompile.build(settings(tmp_path, checkpoint))


def test_a_failed_exporter_is_an_error(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREE_BUILD_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ExportError, match="exited with code 1"):
        precompile.build(settings(tmp_path, checkpoint))
    assert not any((tmp_path / "cache/partial").iterdir())


@pytest.mark.parametrize(("changes", "error", "text"), [
    ({"td_spec": Path("absent.mlir")}, MissingFileError, "absent.mlir does not exist"),
    ({"checkpoint": "/absent"}, MissingFileError, "checkpoint folder /absent does not exist"),
    ({"target": "gfx1100"}, ConfigError, "'gfx1100' is unknown; known are"),
    ({"jobs": 0}, ConfigError, "--jobs is 0"),
    ({"model_json": Path("absent.json")}, ConfigError, "cannot read absent.json"),
])
def test_bad_input_is_refused_with_value_and_remedy(exporter: Exporter, checkpoint: Path, tmp_path: Path, changes: dict[str, object],
                                                    error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        precompile.build(settings(tmp_path, checkpoint, **changes))
    assert not exporter.asked and not (tmp_path / "build").exists()


def test_a_missing_weight_file_is_named(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "unet/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(MissingFileError, match=r"unet/diffusion_pytorch_model.safetensors does not exist .*--checkpoint none"):
        precompile.build(settings(tmp_path, checkpoint))


def test_an_unwritable_output_is_one_line(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write .*choose another --output"):
        precompile.build(settings(tmp_path, checkpoint, output=tmp_path / "file/build"))


def test_on_a_full_disk_the_old_build_is_still_whole(exporter: Exporter, checkpoint: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    output, key, _ = precompile.build(settings(tmp_path, checkpoint))
    (checkpoint / "unet/config.json").write_text('{"of": "a wider unet"}')
    copy, copies = shutil.copyfile, []

    def full(source: Path, destination: Path) -> None:
        copies.append(source)
        if len(copies) > 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(destination))
        copy(source, destination)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ConfigError, match="cannot write .*No space left on device; free the disk or choose another --output"):
        precompile.build(settings(tmp_path, checkpoint))
    old = manifest.read(output)
    assert old.key == key and all(manifest.check_file(output, file.path, file.sha256) for file in (*old.executables, *old.parameter_archives))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build", "cache", "checkpoint"], "nothing half-written"


def run(arguments: Sequence[str], tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PRECOMPILE, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | environment)


def test_the_script_runs_from_any_directory_and_understands_amd_spellings(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    precompile.build(settings(tmp_path, checkpoint, output=tmp_path / "first"))  # fills the cache: the fake exporter is ours only
    spec = tmp_path / "spec_gfx942.mlir"
    spec.write_text("module {}")
    done = run(["--model_json", str(CONFIG), "--checkpoint", "checkpoint", "--output", "second"], tmp_path,
               IREE_BUILD_DIR=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["manifest"] == "second/manifest.json" and last["compiled"] == 0
    assert manifest.read(tmp_path / "second").key == manifest.read(tmp_path / "first").key
    refused = run(["--model_json", str(CONFIG), "--checkpoint", "checkpoint", "--td_spec", str(spec), "--target", "cpu"], tmp_path)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "spec_gfx942.mlir is for gfx942 by its name, --target says cpu" in refused.stderr


def test_an_unknown_key_in_the_model_json_is_one_line_and_exit_2(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(CONFIG.read_text()) | {"batch_size": 2}))
    done = run(["--model-json", str(path), "--checkpoint", "none"], tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "unknown key 'batch_size'" in done.stderr


def test_an_interrupt_ends_the_compilers_and_leaves_nothing_half_written(exporter: Exporter, checkpoint: Path, tmp_path: Path) -> None:
    config, cache = document.read(ModelConfig, CONFIG), Cache()
    exporting.export_all(config, CONFIG, str(checkpoint), cache)
    cache.remember()
    pids = tmp_path / "pids"
    code = ("from pathlib import Path; from compile import compiler, precompile; from ireeperf.errors import exit_code; "
            f"compiler.compiler_path = lambda: Path({str(tmp_path / 'slow')!r}); raise SystemExit(exit_code(precompile.main))")
    (tmp_path / "slow").write_text(f"#!/bin/sh\necho $$ >> {pids}\nfor last; do :; done; echo half > $last\nexec sleep 60\n")
    (tmp_path / "slow").chmod(0o755)
    arguments = ["--model-json", str(CONFIG), "--checkpoint", str(checkpoint), "--output", str(tmp_path / "build"), "--jobs", "2"]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               text=True)
    deadline = time.monotonic() + 60
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130 and words == "interrupted\n"
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not any((tmp_path / "cache/partial").iterdir()) and not (tmp_path / "build").exists()
    assert not (tmp_path / "cache/executable").exists()

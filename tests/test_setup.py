"""scripts/setup: done once per lock, again when the lock changes or it was interrupted; its errors say what to do."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def setup(monkeypatch, tmp_path) -> ModuleType:
    """The script, looking at a checkout in `tmp_path` with an environment whose python only notes what it is asked."""
    loader = importlib.machinery.SourceFileLoader("setup_script", str(ROOT / "scripts" / "setup"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    (tmp_path / "requirements").mkdir()
    for name in ("pip", "torch", "torch-cuda", "build", "smollm2", "test"):
        (tmp_path / f"requirements/{name}.txt").write_text(f"{name}==1\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(module, "STAMPS", tmp_path / ".venv/ireeperf-locks")
    monkeypatch.setattr(sys, "argv", ["scripts/setup"])
    interpreter(module, f'echo "$@" >> {tmp_path}/asked')
    return module


def interpreter(module: ModuleType, body: str) -> None:
    module.PYTHON.parent.mkdir(parents=True, exist_ok=True)
    module.PYTHON.write_text(f"#!/bin/sh\n{body}\n")
    module.PYTHON.chmod(0o755)


def installs(folder: Path) -> list[str]:
    asked = (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []
    return [line.split()[-1] for line in asked if line.startswith("-m pip install")]


def test_once_per_lock(setup, tmp_path, capsys):
    assert setup.main() == 0
    assert installs(tmp_path) == ["requirements/pip.txt", "requirements/torch.txt", "requirements/build.txt", "requirements/smollm2.txt"]
    assert setup.main() == 0
    assert "up to date" in capsys.readouterr().out and len(installs(tmp_path)) == 4, "the second run installs nothing"
    (tmp_path / "requirements/build.txt").write_text("build==2\n")
    assert setup.main() == 0
    assert installs(tmp_path)[4:] == ["requirements/build.txt"], "a changed lock is installed, the others are not"


def test_the_test_lock_is_asked_for(setup, tmp_path, monkeypatch):
    setup.main()
    monkeypatch.setattr(sys, "argv", ["scripts/setup", "--test"])
    setup.main()
    assert installs(tmp_path)[-1] == "requirements/test.txt" and len(installs(tmp_path)) == 5


def test_hashes_are_required_and_nothing_is_resolved(setup, tmp_path):
    setup.main()
    for line in (tmp_path / "asked").read_text().splitlines():
        if line.startswith("-m pip install"):
            assert "--require-hashes" in line and "--no-deps" in line


def test_a_failed_installation_is_done_again(setup, tmp_path):
    interpreter(setup, 'case "$*" in *torch.txt*) echo "ERROR: hashes do not match" >&2; exit 1;; esac')
    with pytest.raises(SystemExit, match="could not install requirements/torch.txt .* PyTorch's CPU wheel index .*scripts/setup --cuda"):
        setup.main()
    assert setup.installed("pip") and not setup.installed("torch")


def test_the_cuda_build_is_asked_for_and_kept(setup, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scripts/setup", "--cuda"])
    setup.main()
    assert installs(tmp_path) == ["requirements/pip.txt", "requirements/torch-cuda.txt", "requirements/build.txt", "requirements/smollm2.txt"]
    monkeypatch.setattr(sys, "argv", ["scripts/setup"])
    capsys.readouterr()
    setup.main()
    assert "up to date" in capsys.readouterr().out, "./scripts/demo, which calls it plainly, does not install the other build"


def test_an_inconsistent_environment_is_refused(setup, tmp_path):
    interpreter(setup, 'case "$*" in *"pip check"*) echo "a 1 requires b, which is not installed."; exit 1;; esac')
    with pytest.raises(SystemExit, match=r"inconsistent; run ./scripts/setup --fresh\n  a 1 requires b"):
        setup.main()


def test_no_python_3_11(setup, monkeypatch):
    monkeypatch.setattr(setup, "version_of", lambda python: "3.12")
    with pytest.raises(SystemExit, match="no Python 3.11 found .* install python3.11 with its venv module"):
        setup.base_interpreter()


def test_version_of(setup, tmp_path):
    assert setup.version_of(sys.executable) == f"{sys.version_info.major}.{sys.version_info.minor}"
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert setup.version_of(str(broken)) == ""


def test_size_is_what_du_says(setup, tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "file").write_bytes(b"x" * 100_000)
    du = int(subprocess.run(["du", "-s", "--block-size=1", str(tmp_path / "folder")], capture_output=True, text=True, check=True)
             .stdout.split()[0])
    assert abs(setup.size_bytes(tmp_path / "folder") - du) <= 8192  # du counts the folder itself

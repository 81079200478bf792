"""The wheel: complete, alone in the name space, and every command line starts from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from ireeperf.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
# started by a command, in another interpreter or from an archive
PROGRAMS = {"compile.bank_padding", "compile.emulator_worker", "compile.tune_archive", "compile.tune_runner"}
STAGES = ("compile", "eval", "export", "harness", "runtime", "specs")


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders], cwd=ROOT,
                            capture_output=True, check=True).stdout.decode()
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: setuptools writes to build/, which is ours."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked("pyproject.toml", "LICENSE", "ireeperf", *STAGES):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(out), "."],
                   cwd=source, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel in it; the dependencies come from the environment of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "-q", "--target", str(folder), str(wheel)],
                   check=True, capture_output=True)
    return folder


def run(command: list[str], cwd: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(command, cwd=cwd, env=environment | {"PYTHONPATH": os.pathsep.join(map(str, path))},
                          capture_output=True, text=True, check=False)


def test_one_top_level_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"ireeperf", next(n.split("/")[0] for n in names if ".dist-info/" in n)}


def test_every_file_of_the_stages_is_in_it(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in tracked(*STAGES) if f"ireeperf/_stages/{name}" not in inside and not name.endswith(".md")]
    assert not missing, f"add to [tool.setuptools.package-data]: {missing}"
    assert set(tracked("ireeperf")) <= inside


def test_nothing_else_is_in_it(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside <= {f"ireeperf/_stages/{name}" for name in tracked(*STAGES)} | set(tracked("ireeperf"))


def test_commands_are_the_ones_there_are():
    found = {name[:-3].replace("/", ".") for name in tracked(*STAGES)
             if name.endswith(".py") and '__name__ == "__main__"' in (ROOT / name).read_text()}
    assert found - PROGRAMS == set(COMMANDS) and found > PROGRAMS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_starts_from_the_wheel(command, installed, tmp_path):
    """Also where another distribution has put a top-level `runtime` and `eval` in front of it."""
    for name in ("runtime", "eval"):
        (tmp_path / "hostile" / name).mkdir(parents=True)
        (tmp_path / "hostile" / name / "__init__.py").write_text("raise SystemExit('the wrong package was imported')")
    result = run([sys.executable, "-m", "ireeperf", command, "--help"], tmp_path, tmp_path / "hostile", installed)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage:")


def test_the_launcher_script(installed, tmp_path):
    result = run([str(installed / "bin" / "ireeperf"), "eval.score", "--help"], tmp_path, installed)
    assert result.returncode == 0 and result.stdout.startswith("usage:"), result.stderr


@pytest.mark.parametrize("arguments, code", [([], 2), (["nonsense"], 2), (["--help"], 0)])
def test_the_launcher_lists_its_commands(arguments, code, tmp_path):
    result = run([sys.executable, "-m", "ireeperf", *arguments], tmp_path, ROOT)
    assert result.returncode == code
    assert all(command in result.stderr for command in COMMANDS) and "Traceback" not in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_starts_from_the_checkout(command):
    result = run([sys.executable, "-m", command, "--help"], ROOT)
    assert result.returncode == 0 and result.stdout.startswith("usage:"), result.stderr


def test_precompile_runs_as_a_file_from_any_directory(tmp_path):
    result = run([sys.executable, str(ROOT / "compile" / "precompile.py"), "--help"], tmp_path)
    assert result.returncode == 0 and result.stdout.startswith("usage:"), result.stderr


def test_base_dependencies_are_empty():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == []
    assert set(project["optional-dependencies"]) == {"build", "harness", "shark", "test"}

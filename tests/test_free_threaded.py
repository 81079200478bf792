"""The harness on free-threaded Python 3.13: a real LoadGen run with the GIL off, its images compared value by value.

Needs .venv-3.13t (./scripts/setup_free_threaded). IREEPERF_REQUIRE_313T=1, as in CI, makes its absence a failure.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness import machine, run_result
from ireeperf.errors import RunError
from tests import tiny_build

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-3.13t" / "bin" / "python"
CONF = "sdxl-nano.Offline.target_qps = 1\nsdxl-nano.Offline.min_duration = 1000\nsdxl-nano.Offline.min_query_count = 1\n"


@pytest.fixture
def python() -> str:
    if not PYTHON.exists():
        if os.environ.get("IREEPERF_REQUIRE_313T"):
            pytest.fail(f"{PYTHON} does not exist; run ./scripts/setup_free_threaded")
        pytest.skip(".venv-3.13t does not exist; make it with ./scripts/setup_free_threaded")
    return str(PYTHON)


def offline(python: str, folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    (folder / "user.conf").write_text(CONF)
    return subprocess.run([python, "-m", "harness.offline", "--user-conf", "user.conf", "--output", "run", *argv], cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHON_GIL": "0"}, text=True, capture_output=True,
                          timeout=120, check=False)


@pytest.mark.loadgen
def test_real_devices_answer_with_the_gil_off(python: str, tmp_path: Path) -> None:
    """Two devices in two threads; the executables were compiled by the ordinary environment's compiler."""
    done = offline(python, tmp_path, "--manifest", str(tiny_build.shared()), "--mode", "accuracy", "--devices", "2")
    assert done.returncode == 0, done.stderr
    result = run_result.read(tmp_path / "run")
    assert result.interpreter.free_threaded and not result.interpreter.gil_enabled
    assert result.interpreter.version.startswith("3.13.")
    assert not json.loads(done.stdout.splitlines()[-1])["gil_enabled"]
    log = json.loads((tmp_path / "run" / "loadgen" / "mlperf_log_accuracy.json").read_text())
    assert sorted(entry["qsl_idx"] for entry in log) == list(range(40))
    for entry in log:
        assert set(bytes.fromhex(entry["data"])) == set(tiny_build.expected([entry["qsl_idx"]]))


@pytest.mark.loadgen
def test_a_performance_run_on_many_null_devices_is_valid(python: str, tmp_path: Path) -> None:
    """Completions from 16 threads at once: LoadGen built with its own pybind11 pin crashed here in 8 of 10 runs."""
    tiny_build.write(tmp_path, compiled=False)
    done = offline(python, tmp_path, "--device", "null", "--devices", "16")
    assert done.returncode == 0, done.stderr
    result = run_result.read(tmp_path / "run")
    assert result.status == "valid" and not result.interpreter.gil_enabled and result.samples_completed == result.samples_issued
    assert result.loadgen["errors"] == []


def test_an_import_that_turns_the_gil_on_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_GIL", "0")
    monkeypatch.setattr(machine.sysconfig, "get_config_var", lambda _: 1)
    monkeypatch.setattr(machine.sys, "_is_gil_enabled", lambda: True, raising=False)
    with pytest.raises(RunError, match="PYTHON_GIL=0 was asked for, but an import turned the GIL on again"):
        machine.interpreter()


def test_an_ordinary_python_says_that_it_has_the_gil() -> None:
    found = machine.interpreter()
    assert found.gil_enabled or found.free_threaded


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    """scripts/setup_free_threaded as a module."""
    loader = importlib.machinery.SourceFileLoader("setup_free_threaded", str(ROOT / "scripts" / "setup_free_threaded"))
    spec = importlib.util.spec_from_loader("setup_free_threaded", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_requirements_are_split_into_wheels_and_loadgen(setup: ModuleType) -> None:
    wheels, sources = setup.split((ROOT / "requirements" / "harness-3.13t.txt").read_text())
    names = {line.split("==")[0] for line in wheels.splitlines() if "==" in line}
    assert names == {"iree-base-runtime", "ml-dtypes", "numpy", "pybind11", "setuptools"}
    assert sources.startswith("mlcommons-loadgen==5.1.1 \\\n    --hash=sha256:") and sources.count("==") == 1
    assert wheels.count("--hash=sha256:") == len(names)


def test_an_ordinary_python_is_not_taken_for_a_free_threaded_one(setup: ModuleType) -> None:
    assert not setup.is_free_threaded(Path(sys.executable))
    assert not setup.is_free_threaded(Path("/no/such/python"))


@pytest.mark.parametrize(("name", "text", "entry"), [
    ("debian.sources", "Types: deb\n# mirror\nURIs: http://m.test/security\nSuites: bookworm-security\nComponents: main\n\n"
     "Types: deb\nURIs: http://m.test/debian\nSuites: bookworm\nComponents: main contrib\nSigned-By: /k.gpg\n",
     ("http://m.test/debian", "/k.gpg")),
    ("debian.list", "deb-src http://m.test/src bookworm main\ndeb [signed-by=/k.gpg] http://m.test/debian bookworm main\n",
     ("http://m.test/debian", "/k.gpg")),
    ("plain.list", "deb http://m.test/debian bookworm main\n", ("http://m.test/debian", None)),
])
def test_the_machines_own_apt_entry_is_used(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str,
                                            entry: tuple[str, str | None]) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / name).write_text(text)
    monkeypatch.setattr(setup, "APT", tmp_path)
    assert setup.apt_entry() == entry


def test_without_a_debian_entry_the_error_says_what_to_do(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(setup, "APT", tmp_path)
    with pytest.raises(setup.SetupError, match="name it with --python"):
        setup.apt_entry()

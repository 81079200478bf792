"""scripts/doctor: what is found here, and what it says when each thing is missing or another one."""

from __future__ import annotations

import copy
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scripts import doctor_probe

ROOT = Path(__file__).resolve().parents[1]
PYTHON = Path("some/python")


def load() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("doctor_script", str(ROOT / "scripts" / "doctor"))
    spec = importlib.util.spec_from_loader("doctor_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


doctor = load()
SEEN = {
    "python": "3.11.7", "free_threaded": False, "gil_enabled": True, "loadgen_seeds": dict(doctor.SEEDS),
    "packages": {**doctor.locked(), "torch": doctor.locked()["torch"] + "+cpu"},
    "drivers": {"local-task": ["default"], "hip": "Error: HIP runtime library not available", "cuda": []},
}


def changed(**changes) -> dict:
    seen = copy.deepcopy(SEEN)
    for key, value in changes.items():
        seen[key] = {**seen[key], **value} if isinstance(value, dict) and isinstance(seen[key], dict) else value
    return seen


def states(rows: list) -> dict[str, str]:
    return {row.what: row.state for row in rows}


def test_this_environment_is_ready():
    result = subprocess.run([sys.executable, str(ROOT / "scripts" / "doctor"), "--json", "--python", sys.executable], capture_output=True,
                            text=True, check=False)
    report = json.loads(result.stdout)
    found = {row["what"]: row for row in report["findings"]}
    for what in ("interpreter", "LoadGen", "LoadGen seeds", "IREE compiler, runtime", "torch", "diffusers", "local-task driver"):
        assert found[what]["state"] == "ok", found[what]
    assert set(report["missing"]) <= {"memory available", "disk"}
    assert result.returncode == (1 if report["missing"] else 0) and report["ready"] == (not report["missing"])


def test_the_table_names_every_row():
    result = subprocess.run([sys.executable, str(ROOT / "scripts" / "doctor"), "--python", sys.executable], capture_output=True, text=True,
                            check=False)
    for text in ("found", "wanted", "remedy", "LoadGen seeds", "GIL-free Python", "hip driver", "cuda driver", "cores", "memory", "disk"):
        assert text in result.stdout


def test_without_the_environment(tmp_path):
    result = subprocess.run([sys.executable, str(ROOT / "scripts" / "doctor"), "--json", "--python", str(tmp_path / "python")],
                            capture_output=True, text=True, check=False)
    report = json.loads(result.stdout)
    assert result.returncode == 1 and not report["ready"]
    row = next(row for row in report["findings"] if row["what"] == "default environment")
    assert (row["found"], row["remedy"]) == ("not found", "./scripts/setup")


def test_a_broken_environment(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'libpython3.11.so: cannot open shared object file' >&2\nexit 127\n")
    broken.chmod(0o755)
    (row,) = doctor.environment(broken, doctor.probe(broken))
    assert row.state == "missing" and "libpython3.11.so" in row.found and row.remedy == "./scripts/setup --fresh"


def test_a_whole_environment_has_nothing_missing():
    assert set(states(doctor.environment(PYTHON, SEEN)).values()) == {"ok"}


@pytest.mark.parametrize("changes, what", [
    ({"python": "3.12.1"}, "interpreter"),
    ({"packages": {"mlcommons-loadgen": "5.0.4"}}, "LoadGen"),
    ({"packages": {"mlcommons-loadgen": None}, "loadgen_seeds": None}, "LoadGen"),
    ({"loadgen_seeds": {"qsl": 3066443479025735752}}, "LoadGen seeds"),  # v5.0's
    ({"loadgen_seeds": None}, "LoadGen seeds"),
    ({"packages": {"iree-base-compiler": "3.12.0"}}, "IREE compiler, runtime"),
    ({"packages": {"iree-base-runtime": None}}, "IREE compiler, runtime"),
    ({"packages": {"torch": "2.12.0+cpu"}}, "torch"),
    ({"packages": {"diffusers": None}}, "diffusers"),
])
def test_each_wrong_thing_is_found_with_a_remedy(changes, what):
    rows = doctor.environment(PYTHON, changed(**changes))
    row = next(row for row in rows if row.what == what)
    assert row.state == "missing" and row.wanted and "./scripts/setup" in row.remedy


def test_free_threaded_is_optional_and_exact():
    assert doctor.free_threaded(PYTHON, None).state == "optional"
    assert doctor.free_threaded(PYTHON, SEEN).state == "optional", "with the GIL it is not what is wanted"
    assert doctor.free_threaded(PYTHON, {"error": "broken"}).found == "broken"
    row = doctor.free_threaded(PYTHON, changed(python="3.13.15", free_threaded=True))
    assert (row.state, row.remedy) == ("ok", "") and row.found.startswith("3.13.15t")
    assert doctor.free_threaded(PYTHON, changed(free_threaded=True, packages={"mlcommons-loadgen": None})).state == "optional"


def test_devices():
    rows = {row.what: row for row in doctor.devices(SEEN)}
    assert rows["local-task driver"].state == "ok"
    assert rows["hip driver"].found == "driver library not found" and "ROCm" in rows["hip driver"].remedy
    assert rows["cuda driver"].found == "no device"
    assert states(doctor.devices(None)) == {"CPU driver": "missing"}
    assert states(doctor.devices(changed(drivers={"local-task": []})))["local-task driver"] == "missing"


def test_memory_and_disk(monkeypatch):
    monkeypatch.setattr(doctor, "memory_gb", lambda: 0.5)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**9}))
    rows = {row.what: row for row in doctor.machine()}
    assert (rows["memory available"].state, rows["disk"].state) == ("missing", "missing")
    assert rows["disk"].remedy.startswith("free some space")


def test_seeds_are_read_from_loadgen_itself(monkeypatch, tmp_path):
    assert doctor_probe.loadgen_seeds() == doctor.SEEDS
    library = tmp_path / "mlperf_loadgen.so"
    library.write_bytes(b"\0*.*.qsl_rng_seed = 5\n*.*.test05_qsl_rng_seed = 6\0")
    monkeypatch.setattr(doctor_probe.importlib.util, "find_spec", lambda name: importlib.machinery.ModuleSpec(name, None, origin=str(library)))
    assert doctor_probe.loadgen_seeds() == {"qsl": 5}


def test_seeds_are_the_published_ones():
    """mlcommons/inference v5.1.1, loadgen/mlperf.conf."""
    assert doctor.SEEDS == {"qsl": 1780908523862526354, "sample_index": 14771362308971278857, "schedule": 18209322760996052031}

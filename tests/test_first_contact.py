"""First contact, whole, on this CPU: pack, unpack elsewhere, run without the repository, ingest; once as it is, once with a defect."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from compile import exporting, precompile
from compile.flags import flags
from export.model_config import ModelConfig
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError
from runtime import service_times
from scripts.first_contact_parts import contents, findings, ingest, pack
from scripts.first_contact_parts.contents import Contents
from scripts.first_contact_parts.findings import Findings
from tests import tiny_build

CONFIG_NAME = "tiny.json"
DEFECT = "run_forward_dispatch_0"


def export(model_json: Path, checkpoint: str, output: Path, modules: list[str], _architecture: str) -> None:
    """Stands in for `python -m export.sdxl`: SDXL's entry points with simple arithmetic."""
    config = document.read(ModelConfig, model_json)
    for module in modules:
        for size in config.batch_sizes[module]:
            (output / f"{module}_bs{size}.mlir").write_text(tiny_build.MLIR[module].format(
                b=size, b2=2 * size, s=tiny_build.SEQUENCE, h=tiny_build.SIDE // 8, side=tiny_build.SIDE))


def settings(folder: Path, **changes: object) -> pack.PackSettings:
    values = {"model_json": folder / CONFIG_NAME, "checkpoint": "none", "target": "cpu", "td_spec": None, "output": folder / "archive.tar.gz",
              "wheels": None, "repeats": 4, "random_parameters": True, "plant_defect": None, "jobs": None}
    return pack.PackSettings(**values | changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model JSON; every compile of this module goes into one cache below it."""
    folder = tmp_path_factory.mktemp("first_contact")
    config = dataclasses.replace(tiny_build.model(sizes=(2,)), model="sdxl-nano")  # one whose architecture is here
    document.write(config, folder / CONFIG_NAME)
    return folder


def packed(place: Path, name: str, *, fenced: bool = False, **changes: object) -> Path:
    """An archive, unpacked where there is no repository. `fenced`: of executables that take fences, as those for GPUs do."""
    with pytest.MonkeyPatch.context() as patch:
        if fenced:
            for module in (pack, precompile):
                patch.setattr(module, "flags", lambda *given, **named: [*flags(*given, **named), "--iree-execution-model=async-external"])
        patch.setenv("IREE_BUILD_DIR", str(place / "cache"))
        patch.setattr(exporting, "run_exporter", export)
        pack.pack(settings(place, output=place / f"{name}.tar.gz", **changes))
    with tarfile.open(place / f"{name}.tar.gz") as archive:
        archive.extractall(place / name, filter="data")
    return place / name / pack.TOP


def run(archive: Path, output: Path, *options: str) -> tuple[Findings, str]:
    """The one command, with an interpreter that has iree.runtime and numpy; what it found and printed."""
    (archive.parent / "bin").mkdir(exist_ok=True)
    link = archive.parent / "bin" / "python3"
    if not link.exists():
        link.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        link.chmod(0o755)
    ran = subprocess.run([str(archive / "first_contact"), "--output", str(output), *options], cwd=archive.parent, capture_output=True, text=True,
                         check=False, timeout=200, env={**os.environ, "PATH": f"{link.parent}:{os.environ['PATH']}", "PYTHONPATH": ""})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return findings.read(output), ran.stdout


@pytest.fixture(scope="module")
def archive(place: Path) -> Path:
    return packed(place, "honest")


@pytest.fixture(scope="module")
def found(archive: Path, place: Path) -> Findings:
    return run(archive, place / "honest.json", "--devices", "3")[0]


@pytest.fixture(scope="module")
def defective(place: Path) -> tuple[Findings, str]:
    return run(packed(place, "planted", fenced=True, plant_defect=DEFECT), place / "planted.json", "--devices", "1")


def test_the_archive_needs_no_repository(archive):
    carried = {path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()}
    assert {"first_contact", "README.md", contents.NAME, "scripts/first_contact", "ireeperf/errors.py"} <= carried
    assert not any(name.startswith(("compile/", "export/", "runtime/", "tests/")) or "__pycache__" in name for name in carried)
    assert not any(name.endswith(("pack.py", "ingest.py")) for name in carried)
    for unit in contents.read(archive).units:
        assert not unit.fenced
        assert all(document.digest(archive / path) == digest for path, digest in unit.digests.items())


def test_every_dispatch_is_right_with_the_reference_s_operands(found):
    assert found.complete and found.dispatches and not found.culprits
    for one in found.dispatches:
        assert (one.outcome, one.inputs) == ("ok", "reference"), one
        assert one.relative_error == 0.0 and one.call_microseconds > 0 and one.runs >= 5


def test_entry_points_batches_and_devices(found):
    assert {one.entry_point for one in found.entry_points} == {"encode_prompts", "run_initialize", "run_forward", "decode"}
    assert all(one.outcome == "ok" and one.seconds > 0 for one in found.entry_points)
    batch, = found.batches
    assert (batch.batch_size, batch.steps) == (2, tiny_build.STEPS) and batch.seconds > 0 and batch.runs >= 5
    assert [one.uri for one in found.devices] == ["local-task#0", "local-task#1", "local-task#2"]
    assert all(one.outcome == "ok" and one.same_as_first and one.together_seconds > 0 for one in found.devices)
    assert found.machine["host"]["cores"] >= 1 and found.machine["devices"][0]["uri"] == "local-task" and "hip" in found.machine["drivers"]
    assert all(stage.outcome == "ok" and not stage.cause for stage in found.stages)


def test_a_defect_is_named_and_only_it(defective, place):
    found, printed = defective
    assert all(unit.fenced for unit in contents.read(place / "planted" / pack.TOP).units)
    assert found.batches and all(one.outcome == "ok" for one in found.devices)
    culprit, = found.culprits
    assert culprit.name.startswith(DEFECT) and culprit.outcome == "wrong" and culprit.relative_error > 0.01
    assert culprit.name in printed
    outcomes = {one.entry_point: one.outcome for one in found.entry_points}
    assert outcomes == {"encode_prompts": "ok", "run_initialize": "ok", "run_forward": "wrong", "decode": "ok"}


def test_ingest_gives_service_times_that_the_null_device_reads(found, place):
    written = ingest.ingest(place / "honest.json", place / "ingested", None)
    assert written["service_times"] and written["written"] == ["service_times.toml", "report.md"]
    times = service_times.read(place / "ingested/service_times.toml")
    assert times.evidence == "measured" and times.of(2) == found.batches[0].seconds
    for word in (found.started_utc, "iree-base-compiler", "batch size 2: ", "3 steps"):
        assert word in times.source
    report = (place / "ingested/report.md").read_text()
    assert "None: " in report and all(one.name in report for one in found.dispatches)


def test_nothing_is_served_at_the_speed_of_wrong_work(defective, place):
    (place / "refused").mkdir()
    (place / "refused/service_times.toml").write_text("of an earlier ingest")
    written = ingest.ingest(place / "planted.json", place / "refused", None)
    assert not written["service_times"] and "planted" in written["refused"]
    assert not (place / "refused/service_times.toml").exists()
    assert DEFECT in (place / "refused/report.md").read_text()
    honest = document.to_dict(defective[0])
    honest["contents"]["planted"] = None
    (place / "wrong.json").write_text(json.dumps(honest))
    assert "compute something else" in ingest.ingest(place / "wrong.json", place / "refused", None)["refused"]


def test_a_damaged_file_costs_its_stage_only(archive, place):
    damaged = place / "damaged" / pack.TOP
    shutil.copytree(archive, damaged)
    unit = contents.read(damaged).units[1]
    (damaged / unit.probes).write_bytes(b"no executable")
    found, _ = run(damaged, place / "damaged.json", "--devices", "1")
    failed, = [stage for stage in found.stages if stage.outcome != "ok"]
    assert (failed.name, failed.unit, failed.outcome) == ("check", unit.name, "failed") and failed.cause
    for one in found.dispatches:
        assert one.outcome == ("skipped" if one.unit == unit.name else "ok")
        assert (one.cause == failed.cause) == (one.unit == unit.name)
    assert all(one.outcome == "ok" for one in found.entry_points) and found.batches


def test_the_budget_is_kept_and_said(archive, place):
    found, printed = run(archive, place / "hurried.json", "--budget", "1")
    assert not found.complete and {stage.outcome for stage in found.stages} == {"skipped"}
    assert "the budget is spent" in printed and all(one.outcome == "skipped" for one in found.dispatches)
    assert "no whole batch ran" in ingest.refusal(found)


def test_what_pack_refuses(place, monkeypatch):
    monkeypatch.setenv("IREE_BUILD_DIR", str(place / "cache"))
    monkeypatch.setattr(exporting, "run_exporter", export)
    for changes, error, word in (({"repeats": 1}, ConfigError, "--repeats"), ({"wheels": place}, MissingFileError, "wheel"),
                                 ({"output": place / "nowhere/a.tar"}, ConfigError, "does not exist"),
                                 ({"plant_defect": "nothing_like_it"}, ConfigError, "nothing_like_it")):
        before = set(place.iterdir())
        with pytest.raises(error, match=word):
            pack.pack(settings(place, **changes))
        assert set(place.iterdir()) == before


def test_the_command_line(tmp_path):
    script = Path(__file__).resolve().parents[1] / "scripts/first_contact"
    (tmp_path / "f.json").write_text("{}")
    for words in (["ingest", str(tmp_path / "f.json")], ["--ingest", str(tmp_path / "f.json")]):
        ran = subprocess.run([sys.executable, str(script), *words, "--output", str(tmp_path / "out")], capture_output=True, text=True, check=False)
        assert ran.returncode == 2 and "key 'started_utc' is missing" in ran.stderr and not (tmp_path / "out").exists()


def test_contents_are_strict(archive, tmp_path):
    values = json.loads((archive / contents.NAME).read_text())
    (tmp_path / contents.NAME).write_text(json.dumps(values | {"unknown": 1}))
    with pytest.raises(ConfigError, match="unknown key"):
        contents.read(tmp_path)
    assert isinstance(contents.read(archive), Contents) and np.isclose(contents.read(archive).guidance_scale, tiny_build.GUIDANCE)

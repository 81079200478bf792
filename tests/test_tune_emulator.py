"""compile.tune --measure pack --emulator: what becomes of the emulator's verdicts."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest

from compile import (
    compiler,
    dispatch_ir,
    manifest,
    target,
    tune,
    tune_emulator,
    tune_search,
    verify_build,
)
from compile.compiler import Task
from compile.flags import flags
from ireeperf import document
from ireeperf.errors import ConfigError
from tests.test_tune_module import MODULE, build  # noqa: F401 - a fixture

HALF = MODULE.replace("32x64xf32", "256x256xf16").replace("64x96xf32", "256x512xf16").replace("32x96xf32", "256x512xf32")


def test_what_is_wrong_on_the_emulator_is_not_packed(build, monkeypatch, tmp_path):  # noqa: F811
    """The gate's wiring, by made-up verdicts of the emulator (tests/test_verify_planted.py has what it finds): wrong stays here with the reason,
    what it cannot execute goes."""
    (tmp_path / "small.mlir").write_text(HALF)
    on = target.find("gfx942")
    list(compiler.compile_all([Task(label="small", mlir=tmp_path / "small.mlir", flags=tuple(flags(on, None)), folder=tmp_path, name="small",
                                    log=tmp_path / "log", dispatches=True)], 1))
    document.write(replace(manifest.read(build), target="gfx942", driver="hip"), tmp_path / "manifest.json")
    verdicts = iter([("wrong", "element 3 is off"), ("not run", "no reference"), ("right", "")])

    def judge(_, item):
        assert item.dispatch.match.dims == (256, 512, 256) and item.kernel.sha256
        verdict, reason = next(verdicts)
        return SimpleNamespace(verification=SimpleNamespace(verdict=verdict, reason=reason))

    built = tune_search.build

    def checked(sweep, point, folder):
        assert not [flag for flag in sweep.flags if "elide" in flag]  # a marked candidate goes through text, constants and all
        return built(sweep, point, folder)

    monkeypatch.setattr(tune_search, "build", checked)
    monkeypatch.setattr(verify_build.Verifier, "judge", judge)
    given = [str(tmp_path), "--dispatch", "matmul", "--database", str(tmp_path / "db"), "--candidates", "2"]
    assert tune.main([*given, "--measure", "pack", str(tmp_path / "c.zip"), "--emulator", "emulator"]) == 0
    with zipfile.ZipFile(tmp_path / "c.zip") as archive:
        entry, = json.loads(archive.read("pack.json"))["dispatches"]
    told = [one for one in entry["candidates"] if one["outcome"] != "invalid"]
    assert [(one["outcome"], one["detail"]) for one in told] == [
        ("wrong", "on the emulator wrong: element 3 is off"), (None, "on the emulator not run: no reference"), (None, "right on the emulator, 2 workgroups")]
    with pytest.raises(ConfigError, match="--emulator judges candidates that are packed"):
        tune.main([*given, "--emulator", "emulator"])
    with pytest.raises(ConfigError, match="executes gfx942, and the build is for cpu"):
        tune.main([str(build), "--measure", "pack", str(tmp_path / "c.zip"), "--emulator", "emulator"])


def test_dumps_without_a_dispatch_are_not_called_right(monkeypatch, tmp_path):
    monkeypatch.setattr(dispatch_ir, "dispatches", lambda path: ())
    gate = tune_emulator.Gate(tmp_path, target.find("gfx942"))
    assert gate.judge(tmp_path, "x") == (True, "on the emulator not run: its dumps hold no dispatch")

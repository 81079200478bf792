"""compile.tune: a real sweep of a small matmul on this CPU, and what becomes of bad candidates, bad databases and bad requests."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compile import (
    compiler,
    dispatch_ir,
    dumps,
    target,
    tune,
    tune_program,
    tune_reference,
    tune_runner,
    tune_search,
    tune_space,
)
from compile.compiler import Task
from compile.flags import flags
from compile.tune_store import Result, Scope, Store
from ireeperf.errors import CompileError, ConfigError

ROOT = Path(__file__).resolve().parents[1]
CPU = target.find("cpu")
MATMUL = """
func.func @mm(%a: tensor<32x64xf32>, %b: tensor<64x96xf32>) -> tensor<32x96xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<32x96xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<32x96xf32>) -> tensor<32x96xf32>
  %r = linalg.matmul ins(%a, %b : tensor<32x64xf32>, tensor<64x96xf32>) outs(%f : tensor<32x96xf32>) -> tensor<32x96xf32>
  return %r : tensor<32x96xf32>
}
"""
POINT = {"distribution_0": 32, "distribution_1": 32, "row": 8, "column": 32, "step": 4}
SCOPE = Scope(source_sha256="a" * 64, target="cpu", compiler="3.13.0", flags="f" * 64, machine="here")


@pytest.fixture(scope="module")
def zipped(tmp_path_factory):
    """Dumps of the matmul, compiled without data tiling so that its dispatch stays a plain one."""
    folder = tmp_path_factory.mktemp("matmul")
    (folder / "mm.mlir").write_text(MATMUL)
    given = [flag for flag in flags(CPU, None) if "data-tiling" not in flag]
    task = Task(label="mm", mlir=folder / "mm.mlir", flags=(*given, *dumps.flags(folder)), folder=folder / "out", name="mm", log=folder / "log")
    list(compiler.compile_all([task], 1))
    dumps.pack(folder, folder / "mm.dispatches.zip")
    return folder / "mm.dispatches.zip"


@pytest.fixture(scope="module")
def sweep(zipped):
    (one, path), = tune.chosen([zipped], "matmul")
    found = tune.prepared(one, path, CPU, zipped.parent / "sweep", 3, "here")
    assert not isinstance(found, str), found
    return found


def test_sweep_measures_keeps_and_resumes(sweep, tmp_path):
    store = Store(tmp_path / "results.sqlite")
    assert tune_search.search(sweep, store, tmp_path / "first", deadline=time.monotonic() + 60, candidates=2, workers=1) == 2
    first = store.results(sweep.scope)
    assert tune_search.search(sweep, store, tmp_path / "second", deadline=time.monotonic() + 60, candidates=1, workers=1) == 1
    found = store.results(sweep.scope)
    points = [point for point, result in found if result.outcome != "invalid"]
    assert found[:len(first)] == first and len(points) == 3 and points[2] not in points[:2]
    assert all(sweep.space.invalid(point) == result.detail for point, result in found if result.outcome == "invalid")
    measured = [result for _, result in first if result.outcome == "time"]
    assert measured and all(result.runs == 3 and result.ratio_low <= result.ratio <= result.ratio_high for result in measured)


def test_a_candidate_is_really_applied(sweep, tmp_path):
    """Left unstripped, the dump keeps its own configuration: rc 0, nothing applied."""
    text = tune_program.configured(sweep.text, sweep.space.match, sweep.space.setting(POINT), "cpu")
    tune_program.build(text, tmp_path / "one", (*sweep.flags, f"--iree-hal-dump-executable-configurations-to={tmp_path / 'seen'}"))
    seen, = (tmp_path / "seen").glob("*.mlir")
    assert "distribution = [32, 32, 0], vector_common_parallel = [8, 32, 0], vector_reduction = [0, 0, 4]" in seen.read_text()


def test_a_wrong_candidate_is_told_from_a_right_one(sweep, tmp_path):
    right = tune_program.build(tune_program.configured(sweep.text, sweep.space.match, sweep.space.setting(POINT), "cpu"), tmp_path / "right", sweep.flags)
    assert tune_search.measure(sweep, right, 3).outcome == "time"
    spoiled = sweep.text.replace("0.000000e+00", "1.000000e+00")  # sums begin at 1
    assert spoiled != sweep.text
    wrong = tune_program.build(spoiled, tmp_path / "wrong", sweep.flags)
    result = tune_search.measure(sweep, wrong, 3)
    assert result.outcome == "wrong" and "relative error" in result.detail and result.ratio is None


def test_a_wrong_default_is_told_by_float64(sweep, zipped, tmp_path):
    """Compared with the default alone, a candidate that makes the same mistake is right."""
    (one, path), = tune.chosen([zipped], "matmul")
    error, words = tune_reference.judge(one, path, sweep)
    assert error is not None and error < 1, words
    spoiled = tune_program.build(sweep.text.replace("0.000000e+00", "1.000000e+00"), tmp_path / "wrong", sweep.flags)
    error, words = tune_reference.judge(one, path, replace(sweep, default=spoiled))
    assert error is not None and error > 1, words


def test_a_candidate_that_does_not_load_is_a_result(sweep, tmp_path):
    (tmp_path / "bad.vmfb").write_bytes(b"not an executable")
    result = tune_search.measure(sweep, tmp_path / "bad.vmfb", 3)
    assert result.outcome == "run failed" and "exited with code" in result.detail


def test_a_candidate_that_does_not_compile_is_a_result(sweep, tmp_path):
    refused = replace(sweep, flags=(*sweep.flags, "--iree-no-such-flag"))
    result = tune_search.build(refused, POINT, tmp_path / "refused")
    assert isinstance(result, Result) and result.outcome == "compile failed" and "iree-compile exited" in result.detail


def test_a_compile_that_does_not_end_is_a_result(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(tune_program, "COMPILE_SECONDS", 0.01)
    result = tune_search.build(sweep, POINT, tmp_path / "endless")
    assert isinstance(result, Result) and result.outcome == "compile failed" and "still running" in result.detail


def test_difference_sees_what_either_wrote():
    data = np.zeros(4, np.float32)
    expected = np.array([0, 1, 0, 0], np.float32)
    assert tune_runner.difference(data, expected, expected, "float32") == 0
    assert tune_runner.difference(data, expected, np.array([0, 1, 0, 1], np.float32), "float32") == 1  # wrote where it must not
    assert tune_runner.difference(data, data, data, "float32") == float("inf")  # nothing computed proves nothing
    assert tune_runner.difference(data, expected, np.array([0, np.nan, 0, 0], np.float32), "float32") == float("inf")


def test_space_refuses_what_it_cannot_tile(sweep):
    space = sweep.space
    assert space.invalid(POINT) is None
    assert "no multiple" in space.invalid(POINT | {"distribution_0": 4})
    assert "accumulators" in space.invalid(POINT | {"row": 32, "column": 32})
    assert "pipeline" in tune_space.space(space.match, "Mmt4dTilingExpert")
    assert "contraction, convolution, reduction" in tune_space.space(None, "DoubleTilingExpert")
    assert all(32 % value == 0 for value in space.parameters["row"])


def test_registers_follow_the_instruction_set(sweep):
    """A tile that fits AVX-512's registers spills AVX2's."""
    assert tune_space.registers("cpu-avx512", "") == tune_space.registers("cpu", "EPYC avx2 avx512f") == tune_space.AVX512
    assert tune_space.registers("cpu-avx2", "avx512f") == tune_space.registers("cpu", "EPYC avx2") == tune_space.AVX2
    narrow = replace(sweep.space, registers=tune_space.AVX2)
    assert "32 accumulators, at most 14" in narrow.invalid(POINT) and narrow.invalid(POINT | {"column": 8}) is None


def test_interval_of_a_median():
    assert tune_search.interval([float(n) for n in range(1, 32)]) == (10.0, 16.0, 22.0)
    assert tune_search.interval([1.0, 2.0, 3.0]) == (1.0, 2.0, 3.0)


def test_measurements_of_another_machine_are_not_ours(tmp_path):
    store = Store(tmp_path / "db")
    store.add(SCOPE, {"row": 1}, Result(outcome="time", ratio=2.0))
    assert store.results(replace(SCOPE, machine="elsewhere")) == store.results(replace(SCOPE, compiler="3.12.0")) == []
    assert store.results(replace(SCOPE, flags="0" * 64)) == []
    store.add(SCOPE, {"row": 1}, Result(outcome="wrong"))  # the first result stays
    assert store.results(SCOPE) == [({"row": 1}, Result(outcome="time", ratio=2.0))]


def test_a_foreign_or_damaged_database_is_refused_and_left_alone(tmp_path):
    foreign, damaged, newer = tmp_path / "foreign", tmp_path / "damaged", tmp_path / "newer"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    damaged.write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    Store(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    before = {path: path.read_bytes() for path in (foreign, damaged)}
    for path, words in ((foreign, "something else"), (damaged, "tuning database"), (newer, "version 9")):
        with pytest.raises(ConfigError, match=words):
            Store(path)
    assert {path: path.read_bytes() for path in before} == before


def test_a_full_database_says_so_and_keeps_what_it_has(tmp_path):
    store = Store(tmp_path / "db")
    store.add(SCOPE, {"row": 1}, Result(outcome="time", ratio=2.0))
    pages, = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ConfigError, match="full"):
        store.add(SCOPE, {"row": 2}, Result(outcome="wrong", detail="x" * 100_000))
    assert len(store.results(SCOPE)) == 1


def test_kill_9_loses_nothing(tmp_path):
    program = ("import sys, time; from pathlib import Path; from compile.tune_store import *\n"
               "store = Store(Path(sys.argv[1])); scope = Scope(source_sha256='a' * 64, target='cpu', compiler='3.13.0', flags='f' * 64, machine='here')\n"
               "for row in range(10**6): store.add(scope, {'row': row}, Result(outcome='wrong')); print(row, flush=True)")
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "db")], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        told = [int(child.stdout.readline()) for _ in range(20)][-1]
        os.kill(child.pid, signal.SIGKILL)
    assert len(Store(tmp_path / "db").results(SCOPE)) > told


def test_requests_that_cannot_be_met(zipped, tmp_path):
    with pytest.raises(ConfigError, match="found in none of"):
        tune.chosen([zipped], "convolution_of_nothing")
    with pytest.raises(ConfigError, match="no regular expression"):
        tune.chosen([zipped], "(")
    with pytest.raises(ConfigError, match="--rounds is 0"):
        tune.parse(["build", "--rounds", "0"])
    for text in ("0m", "soon", "5"):
        with pytest.raises(SystemExit):
            tune.parse(["build", "--budget", text])
    broken = tmp_path / "broken.zip"
    shutil.copyfile(zipped, broken)
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(CompileError, match="cannot read"):
        tune.chosen([broken], "")
    with pytest.raises(CompileError, match="another compiler"):
        tune_program.entry("module {}")


def test_dumps_hold_what_a_sweep_needs(zipped):
    with zipfile.ZipFile(zipped) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} >= {"configured", "benchmark", "stream.mlir"}
    assert any(one.match and one.match.kind == "contraction" for one in dispatch_ir.dispatches(zipped))

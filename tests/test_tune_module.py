"""compile.tune to its end: a small module, winners by injected timings, and what the whole module must show before a record is written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from compile import cache, compiler, dispatch_ir, dumps, manifest, target, tune, tune_module, tune_runner, tuning_spec
from compile.compiler import Task
from compile.flags import flags
from compile.manifest import Executable, Manifest, Spec
from compile.tune_store import Result, Scope, Store
from export import model_config
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError, MissingFileError
from specs import record
from specs.record import Setting

CPU = target.find("cpu")
# rows of 32 x 64 x 96: too narrow for data tiling to choose it here, so that the dispatch stays a plain contraction
MODULE = """
module @small {
  func.func @run(%a: tensor<32x64xf32>, %b: tensor<64x96xf32>, %n: tensor<1xi64>) -> tensor<32x96xf32> {
    %z = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<32x96xf32>
    %f = linalg.fill ins(%z : f32) outs(%e : tensor<32x96xf32>) -> tensor<32x96xf32>
    %r = linalg.matmul ins(%a, %b : tensor<32x64xf32>, tensor<64x96xf32>) outs(%f : tensor<32x96xf32>) -> tensor<32x96xf32>
    return %r : tensor<32x96xf32>
  }
}
"""
SETTING = Setting(pipeline="DoubleTilingExpert", lowering_config={
    "distribution": [32, 32, 0], "vector_common_parallel": [8, 32, 0], "vector_reduction": [0, 0, 4]})
ALONE = Result(outcome="time", ratio=2.0, ratio_low=1.9, ratio_high=2.1, baseline_us=10.0, tuned_us=5.0, runs=31)


def plain_flags(on, spec):
    """As the build has them, without data tiling."""
    return [flag for flag in flags(on, spec) if "data-tiling" not in flag]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A build folder of one module, as ./compile/precompile.py leaves it."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "small.mlir").write_text(MODULE)
    task = Task(label="small", mlir=folder / "small.mlir", flags=tuple(plain_flags(CPU, None)), folder=folder, name="small", log=folder / "log",
                dispatches=True)
    list(compiler.compile_all([task], 1))
    config = model_config.read(cache.ROOT / "export/configs/sdxl_nano_fp32_bs2.json")
    executable = Executable(module="scheduled_unet", module_name="small", entry_points=("run",), batch_size=1, path="small.vmfb",
                            sha256=document.digest(folder / "small.vmfb"), command="small.command.sh", dispatches="small.dispatches.zip", seconds=1.0)
    document.write(Manifest(key="k", created_utc="2026-11-25T12:00:00+00:00", model=config, model_json="small_bs1.json", checkpoint="none",
                            target="cpu", driver="local-task", compiler_version=compiler.compiler_version(), executables=(executable,),
                            parameter_archives=(), spec=None, stage_seconds={}), folder / "manifest.json")
    return folder


@pytest.fixture(autouse=True)
def small_flags(monkeypatch):
    for module in (tune, tune_module):
        monkeypatch.setattr(module, "flags", plain_flags)
    monkeypatch.setattr(tuning_spec, "names", lambda on: ("cpu-avx2",))  # what this machine is must not decide a test


def winner(build, setting=SETTING):
    one = next(found for found in dispatch_ir.dispatches(build / f"small{dumps.SUFFIX}") if found.match and found.match.kind == "contraction")
    scope = Scope(source_sha256=one.source_sha256, target="cpu", compiler="3.13.0", flags="f" * 64, machine="a test")
    return tune_module.Winner(dispatch=one, scope=scope, point={"row": 8}, setting=setting, result=ALONE)


def rounds(*ratios):
    """The runner's answer with these ratios of default over candidate."""
    return {"error": 1e-7, "rounds": [{"baseline_wall": 1.0, "baseline_cpu": ratio * 100.0, "wall": 1.0, "cpu": 100.0} for ratio in ratios]}


@pytest.mark.parametrize(("answer", "kept", "words"), [
    (rounds(*[1.2] * 31), True, "record "),
    (rounds(*[0.9, 1.1] * 15, 1.0), False, "95 % interval 0.900 to 1.100"),  # noise
    (rounds(*[0.8] * 31), False, "median ratio 0.800"),
    ({"failed": "exited with code -11: no words"}, False, "run failed"),
    ({"error": 0.5, "rounds": []}, False, "wrong"),
])
def test_a_winner_is_a_record_only_when_the_module_is_faster(build, tmp_path, monkeypatch, capsys, answer, kept, words):
    monkeypatch.setattr(tune_runner, "started", lambda kind, request, seconds: answer)
    store, one = Store(tmp_path / "db"), winner(build)
    found = manifest.read(build)
    records = tune_module.keep([one], found, build, CPU, store, tmp_path / "records")
    said = capsys.readouterr().out
    assert words in said and ("candidate_only" in said) is not kept
    assert [path.stem for path in (tmp_path / "records").glob("*.toml")] == [item.name for item in records] == [one.dispatch.match.name] * kept
    (point, result), = store.results(one.scope, "module")
    assert point == one.point and result.outcome == {True: "time"}.get(kept, result.outcome)
    if kept:
        written = record.read(next((tmp_path / "records").glob("*.toml")))
        assert (written.evidence, written.machine, written.runs, written.target) == ("measured", "a test", 31, "cpu-avx2")
        assert written.set == SETTING and "median ratio 1.200" in written.source


def test_the_module_really_carries_the_spec(build, tmp_path):
    """Nothing injected: both builds run, agree, and the second has the winner's tiles."""
    one = winner(build)
    results = tune_module.check([one], manifest.read(build), build, CPU, "cpu-avx2", (), tmp_path)
    assert list(results) == ["small.vmfb"] and results["small.vmfb"].outcome == "time" and results["small.vmfb"].runs == tune_module.PAIRS
    spec = tune_module.spec([one.record("cpu-avx2", "alone")], tmp_path / "again.mlir")
    task = Task(label="small", mlir=build / "small.mlir", flags=tuple(plain_flags(CPU, spec)), folder=tmp_path / "again", name="small",
                log=tmp_path / "log", dispatches=True)
    list(compiler.compile_all([task], 1))
    tuned = {found.name: found for found in dispatch_ir.dispatches(tmp_path / "again" / f"small{dumps.SUFFIX}")}[one.dispatch.name]
    assert tuned.tuned_by == one.dispatch.match.name and "distribution = [32, 32, 0]" in tuned.configuration


def test_a_module_that_does_not_compile_with_the_spec_is_a_result(build, tmp_path, monkeypatch):
    monkeypatch.setattr(tune_module, "flags", lambda on, spec: [*plain_flags(on, spec), *(["--iree-no-such-flag"] if spec else [])])
    results = tune_module.check([winner(build)], manifest.read(build), build, CPU, "cpu-avx2", (), tmp_path)
    assert results["small.vmfb"].outcome == "compile failed" and "compile failed" in tune_module.accepted(results)


def test_one_slower_module_refuses_what_another_gains():
    faster, slower = (Result(outcome="time", ratio=at, ratio_low=at - 0.01, ratio_high=at + 0.01, runs=31) for at in (1.2, 0.9))
    even = Result(outcome="time", ratio=1.0, ratio_low=0.99, ratio_high=1.01, runs=31)
    assert tune_module.accepted({"a": faster, "b": even}) is None
    assert "0.900" in tune_module.accepted({"a": faster, "b": slower})
    assert "1.000" in tune_module.accepted({"a": even}) and "no module" in tune_module.accepted({})


def test_the_command_from_manifest_to_last_line(build, tmp_path, capsys):
    given = [str(build), "--dispatch", "matmul", "--budget", "60s", "--candidates", "1", "--rounds", "3", "--database", str(tmp_path / "db"),
             "--records", str(tmp_path / "records")]
    assert tune.main(given) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["tuned"] == 1 and last["faster_alone"] == len(last["records"]) + last["candidate_only"]


def test_signatures_of_exported_and_plain_modules(build, tmp_path):
    (tmp_path / "m.mlir").write_text("  func.func @run_forward(%arg0: !torch.vtensor<[1,4,16,16],f32>, %arg1: !torch.vtensor<[2],f16>, "
                                     "%arg2: !torch.vtensor<[1],si64>) -> !torch.vtensor<[9],f32> attributes {x} {\n")
    assert tune_module.signature(tmp_path / "m.mlir", "run_forward") == [([1, 4, 16, 16], "float32"), ([2], "float16"), ([1], "int64")]
    assert tune_module.signature(build / "small.mlir", "run") == [([32, 64], "float32"), ([64, 96], "float32"), ([1], "int64")]
    with pytest.raises(CompileError, match="no function"):
        tune_module.signature(build / "small.mlir", "walk")


def test_a_budget_that_is_spent_is_told(build, capsys):
    wanted = tune.chosen([build / f"small{dumps.SUFFIX}"], "matmul")
    assert not list(tune.prepare_all(wanted, CPU, tune.parse([str(build)]), "here", 0.0))
    assert "1 of 1 dispatches not reached" in capsys.readouterr().out


def test_builds_that_cannot_be_tuned(build, tmp_path):
    found = manifest.read(build)
    for name, changed, words in (("spec", replace(found, spec=Spec(path="x.mlir", sha256="0")), "--td-spec none"),
                                 ("gpu", replace(found, target="gfx942"), "--measure pack")):
        (tmp_path / name).mkdir()
        shutil.copy(build / f"small{dumps.SUFFIX}", tmp_path / name)
        document.write(changed, tmp_path / name / "manifest.json")
        with pytest.raises(ConfigError, match=words):
            tune.main([str(tmp_path / name)])
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "small.command.sh").write_text("#!/bin/sh\n# small\niree-compile nowhere.mlir -o small.vmfb\n")
    with pytest.raises(MissingFileError, match="is gone"):
        tune_module.source(found.executables[0], tmp_path / "gone")

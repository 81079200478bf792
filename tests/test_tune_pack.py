"""compile.tune --measure pack and ingest: candidates out, the runner alone, results back under the measuring machine's name; GPU candidates."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from compile import (
    dispatch_ir,
    dumps,
    tune,
    tune_archive,
    tune_confirm,
    tune_module,
    tune_pack,
    tune_plot,
    tune_runner,
    tune_search,
    tune_space_gpu,
)
from compile.tune_store import Result, Scope, Store
from ireeperf.errors import CompileError, ConfigError
from specs import record
from specs.match import Match
from tests.test_tune_module import build, small_flags  # noqa: F401 - fixtures

MMT = Match(kind="contraction", types=("f16", "f16", "f32"), maps=("(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d1, d2)", "(d0, d1, d2) -> (d0, d1)"),
            dims=(2048, 10240, 1280))
CHOICE = ("#iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<TileAndFuse> workgroup_size = [256, 1, 1] subgroup_size = 64, "
          "{gpu_pipeline_options = #iree_gpu.pipeline_options<prefetch_num_stages = 2, no_reduce_shared_memory_bank_conflicts = false>}> "
          "#iree_gpu.lowering_config<{mma_kind = #iree_gpu.mma_layout<MFMA_F32_16x16x16_F16>, promote_operands = [0, 1], reduction = [0, 0, 4], "
          "subgroup = [4, 4, 0], workgroup = [128, 128, 0]}>")
DEFAULT = {"rows": 2, "columns": 2, "row": 4, "column": 4, "step": 4, "mma": 0, "stages": 2}


def test_round_trip(build, tmp_path):  # noqa: F811
    """Pack, run the runner in a folder of its own, ingest; a result of another build and a foreign answer are refused."""
    given = [str(build), "--dispatch", "matmul", "--candidates", "2", "--rounds", "3", "--database", str(tmp_path / "db")]
    assert tune.main([*given, "--measure", "pack", str(tmp_path / "c.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "c.zip") as archive:
        archive.extractall(tmp_path / "there")
    command = [sys.executable, "-I", "compile/tune_archive.py", "pack.json", "results.json"]
    done = subprocess.run(command, cwd=tmp_path / "there", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "there" / "results.json"
    told = json.loads(path.read_text())
    assert told["machine"] == tune_runner.machine("local-sync") and len(told["results"]) == 4  # two candidates, each again
    assert all(0 < item["answer"]["float64"] <= 1 for item in told["results"])
    path.write_text(json.dumps(told | {"machine": "another"}))
    assert tune.main([*given, "--measure", "ingest", str(path), "--plot", str(tmp_path / "p.svg")]) == 0
    one = next(found for found in dispatch_ir.dispatches(build / f"small{dumps.SUFFIX}") if found.match)
    store, scope = Store(tmp_path / "db"), Scope(**told["results"][0]["scope"])
    kept = store.results(replace(scope, machine="another"))
    assert [point for point, _ in kept] == [item["configuration"] for item in told["results"][:2]] and scope.source_sha256 == one.source_sha256
    assert all(result.outcome == "time" and "against float64" in result.detail and result.runs == 3 for _, result in kept) and not store.results(scope)
    assert xml.etree.ElementTree.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")
    with pytest.raises(ConfigError, match="does not have"):
        tune_pack.ingest(path, store, ["0" * 64])
    told["results"][0]["answer"] = {"error": 0.0}
    path.write_text(json.dumps(told | {"machine": "third"}))
    with pytest.raises(ConfigError, match="not the runner's"):
        tune_pack.ingest(path, store, [one.source_sha256])
    assert not store.results(replace(scope, machine="third"))  # whole or not at all


def test_a_default_that_float64_finds_wrong_is_compared_with_nothing(build, tmp_path):  # noqa: F811
    """Another reference, as a miscompiled default would have it: no candidate is timed against that default, and the answer says why."""
    given = [str(build), "--dispatch", "matmul", "--candidates", "1", "--database", str(tmp_path / "db"), "--measure", "pack", str(tmp_path / "c.zip")]
    assert tune.main(given) == 0
    with zipfile.ZipFile(tmp_path / "c.zip") as archive:
        archive.extractall(tmp_path)
    with np.load(tmp_path / "0/reference.npz") as found:
        right = dict(found)
    np.savez(tmp_path / "0/reference.npz", **right | {"expected0": right["expected0"] + 10 * right["tolerance0"] * np.abs(right["expected0"]).max()})
    tune_archive.every(tmp_path / "pack.json", tmp_path / "results.json")
    told, = json.loads((tmp_path / "results.json").read_text())["results"]
    assert "the default configuration" in told["answer"]["failed"] and "against float64" in told["answer"]["failed"]
    wrong = {"error": 1e-6, "rounds": [], "float64": 3.0}
    assert tune_pack.judged(wrong, 1e-5, "wall", []) == Result(
        outcome="wrong", detail="its error against float64 is 3 times what its roundings explain")


def test_samples_outside_of_the_bytes_are_not_judged(tmp_path):
    np.savez(tmp_path / "r.npz", positions0=np.array([0, 8, 12]), expected0=np.array([9.0, 1.0, 2.0]), tolerance0=0.25)
    found = np.array([1.0, 2.5], np.float32)  # bytes 8 to 16 of the buffer
    with np.load(tmp_path / "r.npz") as reference:
        assert tune_runner.explained(reference, found, "float32", 8) == 0.25 / 0.25
        assert tune_runner.explained(reference, found * np.float32("nan"), "float32", 8) == float("inf")


def test_winners_become_records_by_the_whole_module(build, small_flags, monkeypatch, tmp_path):  # noqa: F811
    """A sweep's results, made faster by hand, then the whole module there and back: records come only of a module that is faster."""
    monkeypatch.setattr(tune_confirm, "flags", tune_module.flags)
    given = [str(build), "--candidates", "2", "--rounds", "3", "--database", str(tmp_path / "db"), "--records", str(tmp_path / "records")]

    def there(archive, factor):
        folder = tmp_path / archive
        with zipfile.ZipFile(tmp_path / f"{archive}.zip") as packed:
            packed.extractall(folder)
        tune_archive.every(folder / "pack.json", folder / "results.json")
        told = json.loads((folder / "results.json").read_text())
        for one in [*told["results"], *told["modules"]]:
            for pair in one["answer"]["rounds"]:
                pair |= {"baseline_cpu": factor * pair["cpu"]}
        (folder / "results.json").write_text(json.dumps(told))
        return tune.main([*given, "--measure", "ingest", str(folder / "results.json")])

    with pytest.raises(ConfigError, match="0 machines"):
        tune.main([*given, "--measure", "modules", str(tmp_path / "none.zip")])
    assert tune.main([*given, "--measure", "pack", str(tmp_path / "sweep.zip")]) == 0 and there("sweep", 2.0) == 0
    assert tune.main([*given, "--measure", "modules", str(tmp_path / "whole.zip")]) == 0 and not (tmp_path / "records").exists()
    assert there("whole", 0.9) == 0 and not (tmp_path / "records").exists()  # slower as a whole: candidates they stay
    assert there("whole", 1.5) == 0
    kept, = (record.read(path) for path in (tmp_path / "records").glob("*.toml"))
    assert kept.evidence == "measured" and kept.machine == tune_runner.machine("local-sync") and kept.runs == 31
    assert "whole module small.vmfb" in kept.source and "1.500" in kept.source and kept.baseline_us == pytest.approx(2 * kept.tuned_us)


def test_parameters_are_made_for_a_module(tmp_path):
    (tmp_path / "m.mlir").write_text('util.global @a = #flow.parameter.named<"model"::"unet.conv.weight"> : tensor<4x3x1x1xf16>\n'
                                     'util.global @b = #flow.parameter.named<"model"::"unet.norm.weight"> : tensor<8xf32>\n')
    found = tune_confirm.parameters(tmp_path / "m.mlir")
    assert found == [("unet.conv.weight", [4, 3, 1, 1], "float16"), ("unet.norm.weight", [8], "float32")]
    index = tune_runner.parameters({"parameters": found})
    assert dict(index.items()).keys() == {name for name, _, _ in found} and tune_runner.parameters({"archive": None}) is None
    (tmp_path / "m.mlir").write_text('#flow.parameter.named<"model"::"x"> : tensor<4xf8E4M3FNUZ>')
    with pytest.raises(CompileError, match="f8E4M3FNUZ"):
        tune_confirm.parameters(tmp_path / "m.mlir")


def test_a_candidate_that_crashes_there_is_a_result(tmp_path):
    (tmp_path / "bad.vmfb").write_bytes(b"nothing")
    scope = {"source_sha256": "a", "target": "cpu", "compiler": "3", "flags": "f", "machine": ""}
    request = {"entry": "e", "bytes": 64, "driver": "local-sync", "dtype": "float32", "result_dtype": "float32", "tolerance": 1e-5, "rounds": 1,
               "round_us": 1.0}
    candidates = [{"configuration": {"row": 1}, "file": "bad.vmfb", "outcome": None, "detail": ""},
                  {"configuration": {"row": 2}, "file": None, "outcome": "compile failed", "detail": "why"}]
    (tmp_path / "pack.json").write_text(json.dumps({"driver": "local-sync", "clock": "cpu", "again": 1, "again_rounds": 1, "dispatches": [
        {"name": "d", "scope": scope, "request": request, "default": "bad.vmfb", "candidates": candidates, "reference": None}]}))
    tune_archive.every(tmp_path / "pack.json", tmp_path / "results.json")
    store = Store(tmp_path / "db")
    (found, count), = tune_pack.ingest(tmp_path / "results.json", store, ["a"])
    assert count == 2 and {result.outcome for _, result in store.results(found)} == {"run failed", "compile failed"}
    assert tune_pack.ingest(tmp_path / "results.json", store, ["a"]) == [(found, 0)]  # twice adds nothing


def test_waiting_that_only_adds_to_wall_times_is_left_out():
    """Every second round 4 ms late, by turns on either side: the figures are those of the undisturbed rounds, the default's of all rounds."""
    rounds = [{"baseline_wall": 400.0 + 330 * (index % 2), "wall": 270.0 + index + 330 * (index % 3 == 0)} for index in range(9)]
    late = {"error": 1e-4, "rounds": [one | {"baseline_wall": 730.0} for one in rounds]}
    found = tune_pack.judged(late, 5e-3, "wall", [one["baseline_wall"] for one in rounds])
    assert found.baseline_us == 400 and 271 <= found.tuned_us <= 278 and found.runs == 6 and 1.4 < found.ratio_low <= found.ratio < 1.5
    assert tune_archive.ratio({"rounds": rounds}, "wall") == pytest.approx(400 / 271)
    assert tune_pack.judged(late | {"error": 0.1}, 5e-3, "wall", [400.0]).outcome == "wrong"
    assert tune_pack.judged({"failed": "crashed"}, 5e-3, "wall", []).outcome == "run failed"


def test_gpu_candidates_go_around_the_default():
    space = tune_space_gpu.space(MMT, CHOICE, "mi325x-cpx")
    assert not isinstance(space, str), space
    assert space.instructions[:2] == ("MFMA_F32_16x16x16_F16", "MFMA_F32_32x32x8_F16")
    assert space.invalid(DEFAULT) is None and space.setting(DEFAULT) == space.default
    other = space.setting(DEFAULT | {"mma": 1, "rows": 4, "row": 1, "column": 2, "stages": 1})
    assert other.lowering_config["workgroup"] == [128, 128, 0] and other.workgroup_size == (512, 1, 1) and other.options["prefetch_num_stages"] == 1
    assert "shared memory" in space.invalid(DEFAULT | {"rows": 4, "row": 8, "step": 8})
    assert "divide" in tune_space_gpu.space(replace(MMT, dims=(2000, 10240, 1280)), CHOICE, "gfx942").invalid(DEFAULT)


@pytest.mark.parametrize(("choice", "words"), [
    (CHOICE.replace("TileAndFuse", "Distribute"), "Distribute"), (CHOICE.replace("mma_kind", "kind"), "no matrix instruction"),
    (CHOICE.replace("promote_operands", "partial_reduction"), "partial_reduction"), ("", "not known")])
def test_gpu_defaults_that_are_not_varied(choice, words):
    assert words in tune_space_gpu.space(MMT, choice, "gfx942")


def test_padding_is_left_out_and_short_loops_are_tiled_around():
    """Candidates' tiles divide the loops; heads of 64 columns are taken several at a time; a batch loop's 0 says 1."""
    heads = Match(kind="contraction", types=MMT.types, dims=(2, 1024, 20, 64, 1280), maps=(
        "(d0, d1, d2, d3, d4) -> (d0, d1, d4)", "(d0, d1, d2, d3, d4) -> (d2, d3, d4)", "(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)"))
    choice = (CHOICE.replace("reduction = [0, 0, 4]", "padding = [1, 1, 64, 64, 16], reduction = [0, 0, 0, 0, 4]")
              .replace("subgroup = [4, 4, 0]", "subgroup = [0, 2, 1, 2, 0]").replace("workgroup = [128, 128, 0]", "workgroup = [1, 64, 1, 64, 0]"))
    space = tune_space_gpu.space(heads, choice, "gfx942")
    assert not isinstance(space, str), space
    assert space.default.lowering_config["subgroup"] == [1, 2, 1, 2, 0] and "padding" not in space.default.lowering_config
    assert space.parameters["outer_n"] == (1, 2, 4) and "outer_m" not in space.parameters  # 20 heads; 1,024 rows are long enough
    point = {"rows": 2, "columns": 1, "row": 2, "column": 4, "step": 4, "mma": 0, "stages": 2, "outer_n": 2}
    assert space.invalid(point) is None
    setting = space.setting(point)
    assert setting.lowering_config["workgroup"] == [1, 64, 2, 64, 0] and setting.workgroup_size == (256, 1, 1)


PARTS = ("promote_operands = {0}, promotion_types = [{1}], subgroup_basis = [[1, 1, 4, 1, 1, 1], [0, 1, 2, {2}, 5]]}}>}}")
MMA, DERIVED = "mma_kind = #iree_gpu.mma_layout<NV_MMA_SYNC_F32_16x8x16_F16>", "#iree_gpu.derived_thread_config"
ATTENTION_CHOICE = (
    "#iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<VectorDistribute> workgroup_size = [128, 1, 1] subgroup_size = 32, "
    '{iree_codegen.denormal_fp_math_f32 = #iree_codegen.denormal_fp_math<"preserve-sign">}> #iree_gpu.lowering_config<{promote_operands = [0, 1, 2], '
    f"promotion_types = [{DERIVED}, {DERIVED}, {DERIVED}], reduction = [0, 0, 0, 0, 0, 64], workgroup = [1, 1, 64, 32, 0, 0]}}> decomposition {{"
    f"pv_attrs = {{lowering_config = #iree_gpu.lowering_config<{{{MMA}, " + PARTS.format("[1]", DERIVED, 3) +
    f", qk_attrs = {{lowering_config = #iree_gpu.lowering_config<{{{MMA}, " + PARTS.format("[0, 1]", f"{DERIVED}, {DERIVED}", 4) + "}")
ATTENTION = Match(kind="attention", types=("f16", "f16", "f16", "f32", "f32", "f32", "f32"), dims=(2, 20, 1024, 64, 64, 1024), maps=tuple(
    f"(d0, d1, d2, d3, d4, d5) -> ({part})" for part in ("d0, d1, d2, d4", "d0, d1, d5, d4", "d0, d1, d5, d3", "", "d0, d1, d2, d3", "d0, d1, d2",
                                                         "d0, d1, d2")))


def test_attention_candidates_go_around_the_default():
    space = tune_space_gpu.space(ATTENTION, ATTENTION_CHOICE, "sm_80")
    assert not isinstance(space, str), space
    default = {"rows": 4, "row": 1, "column": 32, "step": 64, "promote": 0}
    assert space.setting(default) == space.default and space.invalid(default) is None and space.parameters["column"] == (32, 64)
    other = space.setting(default | {"rows": 8, "row": 2, "column": 64, "promote": 1})
    assert other.lowering_config["workgroup"] == [1, 1, 256, 64, 0, 0] and other.workgroup_size == (256, 1, 1)
    assert other.lowering_config["promote_operands"] == [1, 2]
    product = other.decomposition["qk_attrs"]["lowering_config"]
    assert product["subgroup_basis"] == [[1, 1, 8, 1, 1, 1], [0, 1, 2, 4, 5]] and product["promote_operands"] == [1]
    assert "divide" in tune_space_gpu.space(replace(ATTENTION, dims=(2, 20, 1000, 64, 64, 1024)), ATTENTION_CHOICE, "sm_80").invalid(default)
    assert "matrix instruction" in tune_space_gpu.space(ATTENTION, ATTENTION_CHOICE.replace("mma_layout", "layout"), "sm_80")
    assert "shared memory" in tune_space_gpu.space(replace(ATTENTION, dims=(2, 20, 4096, 512, 512, 4096)), ATTENTION_CHOICE, "sm_80").invalid(
        default | {"column": 512, "step": 128})


def test_gpu_candidates_are_pruned_by_their_assembly(tmp_path):
    text = ("  v_mfma_f32_16x16x16_f16 a, b\n  .amdhsa_kernel k\n\namdhsa.kernels:\n  - .agpr_count: 0\n    .group_segment_fixed_size: {lds}\n"
            "    .max_flat_workgroup_size: 64\n    .name: k\n    .private_segment_fixed_size: 0\n    .sgpr_spill_count: 0\n    .vgpr_count: 8\n"
            "    .vgpr_spill_count: {spills}\n")
    for content, words in ((text.format(lds=0, spills=3), "spills 3"), (text.format(lds=70000, spills=0), "70000 bytes of LDS"),
                           (text.format(lds=0, spills=0).replace("v_mfma", "v_fma"), "no matrix"), (text.format(lds=0, spills=0), None)):
        (tmp_path / "k.rocmasm").write_text(content)
        why = tune_pack.pruned(tmp_path, "gfx942")
        assert why is None if words is None else words in why
    (tmp_path / "k.rocmasm").unlink()
    assert "no assembly" in tune_pack.pruned(tmp_path, "gfx942")


def test_measure_takes_its_file():
    for given in (["pack"], ["ingest"], ["local", "x"], ["elsewhere"], ["pack", "a.zip", "build"]):
        with pytest.raises(ConfigError, match="--measure"):
            tune.parse(["build", "--measure", *given])


def test_plot_holds_every_measurement():
    text = tune_plot.svg([("a<b", [0.5, 2.0, 1.0]), ("none", [])])
    root = xml.etree.ElementTree.fromstring(text)
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == 3 and "best 2.00" in text and "a&lt;b" in text


def test_points_are_valid_and_the_same_every_time():
    space = tune_space_gpu.space(MMT, CHOICE, "gfx942")
    sweep = tune_search.Sweep(space=space, scope=None, text="", entry="", bytes=0, default=None, flags=(), driver="hip", rounds=1, result_type="f16")
    drawn = list(tune_pack.points(sweep, 20))
    assert len(drawn) == 20 and drawn == list(tune_pack.points(sweep, 20)) and all(space.invalid(point) is None for point in drawn)
    assert sweep.request["result_dtype"] == "float16"
    best, poor = DEFAULT | {"row": 2}, DEFAULT | {"column": 2}
    known = [(best, Result(outcome="time", ratio=1.5)), (poor, Result(outcome="time", ratio=0.5)), (drawn[0], Result(outcome="wrong"))]
    again = tune_pack.points(sweep, 20, known)  # goes on from the best, and over nothing twice
    assert not [point for point in again if point in (best, poor, drawn[0])]
    assert any(sum(point[name] != best[name] for name in best) == 1 for point in again[:2])

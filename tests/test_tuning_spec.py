"""Which spec a build gets, and that a record which does not apply fails the build by name. iree-compile is real, the exporter a fake."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from compile import exporting, manifest, match_report, memory_plan, precompile, tuning_spec
from compile.cache import Cache
from ireeperf.errors import CompileError, ConfigError, MissingFileError
from tests.fake_export import CONFIG, Exporter, save_checkpoint, settings

MATMUL = """module @{name} {{
  func.func @{function}(%a: tensor<64x96xf32>, %b: tensor<96x128xf32>) -> tensor<64x128xf32> {{
    %zero = arith.constant 0.0 : f32
    %empty = tensor.empty() : tensor<64x128xf32>
    %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<64x128xf32>) -> tensor<64x128xf32>
    %y = linalg.matmul ins(%a, %b : tensor<64x96xf32>, tensor<96x128xf32>) outs(%start : tensor<64x128xf32>) -> tensor<64x128xf32>
    return %y : tensor<64x128xf32>
  }}
}}
"""
NAME = "contraction_m64_n128_k96_f16xf16xf32_mkxknxmn"


class Matmuls(Exporter):
    """Every module is one matmul."""

    def __call__(self, model_json: Path, checkpoint: str, output: Path, modules: list[str], architecture: str) -> None:
        super().__call__(model_json, checkpoint, output, modules, architecture)
        for path in output.glob("*.mlir"):
            first = path.read_text().split("@")
            path.write_text(MATMUL.format(name=first[1].split()[0], function=first[2].split("(")[0]).replace("f32", "f16").replace(
                "tensor<64x128xf16>", "tensor<64x128xf32>").replace("0.0 : f16", "0.0 : f32").replace("%zero : f16", "%zero : f32"))


def save_record(folder: Path, **changes: object) -> Path:
    over = "(d0, d1, d2) -> "
    values = {"schema_version": 2, "target": "mi325x-cpx", "evidence": "ported", "source": "a test", "compiler": "3.13.0", "date": "2026-11-25",
              "match": {"kind": "contraction", "types": ["f16", "f16", "f32"], "dims": [64, 128, 96],
                        "maps": [f"{over}(d0, d2)", f"{over}(d2, d1)", f"{over}(d0, d1)"]},
              "set": {"pipeline": "TileAndFuse", "workgroup_size": [128, 1, 1], "subgroup_size": 64,
                      "lowering_config": {"workgroup": [32, 64, 0], "reduction": [0, 0, 2], "subgroup": [1, 4, 0],
                                          "mma_kind": "MFMA_F32_16x16x16_F16", "promote_operands": [0, 1]},
                      "options": {"prefetch_num_stages": 2}}} | changes
    folder.mkdir(parents=True, exist_ok=True)
    match = values["match"]
    (folder / f"contraction_m{match['dims'][0]}_n{match['dims'][1]}_k{match['dims'][2]}_f16xf16xf32_mkxknxmn.toml").write_text(tomli_w.dumps(values))
    return folder


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("IREE_BUILD_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(exporting, "run_exporter", Matmuls())
    checkpoint = save_checkpoint(tmp_path / "checkpoint")
    return lambda **changes: precompile.build(settings(tmp_path, checkpoint, **{"target": "mi325x-cpx"} | changes))


def test_a_folder_of_records_is_rendered_applied_and_reported(build, tmp_path: Path) -> None:
    output, _, _ = build(td_spec=save_record(tmp_path / "records"))
    report = match_report.read(output / match_report.NAME)
    tuned = [one for one in report.dispatches if one.record]
    assert {one.record for one in tuned} == {NAME} and {one.evidence for one in tuned} == {"ported"}
    assert all(one.static is not None and one.static.matrix_instructions > 0 and "[32, 64, 0]" in one.configuration for one in tuned)
    written = manifest.read(output)
    assert written.spec is not None and NAME in (output / written.spec.path).read_text()
    command = (output / written.executables[0].command).read_text()
    assert "--compile-to=preprocessing" in command and "wgp_count = 38" in command
    plan = memory_plan.read(output)
    assert plan.partition_bytes == 32 * 10**9 and len(plan.executables) == 3


def test_the_compiler_is_told_the_partition(build) -> None:
    output, _, _ = build()
    from compile import dumps

    name = manifest.read(output).executables[0].dispatches
    assert name is not None
    text = dumps.read(output / name, f"configured/{dumps.names(output / name, 'configured')[0]}").decode()
    assert "wgp_count = 38" in text and "memory_bandwidth_tbps = 7.500000e-01" in text


def test_a_record_that_matches_nothing_fails_the_build_with_the_field_that_differs(build, tmp_path: Path) -> None:
    over = "(d0, d1, d2) -> "
    folder = save_record(tmp_path / "records", match={"kind": "contraction", "types": ["f16", "f16", "f32"], "dims": [64, 128, 128],
                                                      "maps": [f"{over}(d0, d2)", f"{over}(d2, d1)", f"{over}(d0, d1)"]})
    with pytest.raises(CompileError, match=r"k128.*dims\[2\].*128 in the record, 96 in the dispatch"):
        build(td_spec=folder)
    assert not (tmp_path / "build").exists()


def test_records_for_another_target_are_refused(build, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are for mi325x-cpx, and the build is for mi355x-cpx"):
        build(td_spec=save_record(tmp_path / "records"), target="mi355x-cpx")


def test_an_absent_spec_is_named(build, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere does not exist"):
        build(td_spec=tmp_path / "nowhere")


def test_records_kept_for_target_and_model_are_the_default_and_none_leaves_them_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_record(tmp_path / "specs/mi325x-cpx" / CONFIG.stem)
    monkeypatch.setattr(tuning_spec, "SPECS", tmp_path / "specs")
    cache = Cache(tmp_path / "cache")
    _, found = tuning_spec.choose(None, "mi325x-cpx", None, CONFIG.stem, cache)
    assert found is not None and [one.name for one in found.records] == [NAME]
    assert tuning_spec.choose(Path("none"), "mi325x-cpx", None, CONFIG.stem, cache)[1] is None
    assert tuning_spec.choose(None, "mi325x-spx", None, CONFIG.stem, cache)[1] is None
    assert tuning_spec.choose(None, "mi325x-cpx", None, "another", cache)[1] is None


def test_records_that_change_during_a_build_leave_its_spec_as_it_was(tmp_path: Path) -> None:
    """The manifest's digest of the spec is taken when the build ends: it must be of what the kernels were compiled with."""
    cache, folder = Cache(tmp_path / "cache"), save_record(tmp_path / "records")
    _, first = tuning_spec.choose(folder, "mi325x-cpx", None, CONFIG.stem, cache)
    assert first is not None
    before = first.path.read_text()
    save_record(folder, source="another test", set={"pipeline": "TileAndFuse", "workgroup_size": [128, 1, 1], "subgroup_size": 64, "lowering_config": {
        "workgroup": [32, 64, 0], "reduction": [0, 0, 2], "subgroup": [2, 2, 0], "mma_kind": "MFMA_F32_16x16x16_F16", "promote_operands": [0, 1]}})
    _, second = tuning_spec.choose(folder, "mi325x-cpx", None, CONFIG.stem, cache)
    assert second is not None and second.path != first.path and first.path.read_text() == before != second.path.read_text()
    assert second.path.name == first.path.name == "records.mlir"


def test_static_records_are_applied_where_their_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "specs/mi325x-cpx" / CONFIG.stem
    save_record(folder, evidence="static", static={"vgpr_spills": "94 -> 0"})
    monkeypatch.setattr(tuning_spec, "SPECS", tmp_path / "specs")
    cache = Cache(tmp_path / "cache")
    assert tuning_spec.choose(None, "mi325x-cpx", None, CONFIG.stem, cache)[1] is None
    _, found = tuning_spec.choose(folder, "mi325x-cpx", None, CONFIG.stem, cache)
    assert found is not None and [one.evidence for one in found.records] == ["static"]


def test_a_plain_cpu_build_takes_the_records_of_this_host() -> None:
    assert tuning_spec.names(tuning_spec.target.find("cpu"))[:1] in ((), ("cpu-avx2",), ("cpu-avx512",))
    assert tuning_spec.names(tuning_spec.target.find("cpu-avx2")) == ("cpu-avx2",)


def test_a_build_that_cannot_fit_is_refused_with_the_numbers(build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_plan, "declared_bytes", lambda *_: 20 * 10**9)
    with pytest.raises(ConfigError, match=r"does not fit a partition of mi325x-cpx: 2 process\(es\) take .* it has 29.8 GiB"):
        build(checkpoint="none", processes_per_partition=2)


def test_the_memory_plan_follows_the_processes_of_the_last_command(build) -> None:
    output, _, _ = build()
    assert memory_plan.read(output).processes_per_partition == 1
    _, _, figures = build(processes_per_partition=2)
    assert figures["unchanged"] and memory_plan.read(output).processes_per_partition == 2

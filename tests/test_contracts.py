"""Every contract between stages, by the same rules: frozen, versioned, strict, written whole.

The table of docs/ARCHITECTURE.md, "Contracts between stages", with one example each.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compile import manifest, match_report, memory_plan
from compile.manifest import Executable, Manifest, ParameterArchive, Spec
from compile.match_report import DispatchMatch, MatchReport, StaticFigures
from compile.memory_plan import MemoryPlan, Resident
from export import model_config
from harness import run_result
from harness.run_result import BatchEvent, Interpreter, Plan, RunResult, Timeline, Timing
from ireeperf import bounds, document
from ireeperf.errors import ConfigError
from runtime import partition, service_times
from runtime.service_times import ServiceTimes
from specs import record
from specs.match import Match
from specs.record import Setting, TuningRecord

CONFIG = Path(__file__).resolve().parents[1] / "export" / "configs" / "sdxl_nano_bs2.json"
MODEL = model_config.read(CONFIG)
MATMUL = Match(kind="contraction", types=("f16", "f16", "f32"), dims=(1, 2, 3),
               maps=("(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d1, d2)", "(d0, d1, d2) -> (d0, d1)"))
SETTING = Setting(pipeline="TileAndFuse", lowering_config={"workgroup": [64, 64, 0]}, workgroup_size=(256, 1, 1), subgroup_size=64)
RECORD = TuningRecord(target="mi325x-cpx", match=MATMUL, set=SETTING, evidence="measured", source="compile.tune", compiler="3.13.0",
                      date="2026-11-23", machine="cpu", baseline_us=2.0, tuned_us=1.0, runs=3)
STATIC = StaticFigures(matrix_instructions=64, vgprs=118, agprs=0, vgpr_spills=0, sgpr_spills=0, lds_bytes=1024, scratch_bytes=0,
                       workgroup_threads=256, occupancy=4.0, workgroups=320, fill=0.94)
DISPATCH = DispatchMatch(executable="c.vmfb", dispatch="d", kind="contraction", name=MATMUL.name, shape=(1, 2, 3), types=("f16", "f16", "f32"),
                         flops=12, bytes=40, calls=1, record=None, evidence=None, configuration="", static=STATIC, roofline_us=0.1,
                         source_sha256="3" * 64)
MEMORY = MemoryPlan(manifest_key="01", target="mi325x-cpx", partition_bytes=9, processes_per_partition=1,
                    executables=(Resident(module="clip", batch_size=2, weight_bytes=3, transient_bytes=1),))
RESULT = RunResult(
    run="20261123T000000Z-offline-performance-01234567", scenario="Offline", mode="performance", status="valid", cause=None,
    started_utc="2026-11-23T00:00:00+00:00", model="sdxl-nano", manifest="build/x", manifest_key="0123", sample_set="s.npz",
    sample_set_digest="4567", samples_issued=8, samples_completed=8, devices=("local-task://0",), batch_size=2,
    loadgen={"result_samples_per_second": 1.5}, interpreter=Interpreter(version="3.11.7", free_threaded=False, gil_enabled=True),
    timing=Timing(wall=1.0, cpu=2.0, device_busy=0.9, host=0.01), versions={"numpy": "2.4.6"}, host={"cores": "2"},
    plan=Plan(samples=8, waves=4, planned_efficiency=1.0, achieved_efficiency=0.9, padded=0))
BUILD = Manifest(
    key="01", created_utc="2026-11-23T00:00:00+00:00", model=MODEL, model_json="m.json", checkpoint="none", target="cpu",
    driver="local-task", compiler_version="3.13.0", spec=Spec(path="s.mlir", sha256="2" * 64), stage_seconds={"compile": 2.0},
    executables=(Executable(module="clip", module_name="compiled_clip", entry_points=("encode_prompts",), batch_size=2, path="c.vmfb",
                            sha256="0" * 64, command="c.txt", seconds=1.0),),
    parameter_archives=(ParameterArchive(module="clip", path="c.irpa", sha256="1" * 64, bytes=9),))


@dataclasses.dataclass(frozen=True)
class Contract:
    example: Any
    read: Callable[[Path], Any]  # the owner's reader
    name: str = "document.json"  # what the reader expects the file to be called
    by_folder: bool = False


CONTRACTS = {
    "ModelConfig": Contract(MODEL, model_config.read),
    "Manifest": Contract(BUILD, manifest.read, manifest.NAME),
    "MatchReport": Contract(MatchReport(manifest_key="01", target="mi325x-cpx", dispatches=(DISPATCH,)),
                            match_report.read, match_report.NAME),
    "MemoryPlan": Contract(MEMORY, memory_plan.read, memory_plan.NAME, by_folder=True),
    "TuningRecord": Contract(RECORD, record.read, f"{RECORD.name}.json"),
    "Partition": Contract(partition.PRESETS["mi325x-cpx"], partition.read),
    "ServiceTimes": Contract(ServiceTimes(device="null", evidence="assumed", source="a test", seconds={"1": 0.5}), service_times.read),
    "RunResult": Contract(RESULT, run_result.read, run_result.NAME, by_folder=True),
    "Timeline": Contract(Timeline(batches=(BatchEvent(device="d", first_sample=0, samples=2, size=2, submitted_ns=1, started_ns=2, completed_ns=3),)),
                         run_result.read_timeline, run_result.TIMELINE, by_folder=True),
    "Gate": Contract(bounds.SDXL_MLPERF, bounds.read),
}
each = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)


def read_back(contract: Contract, folder: Path, values: Any) -> Any:
    path = folder / contract.name
    path.write_text(json.dumps(values))
    return contract.read(folder if contract.by_folder else path)


@each
def test_round_trip(contract, tmp_path):
    path = tmp_path / contract.name
    document.write(contract.example, path)
    assert contract.read(tmp_path if contract.by_folder else path) == contract.example
    assert [entry.name for entry in tmp_path.iterdir()] == [contract.name]


@each
def test_frozen_keyword_only_and_versioned(contract):
    cls = type(contract.example)
    assert cls.__dataclass_params__.frozen and cls.schema_version >= 1
    assert all(field.kw_only for field in dataclasses.fields(cls))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(contract.example, dataclasses.fields(cls)[0].name, None)


@each
def test_unknown_key_and_version_are_refused(contract, tmp_path):
    values = document.to_dict(contract.example)
    with pytest.raises(ConfigError, match="unknown key 'extra'"):
        read_back(contract, tmp_path, values | {"extra": 1})
    with pytest.raises(ConfigError, match="schema_version 99, this release reads"):
        read_back(contract, tmp_path, values | {"schema_version": 99})


@each
def test_every_key_is_typed(contract, tmp_path):
    """A value of another kind is refused under each key; nothing is coerced silently."""
    values = document.to_dict(contract.example)
    for field in dataclasses.fields(contract.example):
        wrong = 17 if isinstance(values[field.name], (str, list, dict, type(None))) else "seventeen"
        with pytest.raises(ConfigError, match=rf"{field.name}"):
            read_back(contract, tmp_path, values | {field.name: wrong})


@each
def test_required_keys_are_required(contract, tmp_path):
    values = document.to_dict(contract.example)
    for field in dataclasses.fields(contract.example):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            with pytest.raises(ConfigError, match=f"key '{field.name}' is missing"):
                read_back(contract, tmp_path, {key: value for key, value in values.items() if key != field.name})


@each
def test_absent_file(contract, tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        contract.read(tmp_path if contract.by_folder else tmp_path / contract.name)


def test_a_measured_record_proves_itself():
    with pytest.raises(ConfigError, match="needs machine, baseline_us, tuned_us and runs"):
        dataclasses.replace(RECORD, machine=None)
    with pytest.raises(ConfigError, match="tuned_us 2.0 is not below baseline_us 2.0; delete the record"):
        dataclasses.replace(RECORD, tuned_us=2.0)
    static = dataclasses.replace(RECORD, evidence="static", static={"vgpr_spills": "94 -> 0"}, machine=None, baseline_us=None, tuned_us=None,
                                 runs=None)
    assert static.runs is None
    with pytest.raises(ConfigError, match="names the figure that it improves"):
        dataclasses.replace(static, static={})


def test_a_record_is_kept_under_its_dispatch_s_name(tmp_path):
    document.write(RECORD, tmp_path / "other.json")
    with pytest.raises(ConfigError, match=f"rename it to {RECORD.name}.toml"):
        record.read(tmp_path / "other.json")


def test_partitions_count_their_devices():
    assert {name: preset.devices for name, preset in partition.PRESETS.items()} == {
        "mi325x-cpx": 64, "mi325x-spx": 8, "mi355x-cpx": 64, "mi355x-spx": 8}
    with pytest.raises(ConfigError, match="0 x 8 devices"):
        dataclasses.replace(partition.PRESETS["mi325x-cpx"], gpus=0)


def test_service_times():
    times = CONTRACTS["ServiceTimes"].example
    assert times.of(1) == 0.5
    with pytest.raises(ConfigError, match="no service time for batch size 4 on null; known: 1"):
        times.of(4)
    for seconds in ({"x": 1.0}, {"0": 1.0}, {"1": -1.0}):
        with pytest.raises(ConfigError, match="service time of batch size"):
            dataclasses.replace(times, seconds=seconds)


def test_a_null_run_says_so():
    assert not RESULT.is_null
    assert dataclasses.replace(RESULT, devices=("null://0",)).is_null

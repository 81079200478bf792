"""harness.machine_partition: a machine in another mode than the build's is refused before a device opens."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness import machine_partition
from harness.inputs import Inputs
from harness.settings import parse
from ireeperf import document
from ireeperf.errors import ConfigError, DeviceError
from runtime import topology
from runtime.partition import PRESETS, Partition
from tests import tiny_build

SPX = dataclasses.replace(PRESETS["mi325x-spx"], name="this machine")


def found(target: str = "gfx942") -> Inputs:
    manifest = dataclasses.replace(tiny_build.manifest(tiny_build.model()), target=target, driver="hip")
    return Inputs(manifest_path=Path("m"), manifest=manifest, samples_path=Path("s"), samples=tiny_build.samples(4),
                  user_conf=Path("u"), batch_size=4, sizes=(4,), output=Path("o"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Partition:
    monkeypatch.setattr(topology, "read_machine", lambda: SPX)
    return SPX


def test_nobody_asks_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "read_machine", lambda: pytest.fail("read"))
    assert machine_partition.of_run(parse("offline", []), found()) is None
    assert machine_partition.of_run(parse("offline", ["--device", "null"]), found("mi325x-cpx")) is None


@pytest.mark.parametrize(("target", "argv"), [("mi325x-cpx", []), ("gfx942", ["--partition", "mi325x-cpx"]),
                                              ("mi325x-cpx", ["--partition", "machine"])])
def test_another_mode_is_refused_with_the_command(machine: Partition, target: str, argv: list[str]) -> None:
    with pytest.raises(DeviceError, match="the machine is in SPX/NPS1, mi325x-cpx is CPX/NPS1.*--compute-partition CPX"):
        machine_partition.of_run(parse("offline", argv), found(target))


def test_the_wanted_mode_is_accepted(machine: Partition) -> None:
    assert machine_partition.of_run(parse("offline", []), found("mi325x-spx")) == machine
    assert machine_partition.of_run(parse("offline", ["--partition", "machine"]), found()) == machine


def test_a_file_describes_the_machine(tmp_path: Path) -> None:
    document.write(PRESETS["mi325x-cpx"], tmp_path / "machine.json")
    argv = ["--partition", str(tmp_path / "machine.json")]
    assert machine_partition.of_run(parse("offline", argv), found("mi325x-cpx")) == PRESETS["mi325x-cpx"]
    with pytest.raises(DeviceError, match="the machine is in CPX/NPS1, mi325x-spx is SPX/NPS1"):
        machine_partition.of_run(parse("offline", argv), found("mi325x-spx"))


def test_what_is_neither_file_nor_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="--partition h200 is neither a file, nor `machine`, nor one of mi325x-cpx"):
        machine_partition.of_run(parse("offline", ["--partition", "h200"]), found())


@pytest.mark.parametrize("name", ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"])
def test_a_variable_that_renumbers_devices_is_refused(monkeypatch: pytest.MonkeyPatch, machine: Partition, name: str) -> None:
    monkeypatch.setenv(name, "1,2")
    with pytest.raises(ConfigError, match=f"{name} is set: device indices are then not those of the partition"):
        machine_partition.of_run(parse("offline", []), found("mi325x-spx"))

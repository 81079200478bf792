"""runtime.partition: machines as data."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ireeperf import document
from ireeperf.errors import ConfigError
from runtime import partition
from runtime.partition import PRESETS

CPX = PRESETS["mi325x-cpx"]


def test_modes_are_two_halves():
    assert (CPX.compute_mode, CPX.memory_mode) == ("CPX", "NPS1")
    plain = dataclasses.replace(CPX, mode="-")
    assert (plain.compute_mode, plain.memory_mode) == ("-", "-")


def test_numa_node_of_each_device():
    assert CPX.numa_node(63) is None
    known = dataclasses.replace(CPX, numa_nodes=(0, 0, 0, 0, 1, 1, 1, 1))
    assert [known.numa_node(device) for device in (0, 31, 32, 63)] == [0, 0, 1, 1]
    with pytest.raises(ConfigError, match="device 64 of partition mi325x-cpx, which shows 64"):
        known.numa_node(64)


def test_absent_devices_do_not_show():
    found = dataclasses.replace(CPX, absent=1, numa_nodes=(0,) * 8)
    assert found.devices == 63
    assert found.numa_node(5) is None, "which of them is absent is not known, so index / 8 is not the GPU"


@pytest.mark.parametrize(("change", "text"), [
    ({"gpus": 0}, "at least one is needed"), ({"numa_nodes": (0, 1)}, "2 NUMA nodes for 8 GPUs"),
    ({"absent": -1}, "lacks -1 of 64"), ({"absent": 64}, "lacks 64 of 64")])
def test_what_no_machine_is(change, text):
    with pytest.raises(ConfigError, match=text):
        dataclasses.replace(CPX, **change)


def test_files(tmp_path):
    path = tmp_path / "machine.json"
    known = dataclasses.replace(CPX, numa_nodes=(0, 0, 0, 0, 1, 1, 1, 1), absent=2)
    document.write(known, path)
    assert partition.read(path) == known
    old = json.loads(path.read_text())
    del old["numa_nodes"], old["absent"]  # written before these fields
    path.write_text(json.dumps(old))
    assert partition.read(path) == CPX

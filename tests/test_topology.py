"""runtime.topology, runtime.sysfs, runtime.amd_smi: what a machine's files and programs say of it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ireeperf.errors import ConfigError, DeviceError
from runtime import amd_smi, partition, sysfs, topology
from runtime.partition import PRESETS
from tests.fake_machine import VRAM, FakeMachine, amd_smi_static

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def machine(tmp_path):
    return FakeMachine(tmp_path / "root").build("CPX")


def test_eight_gpus_in_cpx_are_64_devices(machine):
    found = topology.read_machine(machine.root, smi=None)
    assert (found.name, found.mode, found.gpus, found.devices_per_gpu, found.devices, found.absent) == ("mi325x-cpx", "CPX/NPS1", 8, 8, 64, 0)
    assert (found.compute_units, found.memory_bytes, found.numa_nodes) == (38, VRAM // 8, (0, 0, 0, 0, 1, 1, 1, 1))
    assert [found.numa_node(device) for device in (0, 31, 32, 63)] == [0, 0, 1, 1]
    topology.check_mode(found, PRESETS["mi325x-cpx"], machine.root)


@pytest.mark.parametrize(("compute", "devices", "units"), [("SPX", 8, 304), ("DPX", 16, 152), ("QPX", 32, 76)])
def test_other_modes(tmp_path, compute, devices, units):
    found = topology.read_machine(FakeMachine(tmp_path).build(compute).root, smi=None)
    assert (found.devices, found.compute_units, found.memory_bytes) == (devices, units, VRAM * 8 // devices)


def test_a_machine_in_spx_is_refused_with_the_command(tmp_path):
    machine = FakeMachine(tmp_path).build("SPX")
    with pytest.raises(DeviceError) as refused:
        topology.check_mode(topology.read_machine(machine.root, smi=None), PRESETS["mi325x-cpx"], machine.root)
    text = str(refused.value)
    assert text == ("the machine is in SPX/NPS1, mi325x-cpx is CPX/NPS1; run ./scripts/prepare_machine --apply, or "
                    "sudo amd-smi set --gpu all --compute-partition CPX")


def test_a_memory_mode_is_set_before_the_compute_mode(tmp_path):
    machine = FakeMachine(tmp_path).build("CPX", "NPS4")
    with pytest.raises(DeviceError, match=r"CPX/NPS4, .* --memory-partition NPS1 and then sudo amd-smi set --gpu all "
                                          r"--compute-partition CPX"):
        topology.check_mode(topology.read_machine(machine.root, smi=None), PRESETS["mi325x-cpx"], machine.root)


def test_a_mode_that_the_gpu_does_not_offer_is_named(tmp_path):
    machine = FakeMachine(tmp_path).build("CPX", "NPS4")
    wanted = dataclasses.replace(PRESETS["mi325x-spx"], mode="SPX/NPS4")
    with pytest.raises(DeviceError, match=r"this GPU offers CPX in NPS4, not SPX"):
        topology.check_mode(topology.read_machine(machine.root, smi=None), wanted, machine.root)


def test_a_vga_driver_takes_a_drm_node_and_63_devices_show(tmp_path):
    """amdsmi's known issue, and AMD's FAQ: blacklist ast, then reboot."""
    machine = FakeMachine(tmp_path, vga=True).build("CPX")
    found = topology.read_machine(machine.root, smi=None)
    assert (found.devices, found.absent, found.numa_node(0)) == (63, 1, None)
    with pytest.raises(DeviceError) as refused:
        topology.check_mode(found, PRESETS["mi325x-cpx"], machine.root)
    text = str(refused.value)
    assert text.startswith("63 of 64 devices show in CPX/NPS1; card0 (ast) holds a DRM node") and "blacklist ast" in text
    assert "version" not in text


def test_devices_that_are_absent_for_another_reason(machine):
    shutil.rmtree(machine.root / "sys/class/kfd/kfd/topology/nodes/65")
    with pytest.raises(DeviceError, match=r"63 of 64 .* differ in version: .*amd-smi version.*blacklist ast"):
        topology.check_mode(topology.read_machine(machine.root, smi=None), PRESETS["mi325x-cpx"], machine.root)


def test_a_gpu_that_fell_off_and_a_smaller_gpu(tmp_path):
    seven = topology.read_machine(FakeMachine(tmp_path / "a", gpus=7).build("CPX").root, smi=None)
    with pytest.raises(DeviceError, match=r"shows 56 devices on 7 GPUs, mi325x-cpx has 64 on 8; see `sudo dmesg"):
        topology.check_mode(seven, PRESETS["mi325x-cpx"], tmp_path)
    topology.check_mode(seven, PRESETS["mi325x-cpx"], tmp_path, every_gpu=False)
    other = dataclasses.replace(PRESETS["mi325x-cpx"], name="mi300x-cpx", memory_bytes=24 * 10**9)
    with pytest.raises(DeviceError, match=r"38 compute units and 24 GB, one of mi325x-cpx 38 and 32 GB; compile for this "
                                          r"machine"):
        topology.check_mode(other, PRESETS["mi325x-cpx"], tmp_path)


def test_gpus_in_different_modes_are_refused(machine):
    (machine.root / "sys/devices/pci/0000:05:00.0/current_compute_partition").write_text("SPX\n")
    with pytest.raises(DeviceError, match=r"differ in mode: CPX/NPS1, SPX/NPS1; run \./scripts/prepare_machine --apply"):
        topology.read_machine(machine.root, smi=None)


def test_an_integrated_gpu_beside_instinct_gpus_does_not_count(machine):
    device = machine.root / "sys/devices/pci/0000:ff:00.0"
    machine.card(70, device, "amdgpu", "0x1002", "0x164e")
    nodes = machine.root / "sys/class/kfd/kfd/topology/nodes/99"
    nodes.mkdir()
    (nodes / "properties").write_text(f"simd_count 4\nsimd_per_cu 2\nlocation_id {0xFF00}\ndomain 0\n")
    assert topology.read_machine(machine.root, smi=None).devices == 64


def test_instinct_gpus_that_the_compute_driver_does_not_know(machine):
    shutil.rmtree(machine.root / "sys/class/kfd/kfd/topology/nodes")
    nodes = machine.root / "sys/class/kfd/kfd/topology/nodes/1"
    nodes.mkdir(parents=True)
    (nodes / "properties").write_text(f"simd_count 4\nsimd_per_cu 2\nlocation_id {0xFF00}\ndomain 0\n")
    with pytest.raises(DeviceError, match="no AMD GPU in"):
        topology.read_machine(machine.root, smi=None)


def test_a_gpu_without_partitions(tmp_path):
    machine = FakeMachine(tmp_path, gpus=1, device_id="0x744c").build("SPX")
    for name in ("current_compute_partition", "current_memory_partition", "available_compute_partition"):
        (tmp_path / "sys/devices/pci/0000:05:00.0" / name).unlink()
    found = topology.read_machine(machine.root, smi=None)
    assert (found.name, found.mode, found.devices) == ("amd-744c", "-", 1)


def test_nothing_shows(tmp_path):
    with pytest.raises(DeviceError, match=r"no AMD GPU in .*sudo modprobe amdgpu"):
        topology.read_machine(tmp_path, smi=str(tmp_path / "amd-smi"))


def test_amd_smi_is_the_second_source(machine, tmp_path):
    smi = str(machine.programs(tmp_path / "bin") / "amd-smi")
    from_sysfs = topology.read_machine(machine.root, smi=smi)
    assert not (machine.root / "commands").exists()
    shutil.rmtree(machine.root / "sys/class/kfd")
    assert topology.read_machine(machine.root, smi=smi) == from_sysfs
    assert (machine.root / "commands").read_text() == f"amd-smi {' '.join(amd_smi.STATIC)}\n"


def test_shapes_of_amd_smi(machine):
    rows = json.loads(amd_smi_static(machine))
    expected = topology.from_amd_smi(json.dumps(rows), "x")
    assert topology.from_amd_smi(json.dumps({"gpu_data": rows}), "x") == expected  # ROCm 7
    for row in rows:
        row["partition"]["compute_partition"] = row["partition"].pop("accelerator_partition")  # before ROCm 6.4
    assert topology.from_amd_smi(json.dumps(rows), "x") == expected
    assert expected.devices == 64 and expected.numa_nodes == (0, 0, 0, 0, 1, 1, 1, 1)
    for row in rows:
        row["numa"]["affinity"] = "N/A"
    assert topology.from_amd_smi(json.dumps(rows), "x").numa_nodes == (0,) * 8
    assert topology.from_amd_smi(json.dumps(rows[:-1]), "x").absent == 1


@pytest.mark.parametrize("text", ["", "no GPU", '{"error": 1}', "[1]", '[{"bus": {}}]', '[{"bus": {"bdf": '
                                                                                        '"0000:05:00.0"}}]'])
def test_what_is_not_amd_smi(text):
    with pytest.raises(DeviceError, match="amd-smi of ROCm 6.4 or newer"):
        topology.from_amd_smi(text, "the file")


def test_threads_are_bound_to_the_cpus_of_their_node(tmp_path):
    """Really bound, in a thread of its own; the caller's CPUs stay as they are."""
    own = sorted(os.sched_getaffinity(0))
    for node, cpus in enumerate((str(own[0]), f"{own[-1]}-{own[-1]}")):
        path = tmp_path / f"sys/devices/system/node/node{node}/cpulist"
        path.parent.mkdir(parents=True)
        path.write_text(cpus + "\n")
    seen = []
    thread = threading.Thread(target=lambda: seen.extend([topology.bind_threads(1, tmp_path), os.sched_getaffinity(0)]))
    thread.start()
    thread.join()
    assert seen == [f"bound to NUMA node 1: 1 of its CPUs {own[-1]}-{own[-1]}", {own[-1]}]
    assert sorted(os.sched_getaffinity(0)) == own


def test_threads_stay_free_where_binding_means_nothing(tmp_path):
    own = os.sched_getaffinity(0)
    assert topology.bind_threads(0, FakeMachine(tmp_path / "one", nodes=1).build().root) == "not bound: this machine has one NUMA node"
    two = FakeMachine(tmp_path / "two").build()
    assert topology.bind_threads(None, two.root) == "not bound: the device's NUMA node is not known"
    (two.root / "sys/devices/system/node/node1/cpulist").write_text("100000-100003\n")
    assert topology.bind_threads(1, two.root) == "not bound: this process may use none of NUMA node 1's CPUs (100000-100003)"
    assert "it has none" in topology.bind_threads(7, two.root)
    assert os.sched_getaffinity(0) == own


def test_cpu_lists():
    assert topology.cpus_of("0-2,8,10-11", "x") == {0, 1, 2, 8, 10, 11}
    assert topology.cpus_of("", "x") == set()
    with pytest.raises(ConfigError, match="node1/cpulist: '0-x' is not a CPU list"):
        topology.cpus_of("0-x", "node1/cpulist")


def test_other_drivers_on_drm_nodes(machine, tmp_path):
    assert sysfs.foreign_drm_nodes(machine.root) == ()
    assert sysfs.foreign_drm_nodes(FakeMachine(tmp_path / "vga", vga=True).build("CPX").root) == ("card0 (ast)",)
    (machine.root / "sys/devices/pci/0000:05:00.0/driver").unlink()
    assert sysfs.foreign_drm_nodes(machine.root) == ("card0 (no driver)",)


def test_the_command_describes_the_machine_in_a_file(machine, tmp_path):
    output = tmp_path / "machine.json"
    done = subprocess.run([sys.executable, "-m", "runtime.topology", "--root", machine.root, "--output", output], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = partition.read(output)
    assert found == topology.read_machine(machine.root, smi=None)
    assert json.loads(done.stdout.splitlines()[-1])["numa_nodes"] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert "64 devices on 8 GPUs" in done.stdout

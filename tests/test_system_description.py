"""harness.system_description: a machine's files made up in a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness import system_description
from harness.submission_limits import SYSTEM_KEYS
from harness.system_description import UNKNOWN, describe, read_overrides
from ireeperf.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]


def put(root: Path, path: str, content: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{content}\n")


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Two sockets of 64 cores, 8 packages in CPX (64 KFD nodes), two NVMe disks, two network cards of which one is up."""
    cpus = "\n".join(f"processor\t: {n}\nmodel name\t: AMD EPYC 9575F\nphysical id\t: {n % 2}\ncpu cores\t: 64\n" for n in range(256))
    put(tmp_path, "proc/cpuinfo", cpus)
    put(tmp_path, "proc/meminfo", "MemTotal:       2377889024 kB\nMemFree: 1 kB")
    put(tmp_path, "proc/sys/kernel/osrelease", "6.8.0-60-generic")
    put(tmp_path, "etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"')
    put(tmp_path, "sys/class/dmi/id/sys_vendor", "Supermicro")
    put(tmp_path, "sys/class/dmi/id/product_name", "AS-8126GS-TNMR")
    put(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", 5008006)
    for name, value in (("level", 3), ("type", "Unified"), ("size", "32768K"), ("shared_cpu_list", "0-7,128-135")):
        put(tmp_path, f"sys/devices/system/cpu/cpu0/cache/index3/{name}", value)
    for node in range(2):
        put(tmp_path, f"sys/devices/system/node/node{node}/cpulist", "0")
    for disk, sectors, rotates in (("nvme0n1", 7_501_476_528, 0), ("nvme1n1", 7_501_476_528, 0), ("loop0", 8, 0), ("sda", 0, 1)):
        put(tmp_path, f"sys/block/{disk}/size", sectors)
        put(tmp_path, f"sys/block/{disk}/queue/rotational", rotates)
    for card, speed in (("eno1", 25000), ("eno2", -1), ("lo", 0)):
        put(tmp_path, f"sys/class/net/{card}/speed", speed)
        if card != "lo":
            (tmp_path / f"sys/class/net/{card}/device").mkdir()
    put(tmp_path, "sys/class/kfd/kfd/topology/nodes/0/properties", "simd_count 0\nlocation_id 0")
    for package in range(8):
        for xcd in range(8):
            node = f"sys/class/kfd/kfd/topology/nodes/{1 + 8 * package + xcd}"
            put(tmp_path, f"{node}/properties", f"simd_count 152\ngfx_target_version 90402\ndomain 0\nmax_engine_clk_fcompute 2100\n"
                f"location_id {(package + 1) * 4096 + xcd}")
            put(tmp_path, f"{node}/mem_banks/0/properties", f"heap_type 1\nsize_in_bytes {32 * 10**9}")
    return tmp_path


def test_a_server_in_cpx(server: Path) -> None:
    found = describe(server, {}).values
    assert set(found) == set(SYSTEM_KEYS) - {"division", "submitter"} and all(type(value) is str for value in found.values())
    assert found["host_processor_model_name"] == "AMD EPYC 9575F" and found["host_processors_per_node"] == "2"
    assert found["host_processor_core_count"] == "64" and found["host_processor_frequency"] == "5.01 GHz (max)"
    assert found["host_processor_caches"] == "L3 32768K per 16 threads" and found["host_memory_capacity"] == "2268 GiB"
    assert found["host_memory_configuration"] == "2 NUMA nodes" and found["system_name"] == "Supermicro AS-8126GS-TNMR"
    assert found["host_storage_capacity"] == "7.7 TB" and found["host_storage_type"] == "2x NVMe SSD"
    assert found["host_networking"] == "1x 25 Gb/s" and found["host_network_card_count"] == "2"
    assert found["operating_system"] == "Ubuntu 22.04.5 LTS (kernel 6.8.0-60-generic)"
    # 64 partitions are 8 accelerators of 8 x 32 GB
    assert found["accelerators_per_node"] == "8" and found["accelerator_model_name"] == "AMD gfx942"
    assert found["accelerator_memory_capacity"] == "256 GB" and found["accelerator_frequency"] == "2100 MHz (max)"


def test_what_the_file_says_wins_and_what_nobody_says_is_listed(server: Path) -> None:
    overrides = read_overrides(ROOT / "harness/systems/mi325x.toml")
    found = describe(server, overrides)
    assert found.values["accelerator_model_name"] == "AMD Instinct MI325X 256GB HBM3E" and found.values["accelerators_per_node"] == "8"
    assert set(found.unsaid) == {"host_processor_interconnect", "host_networking_topology", "cooling", "framework", "other_software_stack"}
    assert all(found.values[key] == UNKNOWN for key in found.unsaid)


def test_an_empty_machine_has_no_empty_meaningful_value(tmp_path: Path) -> None:
    """The checker refuses an empty value, and an integer 0 is one."""
    found = describe(tmp_path, {})
    assert found.values["accelerators_per_node"] == "0"
    assert all(found.values[key] for key, meaningful in SYSTEM_KEYS.items() if meaningful and key in found.values)


@pytest.mark.parametrize(("content", "words"), [
    ("colling = 'air'", "'colling' is no key"), ("submitter = 'AMD'", "'submitter' is no key"), ("cooling = ['air']", "cooling is"),
    ("cooling = ", "cannot read"),
])
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "system.toml").write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_overrides(tmp_path / "system.toml")


def test_files_that_come_with_the_harness_are_read() -> None:
    files = sorted((ROOT / "harness/systems").glob("*.toml"))
    assert {path.stem for path in files} >= {"mi325x", "rehearsal"}
    for path in files:
        assert read_overrides(path)["status"] in ("available", "rdi")


def test_the_command_prints_this_machine(server: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "harness.system_description", "--root", str(server)], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["system"] == describe(server, {}).values and "cooling" in last["unsaid"]
    assert system_description.parse([]).root == Path("/")

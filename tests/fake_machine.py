"""A machine's sysfs in a folder, and programs that act on it: 8 GPUs with partitions, NUMA nodes, kernel settings.

The layout is that of the amdgpu driver (see runtime/sysfs.py). As a program (`fake_machine.py ROOT NAME argument...`) it is
amd-smi, rocm-smi or cpupower of that machine; `programs` puts such programs into a folder for PATH. A file ROOT/refuse names
words: a command with one of them fails, as a driver with busy GPUs does.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

MI325X = "0x74a5"
VRAM = 256 << 30
XCDS, UNITS = 8, 38
DEVICES = {"SPX": 1, "DPX": 2, "QPX": 4, "CPX": 8}
PROGRAMS = ("amd-smi", "rocm-smi", "cpupower")


@dataclass(frozen=True)
class FakeMachine:
    """`nodes`: NUMA nodes, CPUs split evenly. `vga`: a board's VGA driver (ast) that takes the first of the 64 DRM nodes."""

    root: Path
    gpus: int = 8
    cpus: int = 4
    nodes: int = 2
    vga: bool = False
    device_id: str = MI325X

    def build(self, compute: str = "SPX", memory: str = "NPS1") -> FakeMachine:
        """Write everything."""
        write(self.root / "fake.json", json.dumps([self.gpus, self.cpus, self.nodes, self.vga, self.device_id]))
        self.host()
        self.gpu_files(compute, memory, "auto")
        return self

    def host(self) -> None:
        """CPUs, NUMA nodes and kernel settings as a fresh Ubuntu has them."""
        for cpu in range(self.cpus):
            base = self.root / f"sys/devices/system/cpu/cpu{cpu}"
            write(base / "cpufreq/scaling_governor", "schedutil")
            for state in range(3):
                write(base / f"cpuidle/state{state}/disable", "0")
        share = self.cpus // self.nodes
        for node in range(self.nodes):
            write(self.root / f"sys/devices/system/node/node{node}/cpulist", f"{node * share}-{(node + 1) * share - 1}")
        for name, value in (("nmi_watchdog", "1"), ("numa_balancing", "1"), ("randomize_va_space", "2")):
            write(self.root / "proc/sys/kernel" / name, value)
        write(self.root / "proc/sys/vm/drop_caches", "0")
        write(self.root / "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
        write(self.root / "sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise [madvise] never")

    def gpu_files(self, compute: str, memory: str, level: str, clock: int = 2100) -> None:
        """DRM cards and KFD nodes of a mode."""
        for folder in ("sys/class/drm", "sys/class/kfd", "sys/devices/pci", "sys/devices/platform"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
        drm, kfd = self.root / "sys/class/drm", self.root / "sys/class/kfd/kfd/topology/nodes"
        card, node = 0, 0
        if self.vga:
            self.card(card, self.root / "sys/devices/pci/0000:c1:00.0", "ast", "0x1a03", "0x2000")
            card += 1
        for number in range(self.nodes):
            write(kfd / f"{number}/properties", f"cpu_cores_count {self.cpus // self.nodes}\nsimd_count 0\nlocation_id 0")
            node += 1
        for gpu in range(self.gpus):
            for part in range(DEVICES[compute]):
                if card == 64:  # the kernel's DRM nodes are used up: the driver leaves the partition out
                    continue
                if part == 0:
                    device = self.root / f"sys/devices/pci/0000:{gpu * 16 + 5:02x}:00.0"
                    self.card(card, device, "amdgpu", "0x1002", self.device_id)
                    for name, value in (("current_compute_partition", compute), ("current_memory_partition", memory),
                                        ("available_compute_partition", "SPX, DPX, QPX, CPX" if memory == "NPS1" else "CPX"),
                                        ("numa_node", str(gpu * self.nodes // self.gpus)), ("mem_info_vram_total", str(VRAM)),
                                        ("power_dpm_force_performance_level", level),
                                        ("pp_od_clk_voltage", f"GFXCLK:\n0: 132Mhz\n1: {clock}Mhz")):
                        write(device / name, value)
                else:
                    link(drm / f"card{card}/device", self.root / f"sys/devices/platform/amdgpu_xcp_{card}")
                write(kfd / f"{node}/properties", properties(gpu, part, compute))
                write(kfd / f"{node}/mem_banks/0/properties", "heap_type 1\nsize_in_bytes "
                                                              f"{VRAM // DEVICES[compute]}\nflags 0")
                card, node = card + 1, node + 1

    def card(self, number: int, device: Path, driver: str, vendor: str, device_id: str) -> None:
        """One DRM card of a PCI device, with a connector beside it."""
        for name, value in (("vendor", vendor), ("device", device_id), ("uevent", f"DRIVER={driver}\nPCI_SLOT_NAME={device.name}")):
            write(device / name, value)
        link(device / "driver", self.root / f"sys/bus/pci/drivers/{driver}")
        link(self.root / f"sys/class/drm/card{number}/device", device)
        write(self.root / f"sys/class/drm/card{number}-VGA-1/status", "disconnected")

    def first(self, name: str) -> str:
        """A file of the first GPU."""
        return (self.root / "sys/devices/pci/0000:05:00.0" / name).read_text().strip()

    def programs(self, folder: Path, names: tuple[str, ...] = PROGRAMS) -> Path:
        """Put programs that act on this machine into `folder`."""
        for name in names:
            write(folder / name, f'#!/bin/sh\nexec "{sys.executable}" -S -E "{Path(__file__).resolve()}" "{self.root}" '
                                 f'{name} "$@"')
            (folder / name).chmod(0o755)
        return folder


def open_machine(root: Path) -> FakeMachine:
    """The machine that was built in `root`."""
    return FakeMachine(root, *json.loads((root / "fake.json").read_text()))


def properties(gpu: int, part: int, compute: str) -> str:
    """A KFD node's properties: 4 SIMDs a compute unit; the function bits of location_id count partitions."""
    units = UNITS * XCDS // DEVICES[compute]
    location = (gpu * 16 + 5) << 8 | part
    return f"cpu_cores_count 0\nsimd_count {units * 4}\nsimd_per_cu 4\nlocation_id {location}\ndomain 0\ndrm_render_minor {128 + part}"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def link(path: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def amd_smi_static(machine: FakeMachine) -> str:
    """`amd-smi static --asic --bus --vram --numa --partition --json`, ROCm 6.4's shape."""
    compute, memory, rows = machine.first("current_compute_partition"), machine.first("current_memory_partition"), []
    for gpu in range(machine.gpus):
        for part in range(DEVICES[compute]):
            said = part == 0
            units = UNITS * XCDS // DEVICES[compute]
            rows.append({
                "gpu": len(rows), "bus": {"bdf": f"0000:{gpu * 16 + 5:02x}:00.{part}"},
                "asic": {"device_id": machine.device_id, "num_compute_units": units} if said else {"num_compute_units": "N/A"},
                "vram": {"size": {"value": VRAM >> 20, "unit": "MB"} if said else "N/A"},
                "numa": {"node": 0, "affinity": gpu * machine.nodes // machine.gpus} if said else {"node": "N/A", "affinity": "N/A"},
                "partition": {"accelerator_partition": compute if said else "N/A", "memory_partition": memory if said else "N/A",
                              "partition_id": part}})
    return json.dumps(rows)


def act(machine: FakeMachine, name: str, words: list[str]) -> int:
    """What the program `name` does with its arguments."""
    with (machine.root / "commands").open("a") as log:
        print(name, *words, file=log)
    refused = (machine.root / "refuse").read_text().split() if (machine.root / "refuse").exists() else []
    if set(refused) & set(words):
        print("AMDSMI_STATUS_BUSY - Device busy", file=sys.stderr)
        return 1
    if words[0] == "static":
        print(amd_smi_static(machine))
    elif name == "cpupower":
        set_cpus(machine, words)
    else:
        set_gpus(machine, words)
    return 0


def set_cpus(machine: FakeMachine, words: list[str]) -> None:
    for cpu in range(machine.cpus):
        base = machine.root / f"sys/devices/system/cpu/cpu{cpu}"
        if words[:2] == ["idle-set", "-d"]:
            write(base / f"cpuidle/state{words[2]}/disable", "1")
        elif words[:2] == ["frequency-set", "-g"]:
            write(base / "cpufreq/scaling_governor", words[2])


def set_gpus(machine: FakeMachine, words: list[str]) -> None:
    compute, memory = machine.first("current_compute_partition"), machine.first("current_memory_partition")
    level = machine.first("power_dpm_force_performance_level")
    for flag, value in zip(words, words[1:] + [""]):  # noqa: B905 - as old as the script that it serves
        if flag in ("--memory-partition", "--setmemorypartition"):
            memory, compute, level = value, "SPX" if value == "NPS1" else "CPX", "auto"
        elif flag in ("--compute-partition", "--setcomputepartition"):
            compute = value
        elif flag in ("--perf-determinism", "--setperfdeterminism") and words[0] != "reset":
            assert compute == "SPX", "determinism is set for whole GPUs"
            level = "perf_determinism"
        elif flag in ("--perf-determinism", "--resetperfdeterminism"):
            level = "auto"
    machine.gpu_files(compute, memory, level)


if __name__ == "__main__":
    raise SystemExit(act(open_machine(Path(sys.argv[1])), sys.argv[2], sys.argv[3:]))

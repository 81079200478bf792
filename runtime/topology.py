"""This machine as a Partition, what must be done when it is in another mode, and threads on the CPUs of a NUMA node.

    python -m runtime.topology [--output machine.json]        what `--partition machine` finds
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ireeperf import document
from ireeperf.errors import ConfigError, DeviceError, exit_code
from runtime import amd_smi, sysfs
from runtime.partition import Partition
from runtime.sysfs import Address, Gpu, Logical

Value = TypeVar("Value", bound=Hashable)
# PCI device ids: instinct.docs.amd.com, system acceptance, "Mapping NIC to GPU NUMA Node"
NAMES = {0x74A1: "mi300x", 0x74A2: "mi308x", 0x74A5: "mi325x", 0x75A0: "mi350x", 0x75A3: "mi355x"}
EIGHT_XCDS = ("mi300x", "mi325x", "mi350x", "mi355x")  # CPX gives a device per XCD
DEVICES_PER_GPU = {"SPX": 1, "DPX": 2, "TPX": 3, "QPX": 4}
PREPARE = "./scripts/prepare_machine --apply"


def read_machine(root: Path = Path("/"), *, smi: str | None = "amd-smi") -> Partition:
    """This machine's GPUs, from sysfs under `root`, or where that has none from the program `smi`.

    DeviceError when neither shows an AMD GPU, or when the GPUs differ: one partition describes all of them.
    """
    gpus, logical = sysfs.cards(root), sysfs.kfd_nodes(root)
    if not logical and smi is not None and (text := amd_smi.static(smi)) is not None:
        return from_amd_smi(text, f"`{smi} {' '.join(amd_smi.STATIC)}`")
    divided = {address: gpu for address, gpu in gpus.items() if gpu.mode != "-"}
    if divided:  # an integrated GPU beside Instinct ones does not count
        gpus, logical = divided, {address: found for address, found in logical.items() if address in divided}
    if not logical:
        raise DeviceError(f"no AMD GPU in {root / 'sys/class/kfd/kfd/topology/nodes'}, and {smi or 'amd-smi'} shows none; "
                          "load the driver "
                          "(sudo modprobe amdgpu), or give the container --device /dev/kfd --device /dev/dri")
    unknown = Gpu(device_id=0, mode="-", numa_node=-1, vram_bytes=0)
    return _describe({address: gpus.get(address, unknown) for address in sorted({*gpus, *logical})}, logical)


def from_amd_smi(text: str, where: str) -> Partition:
    """The machine that `amd-smi static --asic --bus --vram --numa --partition --json` describes; `where` opens messages."""
    gpus: dict[Address, Gpu] = {}
    shown: dict[Address, int] = {}
    units: dict[Address, int] = {}
    for entry in amd_smi.parse(text, where):
        address = sysfs.address_of(entry.bdf)
        shown[address] = shown.get(address, 0) + 1
        if entry.mode is not None:  # the first partition of the GPU
            gpus[address] = Gpu(device_id=entry.device_id, mode=entry.mode, numa_node=entry.numa_node,
                                vram_bytes=entry.vram_bytes)
            units[address] = entry.compute_units or 0
    if not gpus or gpus.keys() != shown.keys():
        raise DeviceError(f"{where} gives a partition mode for {len(gpus)} of {len(shown)} GPUs; amd-smi of ROCm 6.4 or "
                          "newer is needed")
    return _describe(dict(sorted(gpus.items())),
                     {address: [Logical(compute_units=units[address], memory_bytes=0)] * count
                      for address, count in shown.items()})


def _describe(gpus: Mapping[Address, Gpu], logical: Mapping[Address, Sequence[Logical]]) -> Partition:
    """One Partition for all GPUs; DeviceError names the values where they differ."""
    file = "or describe the machine in a file (python -m runtime.topology --output), for --partition FILE"
    device_id = _only("PCI device id", {gpu.device_id for gpu in gpus.values()}, f"run on GPUs of one kind, {file}")
    mode = _only("mode", {gpu.mode for gpu in gpus.values()}, f"run {PREPARE}, which sets every GPU")
    name = NAMES.get(device_id, f"amd-{device_id:04x}")
    devices = [device for found in logical.values() for device in found]
    most = max(len(found) for found in logical.values())
    per_gpu = 8 if mode.startswith("CPX") and name in EIGHT_XCDS else DEVICES_PER_GPU.get(mode.partition("/")[0], most)
    nodes = tuple(gpu.numa_node for gpu in gpus.values())
    return Partition(
        name=name if mode == "-" else f"{name}-{mode.partition('/')[0].lower()}", gpus=len(gpus),
        devices_per_gpu=per_gpu, mode=mode,
        compute_units=_only("compute units", {device.compute_units for device in devices}, "run on GPUs of one kind, "
                                                                                           f"{file}"),
        memory_bytes=min((device.memory_bytes for device in devices if device.memory_bytes),
                         default=min(gpu.vram_bytes for gpu in gpus.values()) // per_gpu),
        numa_nodes=nodes if min(nodes) >= 0 else (), absent=max(0, len(gpus) * per_gpu - len(devices)))


def _only(what: str, values: set[Value], remedy: str) -> Value:
    if len(values) != 1:
        raise DeviceError(f"the GPUs of this machine differ in {what}: {', '.join(sorted(map(str, values)))}; {remedy}")
    return values.pop()


def check_mode(machine: Partition, wanted: Partition, root: Path = Path("/"), *, every_gpu: bool = True) -> None:
    """DeviceError when `machine` is not what a manifest was built for, with the command that makes it so.

    Order of causes: the mode, then devices that do not show, then a smaller machine. `every_gpu` False: fewer GPUs are what
    the user wants (a machine described in a file).
    """
    if wanted.mode not in ("-", machine.mode):
        offered = sysfs.available_modes(root)
        note = "" if not offered or wanted.compute_mode in offered or machine.memory_mode != wanted.memory_mode else \
            f" (this GPU offers {', '.join(offered)} in {machine.memory_mode}, not {wanted.compute_mode})"
        raise DeviceError(f"the machine is in {machine.mode}, {wanted.name} is {wanted.mode}{note}; run {PREPARE}, or "
                          f"{' and then '.join(mode_commands(machine, wanted))}")
    if machine.absent:
        raise DeviceError("; ".join(absence(machine, sysfs.foreign_drm_nodes(root))))
    if every_gpu and machine.devices < wanted.devices:
        raise DeviceError(f"the machine shows {machine.devices} devices on {machine.gpus} GPUs, {wanted.name} has "
                          f"{wanted.devices} on {wanted.gpus}; see `sudo dmesg | grep amdgpu` for a GPU that failed, or "
                          "describe what there is in a file (python -m runtime.topology --output machine.json, then "
                          "--partition machine.json)")
    if machine.compute_units < wanted.compute_units or machine.memory_bytes < wanted.memory_bytes:
        raise DeviceError(f"a device of the machine has {machine.compute_units} compute units and "
                          f"{machine.memory_bytes / 1e9:.0f} GB, one of {wanted.name} {wanted.compute_units} and "
                          f"{wanted.memory_bytes / 1e9:.0f} GB; compile for this machine")


def mode_commands(machine: Partition, wanted: Partition) -> list[str]:
    """What sets `wanted`'s mode; the memory mode first, since it resets the compute mode."""
    memory = [f"sudo amd-smi set --gpu all --memory-partition {wanted.memory_mode}"] \
        if wanted.memory_mode not in ("-", machine.memory_mode) else []
    return [*memory, f"sudo amd-smi set --gpu all --compute-partition {wanted.compute_mode}"] \
        if memory or wanted.compute_mode != machine.compute_mode else memory


def absence(machine: Partition, others: Sequence[str]) -> tuple[str, ...]:
    """Why fewer devices show than the mode gives, and what to do; `others` are the DRM nodes of other drivers.

    AMD's article "Reproducing the AMD Instinct GPUs MLPerf Inference v5.1 Submission", FAQ: a driver version mismatch, or
    the blacklisting step, then reboot. The reason for the second, in amdsmi's change log for ROCm 6.4: the kernel has 64 DRM
    nodes, and another driver (ast, the board's VGA) holds one.
    """
    total = machine.gpus * machine.devices_per_gpu
    found = f"{machine.devices} of {total} devices show in {machine.mode}"
    blacklist = ("echo 'blacklist ast' | sudo tee /etc/modprobe.d/blacklist-ast.conf && sudo update-initramfs -u -k "
                 "$(uname -r) && sudo reboot")
    if others:
        return (found, f"{', '.join(others)} holds a DRM node, and the kernel may have only 64 for all drivers: blacklist "
                       "its driver "
                f"({blacklist})")
    return (found, "no other driver holds a DRM node, so kernel driver and ROCm may differ in version: compare `cat "
            "/sys/module/amdgpu/version` with `amd-smi version`, install the pair of one ROCm release, reboot",
            f"if `ls /sys/class/drm` shows a card that is not a GPU: {blacklist}")


def bind_threads(node: int | None, root: Path = Path("/")) -> str:
    """Bind the calling thread, and those it starts later, to the CPUs of a NUMA node; says what was done, or why nothing."""
    if len(list((root / "sys/devices/system/node").glob("node[0-9]*"))) < 2:
        return "not bound: this machine has one NUMA node"
    if node is None:
        return "not bound: the device's NUMA node is not known"
    path = root / f"sys/devices/system/node/node{node}/cpulist"
    text = sysfs.text(path)
    allowed = cpus_of(text, str(path)) & os.sched_getaffinity(0)
    if not allowed:
        return f"not bound: this process may use none of NUMA node {node}'s CPUs ({text or 'it has none'})"
    os.sched_setaffinity(0, allowed)  # 0 is the calling thread, not the process
    return f"bound to NUMA node {node}: {len(allowed)} of its CPUs {text}"


def cpus_of(text: str, where: str) -> set[int]:
    """CPUs of a kernel CPU list: "0-2,8" is {0, 1, 2, 8}."""
    found: set[int] = set()
    try:
        for part in filter(None, text.split(",")):
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        raise ConfigError(f"{where}: {text!r} is not a CPU list such as 0-2,8") from None
    return found


def main() -> int:
    """Describe this machine's GPUs; the last line is the partition as JSON."""
    parser = argparse.ArgumentParser(prog="python -m runtime.topology", allow_abbrev=False, description=main.__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where sys/ lies (default %(default)s)")
    parser.add_argument("--output", type=Path, help="write the description to this file, for --partition FILE")
    arguments = parser.parse_args()
    print(f"runtime.topology: root {arguments.root}, output {arguments.output}")
    machine = read_machine(arguments.root)
    others = sysfs.foreign_drm_nodes(arguments.root)
    print(f"{machine.name}: {machine.devices} devices on {machine.gpus} GPUs, NUMA nodes "
          f"{machine.numa_nodes or 'not known'}, DRM nodes of other drivers: {', '.join(others) or 'none'}")
    if machine.absent:
        print("; ".join(absence(machine, others)))
    if arguments.output is not None:
        document.write(machine, arguments.output)
    print(json.dumps(document.to_dict(machine)))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

"""What `amd-smi` says of the machine: the second source, for a kernel or container whose sysfs does not show the GPUs.

Shapes of its JSON: ROCm/amdsmi, amdsmi_cli (static: a list of GPUs, or since ROCm 7 an object {"gpu_data": [...]}). Of a
divided GPU only the first partition reports mode, memory and compute units, the others say "N/A" (amdsmi 10.2,
docs/conceptual/partition.md). Its compute units are taken as those of a device, its VRAM as that of the whole GPU. sysfs is asked first.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from ireeperf.errors import DeviceError

STATIC = ("static", "--asic", "--bus", "--vram", "--numa", "--partition", "--json")
SECONDS = 120.0  # it initialises every partition; a driver that hangs must not hang us
UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One logical device. None: amd-smi does not say (a further partition of a GPU)."""

    bdf: str
    mode: str | None
    device_id: int
    compute_units: int | None
    numa_node: int
    vram_bytes: int


def static(program: str) -> str | None:
    """The JSON of `amd-smi static`; None when there is no such program or it finds no GPU. DeviceError when it hangs."""
    try:
        done = subprocess.run([program, *STATIC], capture_output=True, text=True, timeout=SECONDS, check=False,
                              stdin=subprocess.DEVNULL)
    except OSError:
        return None
    except subprocess.TimeoutExpired:
        raise DeviceError(f"`{program} {' '.join(STATIC)}` did not end in {SECONDS:g} s; the amdgpu driver hangs: see "
                          "dmesg, reboot") from None
    return done.stdout if done.returncode == 0 and done.stdout.strip() else None


def parse(text: str, where: str) -> list[Entry]:
    """The devices that `amd-smi static --json` lists; DeviceError when `text` is something else."""
    try:
        document = json.loads(text)
        listed = document["gpu_data"] if isinstance(document, dict) else document
        return [_entry(gpu) for gpu in listed]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DeviceError(f"{where} printed something else than a list of GPUs ({type(error).__name__}: {error}); amd-smi "
                          "of ROCm 6.4 or newer is needed") from error


def _entry(gpu: dict[str, Any]) -> Entry:
    split = gpu.get("partition", {})
    compute = _said(split.get("accelerator_partition")) or _said(split.get("compute_partition"))
    memory = _said(split.get("memory_partition")) or "-"
    asic, near = gpu.get("asic", {}), gpu.get("numa", {})
    numa = _said(near.get("affinity")) or _said(near.get("node"))  # affinity is sysfs' numa_node
    units, device_id = _said(asic.get("num_compute_units")), _said(asic.get("device_id")) or "0"
    return Entry(bdf=str(gpu["bus"]["bdf"]), mode=f"{compute}/{memory}" if compute else None, device_id=int(device_id, 16),
                 compute_units=None if units is None else int(units), numa_node=-1 if numa is None else int(numa),
                 vram_bytes=_bytes(gpu.get("vram", {}).get("size")))


def _said(value: Any) -> str | None:
    """A value as text; None for amd-smi's ways of saying nothing."""
    return None if value is None or str(value).strip() in ("", "N/A") else str(value).strip()


def _bytes(size: Any) -> int:
    """{"value": 262128, "unit": "MB"} -> bytes; amd-smi's MB are 2**20."""
    if not isinstance(size, dict) or _said(size.get("value")) is None:
        return 0
    return int(size["value"]) * UNITS[str(size["unit"]).upper()]

"""What the machine is: host, drivers and devices, partition mode, memory, versions. Reads, never sets."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

COMMANDS = {  # read-only; what is absent is left out
    "amd-smi version": ["amd-smi", "version"],
    "amd-smi partition": ["amd-smi", "partition"],
    "amd-smi list": ["amd-smi", "list"],
    "rocm-smi": ["rocm-smi", "--showproductname", "--showcomputepartition", "--showmemorypartition"],
    "nvidia-smi": ["nvidia-smi", "--query-gpu=index,name,uuid,memory.total,driver_version,power.limit,clocks.max.sm", "--format=csv,noheader"],
}
CARD_FILES = ("current_compute_partition", "current_memory_partition", "mem_info_vram_total", "unique_id", "numa_node", "vbios_version",
              "product_name", "device", "vendor")
VERSION_FILES = ("/opt/rocm/.info/version", "/sys/module/amdgpu/version", "/proc/driver/nvidia/version")
_COMMAND_SECONDS, _MOST_CHARACTERS = 20, 6000


def describe(driver: str) -> dict[str, Any]:
    """Everything; a part that cannot be read says why instead."""
    return {"host": host(), "packages": packages(), "driver": driver, "drivers": drivers(), "devices": devices(driver), "cards": cards(),
            "kfd_nodes": kfd_nodes(), "versions": {path: _text(Path(path)) for path in VERSION_FILES if Path(path).exists()},
            "commands": {name: _output(command) for name, command in COMMANDS.items() if shutil.which(command[0])}}


def host() -> dict[str, Any]:
    """Processor, cores, memory, system, Python."""
    return {"machine": platform.machine(), "cpu": _field("/proc/cpuinfo", "model name"), "cores": len(os.sched_getaffinity(0)),
            "memory": _field("/proc/meminfo", "MemTotal"), "system": f"{platform.system()} {platform.release()}",
            "python": sys.version.split()[0]}


def packages() -> dict[str, str]:
    """Versions of what takes part."""
    found = {}
    for name in ("iree-base-runtime", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def drivers() -> list[str]:
    """IREE's drivers in this package."""
    from iree.runtime import _binding

    return sorted(_binding.HalDriver.query())


def devices(driver: str) -> list[dict[str, Any]]:
    """IREE's devices of one driver, by index: the address that is unique (two partitions can share a UUID)."""
    from iree.runtime import _binding

    try:
        found = _binding.create_hal_driver(driver).query_available_devices()
    except (RuntimeError, ValueError) as error:
        return [{"error": str(error).split("\n")[0][:500]}]
    return [{"index": index, "uri": driver if driver.startswith("local") else f"{driver}://{index}", "path": str(one.get("path", "")),
             "name": str(one.get("name", "")), "id": int(one.get("device_id", -1))} for index, one in enumerate(found)]


def cards() -> list[dict[str, str]]:
    """Partition modes, memory and identity of every DRM card, from sysfs."""
    found = []
    for folder in sorted(glob.glob("/sys/class/drm/card[0-9]*/device")):
        card = {name: text for name in CARD_FILES if (text := _text(Path(folder, name)))}
        if card:
            found.append({"card": folder.split("/")[4]} | card)
    return found


def kfd_nodes() -> list[dict[str, str]]:
    """What ROCm's kernel driver lists: one node a partition, with its compute units' SIMDs and target version."""
    found = []
    for path in sorted(glob.glob("/sys/class/kfd/kfd/topology/nodes/*/properties")):
        values = dict(line.split(maxsplit=1) for line in _text(Path(path)).splitlines() if " " in line)
        if values.get("simd_count", "0") != "0":
            keys = ("simd_count", "simd_per_cu", "gfx_target_version", "unique_id", "location_id", "domain", "drm_render_minor", "num_xcc")
            found.append({"node": path.split("/")[-2]} | {key: values[key] for key in keys if key in values})
    return found


def _text(path: Path) -> str:
    """A small file's text, or nothing."""
    try:
        return path.read_text(errors="replace").strip()[:_MOST_CHARACTERS]
    except OSError:
        return ""


def _field(path: str, name: str) -> str:
    """The first `name: value` of a /proc file, or "unknown"."""
    return next((line.split(":", 1)[1].strip() for line in _text(Path(path)).splitlines() if line.startswith(name)), "unknown")


def _output(command: list[str]) -> str:
    """What a read-only command prints, cut."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"[:300]
    return (ran.stdout + ran.stderr).strip()[:_MOST_CHARACTERS]

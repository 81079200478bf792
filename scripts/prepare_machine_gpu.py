"""Partition modes and clock of Instinct GPUs, for ./scripts/prepare_machine. Standard library only, Python 3.9 and newer.

Order, from AMD's article: memory mode first, then performance determinism on whole GPUs (SPX), then the compute mode of the
run. Commands: amd-smi's (docs/how-to/amdsmi-cli-tool.md of ROCm/amdsmi), or where only rocm-smi is installed, those of the
article.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.prepare_machine_host import PrepareError, run

DEVICES = {"SPX": 1, "DPX": 2, "TPX": 3, "QPX": 4, "CPX": 8}  # per GPU with 8 XCDs: MI300X, MI325X, MI350X, MI355X
AUTO = 0  # a clock: the driver's own choice
BLACKLIST = ("echo 'blacklist ast' | sudo tee /etc/modprobe.d/blacklist-ast.conf && sudo update-initramfs -u -k $(uname "
             "-r) && sudo reboot")
SET = ("set", "--gpu", "all")
WORDS = {
    "amd-smi": {"memory": (*SET, "--memory-partition"), "compute": (*SET, "--compute-partition"),
                "clock": (*SET, "--perf-determinism"), "auto": ("reset", "--gpu", "all", "--perf-determinism")},
    "rocm-smi": {"memory": ("--autorespond", "y", "--setmemorypartition"), "compute": ("--setcomputepartition",),
                 "clock": ("--autorespond", "y", "--setperfdeterminism"), "auto": ("--resetperfdeterminism",)},
}


@dataclass(frozen=True)
class Modes:
    """How the GPUs are set. In what is wanted, None leaves the clock as it is."""

    memory: str
    compute: str
    clock: int | None  # MHz of performance determinism; AUTO without it


@dataclass(frozen=True)
class Step:
    """One command and what must hold after it."""

    what: str  # memory, compute or clock
    value: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(("sudo", *self.command))


# the workload's modes. LLM: AMD's containers run on whole GPUs, one engine each, in the machine's default modes
WORKLOADS = {"sdxl": Modes("NPS1", "CPX", 2100), "llm": Modes("NPS1", "SPX", None)}


def gpus(root: Path) -> list[Path]:
    """Device folders of the physical GPUs that can be partitioned."""
    return sorted({path.parent.resolve() for path in root.glob("sys/class/drm/card*/device/current_compute_partition")})


def read(root: Path) -> Modes:
    """The modes of all GPUs; where they differ, "CPX x7, SPX x1". PrepareError without a GPU."""
    found = gpus(root)
    if not found:
        raise PrepareError("no GPU with partitions shows under /sys/class/drm; load the driver (sudo modprobe amdgpu), "
                           "and see dmesg")
    clocks = {_clock(device) for device in found}
    return Modes(_common(found, "current_memory_partition"), _common(found, "current_compute_partition"),
                 clocks.pop() if len(clocks) == 1 else -1)


def _common(devices: Sequence[Path], name: str) -> str:
    counts = Counter(_text(device / name) or "unknown" for device in devices)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{value} "
                                                                 f"x{count}" for value, count in sorted(counts.items()))


def _clock(device: Path) -> int:
    """MHz of performance determinism, AUTO without it. The upper bound of pp_od_clk_voltage is the determinism clock."""
    if _text(device / "power_dpm_force_performance_level") != "perf_determinism":
        return AUTO
    bounds = re.findall(r"^1:\s*(\d+)\s*MHz", _text(device / "pp_od_clk_voltage"), re.MULTILINE | re.IGNORECASE)
    return int(bounds[0]) if bounds else -1


def clock_text(clock: int | None) -> str:
    return "auto" if clock == AUTO else "not the same on all GPUs, or not shown" if clock == -1 else f"{clock} MHz"


def steps(found: Modes, wanted: Modes, program: str) -> list[Step]:
    """What leads from `found` to `wanted`, in order. A new memory mode resets the others."""
    plan = []

    def add(what: str, value: str) -> None:
        words = WORDS[Path(program).name]
        plan.append(Step(what, value, (program, *words["auto"]) if (what, value) == ("clock", str(AUTO)) else
                         (program, *words[what], value)))

    reset = found.memory != wanted.memory
    if reset:
        add("memory", wanted.memory)
    clock = AUTO if reset else found.clock
    if wanted.clock not in (None, clock):
        if reset or found.compute != "SPX":
            add("compute", "SPX")
        add("clock", str(wanted.clock))
        if wanted.compute != "SPX":
            add("compute", wanted.compute)
    elif reset or found.compute != wanted.compute:
        add("compute", wanted.compute)
    return plan


def do(step: Step, root: Path) -> str:
    """Carry out one step and look whether it holds."""
    run(step.command)
    now = read(root)
    found = {"memory": now.memory, "compute": now.compute, "clock": str(now.clock)}[step.what]
    unseen = step.what == "clock" and step.value != str(AUTO) and now.clock == -1  # not every driver shows the clock
    if found != step.value and not unseen:
        raise PrepareError(f"the GPUs' {step.what} is {found} after `{step}`, {step.value} is wanted; end what uses the "
                           "GPUs (sudo fuser -v /dev/kfd) and run this again")
    return str(step)


def devices(root: Path) -> tuple[int, int]:
    """Logical devices that show, and that the compute mode should give."""
    nodes = root.glob("sys/class/kfd/kfd/topology/nodes/*/properties")
    shown = sum(bool(re.search(r"^simd_count [1-9]", _text(node), re.MULTILINE)) for node in nodes)
    found = gpus(root)
    return shown, sum(DEVICES.get(_text(device / "current_compute_partition"), 1) for device in found)


def other_drm_nodes(root: Path) -> list[str]:
    """DRM nodes of other drivers: "card0 (ast)"."""
    found = []
    for card in sorted(root.glob("sys/class/drm/card*")):
        device = (card / "device").resolve()
        driver = (device / "driver").resolve().name if (device / "driver").exists() else "no driver"
        if card.name[4:].isdigit() and driver != "amdgpu" and not device.name.startswith("amdgpu_xcp"):
            found.append(f"{card.name} ({driver})")
    return found


def few_devices(root: Path) -> str:
    """What to do when fewer devices show than should; AMD's FAQ, and the known issue of amdsmi in ROCm 6.4."""
    others = other_drm_nodes(root)
    if others:
        return f"{', '.join(others)} holds one of the kernel's 64 DRM nodes: {BLACKLIST}"
    return ("driver and ROCm differ in version (cat /sys/module/amdgpu/version; amd-smi version): install one release's "
            f"pair and reboot; or a VGA driver holds a DRM node (ls /sys/class/drm): {BLACKLIST}")


def smi() -> str:
    """amd-smi, else rocm-smi; PrepareError when neither is installed."""
    found = shutil.which("amd-smi") or shutil.which("rocm-smi")
    if found is None:
        raise PrepareError("neither amd-smi nor rocm-smi is on PATH or in /opt/rocm/bin; install ROCm")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

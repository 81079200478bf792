"""Partition: how a machine is divided into devices (compute mode x memory mode)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ireeperf import document
from ireeperf.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One machine's devices. `mode` is "CPX/NPS1" and the like on Instinct; "-" elsewhere."""

    schema_version: ClassVar[int] = 1
    name: str
    gpus: int  # physical packages; for CPU, sockets that matter: 1
    devices_per_gpu: int
    mode: str
    compute_units: int  # per device; CPU: hardware threads given to each device
    memory_bytes: int  # per device
    numa_nodes: tuple[int, ...] = ()  # host NUMA node of each GPU, in device order; empty: not known (a preset)
    absent: int = 0  # devices that the mode should give and that do not show; a preset has none

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.devices_per_gpu < 1:
            raise ConfigError(f"partition {self.name} has {self.gpus} x {self.devices_per_gpu} devices; at least one is "
                              "needed")
        if self.numa_nodes and len(self.numa_nodes) != self.gpus:
            raise ConfigError(f"partition {self.name} has {len(self.numa_nodes)} NUMA nodes for {self.gpus} GPUs; one "
                              "each, or none")
        if not 0 <= self.absent < self.gpus * self.devices_per_gpu:
            raise ConfigError(f"partition {self.name} lacks {self.absent} of {self.gpus * self.devices_per_gpu} devices; "
                              "0 or more, and fewer than all")

    @property
    def devices(self) -> int:
        """How many logical devices show."""
        return self.gpus * self.devices_per_gpu - self.absent

    @property
    def compute_mode(self) -> str:
        """CPX of "CPX/NPS1"; "-" where there is no mode."""
        return self.mode.partition("/")[0]

    @property
    def memory_mode(self) -> str:
        """NPS1 of "CPX/NPS1"; "-" where there is none."""
        return self.mode.partition("/")[2] or "-"

    def numa_node(self, device: int) -> int | None:
        """Host NUMA node of logical device `device` (index); None where it is not known, or not since devices are absent."""
        if not 0 <= device < self.devices:
            raise ConfigError(f"device {device} of partition {self.name}, which shows {self.devices}")
        return self.numa_nodes[device // self.devices_per_gpu] if self.numa_nodes and not self.absent else None


# AMD's public product pages: MI325X 304 CUs and 256 GB (8 XCDs of 38), MI355X 256 CUs and 288 GB (8 XCDs of 32)
PRESETS = {
    p.name: p for p in (
        Partition(name="mi325x-cpx", gpus=8, devices_per_gpu=8, mode="CPX/NPS1", compute_units=38, memory_bytes=32 * 10**9),
        Partition(name="mi325x-spx", gpus=8, devices_per_gpu=1, mode="SPX/NPS1", compute_units=304,
                  memory_bytes=256 * 10**9),
        Partition(name="mi355x-cpx", gpus=8, devices_per_gpu=8, mode="CPX/NPS1", compute_units=32, memory_bytes=36 * 10**9),
        Partition(name="mi355x-spx", gpus=8, devices_per_gpu=1, mode="SPX/NPS1", compute_units=256,
                  memory_bytes=288 * 10**9),
    )
}


def read(path: Path) -> Partition:
    """Read a machine description (.json or .toml); ConfigError when malformed."""
    return document.read(Partition, path)

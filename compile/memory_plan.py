"""Memory plan: what one partition's memory must hold while a build runs on it, known before anything is loaded.

Every executable loads a copy of its module's weights (docs/HIP_POOL.md). Its transient memory is allocated per invocation; IREE keeps
a freed buffer for the next one of exactly its size, so the buffers of all modules stay, though modules run one after another.
Left out, for they are small beside these: inputs and outputs (a 1024x1024 image takes 3 MiB), code objects, the driver's own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from compile import dumps
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError
from runtime.partition import PRESETS

NAME = "memory_plan.json"
_PARAMETER = re.compile(r"util\.global .*#(?:flow|stream)\.parameter\.named<.*> : tensor<(?P<shape>(?:\d+x)*)(?P<type>[a-z]+\d+\w*)>")
_STATE = re.compile(r"util\.global private mutable @\S+ = .* : tensor<(?P<shape>(?:\d+x)*)(?P<type>[a-z]+\d+\w*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """One executable in one device's memory."""

    module: str
    batch_size: int
    weight_bytes: int
    transient_bytes: int  # all allocations of one invocation, as the compiler's scheduler counts them
    state_bytes: int = 0  # mutable globals: a decoder's KV cache

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.transient_bytes + self.state_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What a build takes of one partition."""

    schema_version: ClassVar[int] = 1
    manifest_key: str
    target: str
    partition_bytes: int | None  # None: the target names no partition, so nothing is refused
    processes_per_partition: int  # each loads all of it
    executables: tuple[Resident, ...]

    def __post_init__(self) -> None:
        if self.processes_per_partition < 1:
            raise ConfigError(f"--processes-per-partition is {self.processes_per_partition}; at least 1")

    @property
    def bytes(self) -> int:
        """Of all executables in all processes: what a run takes that draws every batch size."""
        return self.processes_per_partition * sum(one.bytes for one in self.executables)

    def least_bytes(self, with_one: Resident) -> int:
        """What a run takes that draws `with_one` and, of every other module, the smallest executable."""
        others = {one.module: min(other.bytes for other in self.executables if other.module == one.module)
                  for one in self.executables if one.module != with_one.module}
        return self.processes_per_partition * (with_one.bytes + sum(others.values()))

    def line(self) -> str:
        """The plan in one line, for the log of a compile."""
        parts = ", ".join(f"{one.module} bs{one.batch_size} {gib(one.weight_bytes)} + {gib(one.transient_bytes)}"
                          f"{f' + {gib(one.state_bytes)} of KV cache' if one.state_bytes else ''}" for one in self.executables)
        of = f" of {gib(self.partition_bytes)} GiB" if self.partition_bytes is not None else " (the target names no partition)"
        over = "; not all batch sizes in one run" if self.partition_bytes is not None and self.bytes > self.partition_bytes else ""
        return (f"memory: {gib(self.bytes)}{of} on {self.target}, {self.processes_per_partition} process(es), GiB of weights + transient: "
                f"{parts}{over}")


def plan(target: str, executables: Sequence[Resident], *, key: str = "", processes_per_partition: int = 1) -> MemoryPlan:
    """The plan of a build for `target`. ConfigError with the numbers when an executable cannot be resident on its partition
    together with the smallest one of every other module; a run loads only the batch sizes that it draws."""
    preset = PRESETS.get(target)
    made = MemoryPlan(manifest_key=key, target=target, partition_bytes=preset.memory_bytes if preset else None,
                      processes_per_partition=processes_per_partition, executables=tuple(executables))
    for one in sorted(made.executables, key=lambda one: -one.bytes):  # the largest is named
        if made.partition_bytes is not None and made.least_bytes(one) > made.partition_bytes:
            raise ConfigError(
                f"{one.module} bs{one.batch_size} does not fit a partition of {target}: {processes_per_partition} process(es) take "
                f"{gib(made.least_bytes(one))} GiB with the other modules at their smallest, it has {gib(made.partition_bytes)} GiB; "
                f"of it {gib(one.weight_bytes)} weights and {gib(one.transient_bytes)} transient a process; "
                "take a smaller batch size, fewer --processes-per-partition, or a larger partition")
    return made


def resident(module: str, batch_size: int, *, mlir: Path, archive: Path | None, dispatches: Path) -> Resident:
    """An executable's share, from its parameter archive (without one: from the parameters that its MLIR names) and its dump."""
    weights = declared_bytes(mlir) if archive is None else archive.stat().st_size
    return Resident(module=module, batch_size=batch_size, weight_bytes=weights, transient_bytes=transient_bytes(dispatches),
                    state_bytes=declared_bytes(mlir, _STATE))


def declared_bytes(mlir: Path, kind: re.Pattern[str] = _PARAMETER) -> int:
    """Bytes of all parameters (or globals of another `kind`) that an exported module declares; a bool takes a byte, as IREE stores it."""
    total = 0
    try:
        with mlir.open() as lines:
            for line in lines:
                if found := kind.search(line):
                    bits = int(re.sub(r"^[a-z]+(\d+).*", r"\1", found["type"]))  # f8E4M3FNUZ: 8
                    elements = math.prod(int(size) for size in found["shape"].split("x") if size)
                    total += math.ceil(elements * (8 if bits == 1 else bits) / 8)
                elif kind is _PARAMETER and "parameter.named<" in line:
                    raise CompileError(f"{mlir} declares a parameter whose type is not a static tensor: {line.strip()[:200]}")
    except OSError as error:
        raise ConfigError(f"cannot read {mlir}: {error.strerror}") from error
    return total


def transient_bytes(dispatches: Path) -> int:
    """Transient memory of one invocation, from statistics.json of `<name>.dispatches.zip`."""
    try:
        # IREE 3.12 and 3.13 write {"stream-aggregate": {"execution": {"transient-memory-size": bytes}}}
        return int(json.loads(dumps.read(dispatches, dumps.STATISTICS))["stream-aggregate"]["execution"]["transient-memory-size"])
    except (ValueError, KeyError, TypeError) as error:
        raise CompileError(f"{dumps.STATISTICS} of {dispatches} does not state transient-memory-size ({error!r}); "
                           "this compiler writes it differently from 3.13") from error


def write(made: MemoryPlan, folder: Path) -> None:
    """Put the plan beside the manifest in `folder`."""
    document.write(made, folder / NAME)


def read(path: Path) -> MemoryPlan:
    """Read `path` (the file, or the folder that holds memory_plan.json)."""
    return document.read(MemoryPlan, path / NAME if path.is_dir() else path)


def gib(count: int) -> str:
    """Bytes in GiB with one decimal: 14.1."""
    return f"{count / 2**30:.1f}"

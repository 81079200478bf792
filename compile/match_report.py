"""MatchReport: every dispatch of a build: what it computes, which record tuned it, and what can be said of its kernel without running it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from ireeperf import document
from specs.record import Evidence

NAME = "match_report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFigures:
    """Of one kernel, read off the assembly and its metadata. Counts are of the text, not of what is executed.
    None: the assembly does not tell (PTX has no physical registers)."""

    matrix_instructions: int
    vgprs: int | None  # with AGPRs, as a wave allocates them
    agprs: int | None
    vgpr_spills: int | None
    sgpr_spills: int | None
    lds_bytes: int | None
    scratch_bytes: int | None
    workgroup_threads: int
    occupancy: float | None  # waves a SIMD can hold at most, by registers and LDS
    workgroups: int | None  # None: not known before the launch
    fill: float | None  # share of the partition's compute units that work, averaged over the waves of workgroups
    matrix_mnemonics: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What executing sampled workgroups on an ISA emulator gave (compile.verify). It sees neither timing nor hazards."""

    verdict: Literal["right", "wrong", "not run"]
    reason: str  # why not run, or where it differs first; empty when right
    workgroups: int
    wave_orders: int
    max_error: float | None  # relative to the largest reference value of the tile
    tolerance: float | None
    emulator: str
    object_sha256: str  # of the kernel's code object: a verdict holds for that object only


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchMatch:
    """One dispatch of one executable. `kind` beyond specs.match.Kind: elementwise, copy, other."""

    executable: str  # path in the manifest
    dispatch: str  # name the compiler gave: run_forward$async_dispatch_12_matmul_like_...
    kind: str
    name: str  # Match.name of the root operation, or kind and shape
    shape: tuple[int, ...]  # loop sizes of the root operation
    types: tuple[str, ...]
    flops: int  # of one call, all operations of the dispatch
    bytes: int  # of one call: each operand and result once
    calls: int  # per invocation of the entry point
    record: str | None  # None: the compiler's default configuration
    evidence: Evidence | None
    configuration: str  # lowering_config and pipeline, as text
    static: StaticFigures | None  # None: no assembly (llvm-cpu)
    roofline_us: float | None  # of one call, at the target's peak rates; None: the target has no stated peaks
    source_sha256: str  # of the dispatch's own IR without configuration and names: equal dispatches share it
    verification: Verification | None = None
    matrix_flops: int = 0  # of `flops`: contractions, convolutions and attention
    calls_by_entry_point: dict[str, int] = field(default_factory=dict)
    dynamic: bool = False  # a size is known at run time only; flops and bytes count it as one
    gains: dict[str, str] | None = None  # static records: figures improved over the default, "94 -> 0"; empty: the record does not count


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchReport:
    """All dispatches of a build, in program order."""

    schema_version: ClassVar[int] = 2
    manifest_key: str
    target: str
    dispatches: tuple[DispatchMatch, ...]


def read(path: Path) -> MatchReport:
    """Read a match report; ConfigError when malformed."""
    return document.read(MatchReport, path)

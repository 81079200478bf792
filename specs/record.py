"""TuningRecord: one tuned dispatch. Records are the source of a spec; the .mlir is rendered from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ireeperf import document
from ireeperf.errors import ConfigError
from specs.match import Match

Evidence = Literal["measured", "ported", "static"]
Verdict = Literal["right", "wrong", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another operation of the dispatch, and its tiles."""

    operation: int  # its place among the dispatch's linalg.generic operations, from 0
    lowering_config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The dispatch around a reduction that is not alone in it (LayerNorm, GroupNorm, softmax): with one operation configured by a record the
    compiler configures no other, so that the record has to tile all that need it."""

    operations: int  # linalg.generic operations of the dispatch; one of another number is left alone
    root: int  # which of them is the one that the record matches
    others: tuple[Other, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a record sets: IREE's compilation_info in plain values. Attribute kinds (#iree_gpu.mma_layout<...>) follow from the key."""

    pipeline: str  # TileAndFuse, VectorDistribute, DoubleTilingExpert, ...
    lowering_config: dict[str, Any]  # workgroup, reduction, subgroup, mma_kind, ... ; llvm-cpu: distribution, vector_common_parallel, ...
    workgroup_size: tuple[int, ...] = ()  # threads; empty on llvm-cpu
    subgroup_size: int | None = None
    options: dict[str, Any] = field(default_factory=dict)  # gpu_pipeline_options: prefetch_num_stages, use_igemm_convolution, ...
    attributes: dict[str, Any] = field(default_factory=dict)  # the rest of translation_info: llvm_func_attrs, denormal mode, padding on CUDA
    decomposition: dict[str, Any] = field(default_factory=dict)  # attention: qk_attrs and pv_attrs, each {lowering_config = {...}}
    within: Within | None = None  # a reduction beside others in one dispatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What executing the kernels that a record tuned gave (compile.verify --records): sampled workgroups on an ISA emulator against a float64
    reference. It sees neither timing nor hazards, nor other workgroups and inputs (docs/EMULATOR.md)."""

    verdict: Verdict
    tool: str  # compile.verify and the emulator's folder
    compiler: str  # version that made the kernels
    date: str  # ISO 8601
    build: str  # file name of the model JSON
    kernels: int  # distinct ones that the record tuned in that build
    workgroups: int  # sampled of each, at most, in both wave orders
    content_sha256: str  # of the record: a verdict holds for what it matched and set then
    largest_error: float | None = None  # of all kernels, as a share of its tolerance
    reason: str = ""  # why not right


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecord:
    """What to match, what to set, and the evidence that justifies it."""

    schema_version: ClassVar[int] = 2
    target: str  # compile/target.py: mi325x-cpx, cpu-avx512, sm_80
    match: Match
    set: Setting
    evidence: Evidence
    source: str  # where the choice comes from: "compile.tune", "SHARK-MLPERF v5.1 match_mmt_2048x10240x1280", ...
    compiler: str  # version that the evidence is of
    date: str  # ISO 8601
    machine: str | None = None  # measured: device and partition
    baseline_us: float | None = None  # measured: median with the default configuration
    tuned_us: float | None = None
    runs: int | None = None
    static: dict[str, str] = field(default_factory=dict)  # static: figure improved, "vgpr_spills": "94 -> 0"
    verified: Verified | None = None

    def __post_init__(self) -> None:
        if self.evidence == "measured":
            if None in (self.machine, self.baseline_us, self.tuned_us, self.runs):
                raise ConfigError("a measured record needs machine, baseline_us, tuned_us and runs")
            if self.tuned_us >= self.baseline_us:  # type: ignore[operator]
                raise ConfigError(f"tuned_us {self.tuned_us} is not below baseline_us {self.baseline_us}; delete the record")
        if self.evidence == "static" and not self.static:
            raise ConfigError("a static record names the figure that it improves; delete the record")

    @property
    def name(self) -> str:
        """The dispatch's name: what stands in the match report, and the stem of the record's file."""
        return self.match.name

    @property
    def content_sha256(self) -> str:
        """Digest of what it matches and sets, without what is left at its default."""
        stated = _stated(document.to_dict(self.match)), _stated(document.to_dict(self.set))
        return hashlib.sha256(json.dumps([self.target, *stated], sort_keys=True).encode()).hexdigest()

    @property
    def verdict(self) -> Verdict | None:
        """Of its kernels; None: never executed, or edited since."""
        return self.verified.verdict if self.verified and self.verified.content_sha256 == self.content_sha256 else None


def _stated(value: Any) -> Any:
    return {key: _stated(one) for key, one in value.items() if one not in (None, {}, [])} if isinstance(value, dict) else value


def read(path: Path) -> TuningRecord:
    """Read one record (.toml); ConfigError when malformed or when the file is not named after its dispatch."""
    found = document.read(TuningRecord, path)
    if path.stem != found.name:
        raise ConfigError(f"{path} holds the record of {found.name}; rename it to {found.name}.toml")
    return found

"""TuningRecord: one tuned dispatch. Records are the source of a spec; the .mlir is rendered from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ireeperf import document
from ireeperf.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecord:
    """What to match, what to set, and the evidence that justifies it."""

    schema_version: ClassVar[int] = 1
    dispatch: str  # root op and shape: matmul_2048x1280x5120_f16xf16xf32
    target: str
    match: dict[str, Any]
    lowering_config: dict[str, Any]
    evidence: Literal["measured", "ported", "static"]
    compiler: str  # version that the evidence is of
    date: str  # ISO 8601
    machine: str | None = None  # measured: device and partition
    baseline_us: float | None = None  # measured: median with the default configuration
    tuned_us: float | None = None
    runs: int | None = None

    def __post_init__(self) -> None:
        if self.evidence == "measured":
            if None in (self.machine, self.baseline_us, self.tuned_us, self.runs):
                raise ConfigError("a measured record needs machine, baseline_us, tuned_us and runs")
            if self.tuned_us >= self.baseline_us:  # type: ignore[operator]
                raise ConfigError(f"tuned_us {self.tuned_us} is not below baseline_us {self.baseline_us}; delete the record")


def read(path: Path) -> TuningRecord:
    """Read one record (.toml); ConfigError when malformed."""
    return document.read(TuningRecord, path)

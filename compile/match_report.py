"""MatchReport: which tuning record matched which dispatch of a build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ireeperf import document

NAME = "match_report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchMatch:
    """One dispatch of one executable, and the record that tuned it."""

    executable: str  # path in the manifest
    dispatch: str  # name the compiler gave: main$async_dispatch_12_matmul_like_...
    record: str | None  # None: the compiler's default configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchReport:
    """All dispatches of a build, in program order."""

    schema_version: ClassVar[int] = 1
    manifest_key: str
    dispatches: tuple[DispatchMatch, ...]


def read(path: Path) -> MatchReport:
    """Read a match report; ConfigError when malformed."""
    return document.read(MatchReport, path)

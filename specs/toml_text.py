"""Contracts as TOML: records for people to read and edit, without what is left at its default."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from ireeperf import document
from ireeperf.errors import ConfigError
from specs.record import TuningRecord, read


def toml(one: Any) -> str:
    """A contract as TOML. What is None or empty is left out: TOML has no null, and the reader puts the default there."""
    return tomli_w.dumps(_stated(document.to_dict(one)))


def save(record: TuningRecord, folder: Path) -> Path:
    """Write `record` as <name>.toml into `folder`, instead of one of that name; its path. What was verified of the same content stays."""
    path = folder / f"{record.name}.toml"
    if record.verified is None and path.is_file():
        with contextlib.suppress(ConfigError):  # an unreadable record is replaced
            before = read(path)
            record = replace(record, verified=before.verified if before.content_sha256 == record.content_sha256 else None)
    document.write_text(path, toml(record))
    return path


def _stated(value: Any) -> Any:
    return {key: _stated(one) for key, one in value.items() if one not in (None, {}, [])} if isinstance(value, dict) else value

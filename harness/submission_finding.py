"""Finding: one thing that is wrong with a submission tree, and how files of a tree are read while looking for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ireeperf.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong, where, and what is wanted. `code` is one word for programs."""

    code: str
    file: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.file}: {self.found}; wanted: {self.wanted}"


def text(path: Path) -> str:
    """The text of a file; ConfigError when absent or not text."""
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"is no text: {error}") from error


def json_object(path: Path) -> dict[str, Any]:
    """A JSON object; ConfigError when absent or something else."""
    try:
        value = json.loads(text(path))
    except ValueError as error:
        raise ConfigError(f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"is {value!r:.40}, no JSON object")
    return value

"""Arrays with a JSON header in one .npz: how sample sets and prompt sets are written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ireeperf import document
from ireeperf.errors import ConfigError


def write(path: Path, header: object, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` and the dataclass `header` (JSON, so that nothing is unpickled on reading) to `path`, whole or not at all. ConfigError when
    the folder cannot be written."""
    text = json.dumps(document.to_dict(header)).encode()
    named: dict[str, Any] = dict(arrays)
    partial = path.with_name(f".{path.name}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            np.savez_compressed(partial, header=np.frombuffer(text, np.uint8), **named)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; free the disk or choose another folder") from error

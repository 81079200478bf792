"""Where MLCommons' own files are: an outside judge, never part of this repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "IREEPERF_MLCOMMONS"
NEIGHBOUR = Path(__file__).resolve().parents[2] / "shared" / "tools" / "mlcommons-inference-v5.1.1"


def find() -> Path | None:
    """A checkout of mlcommons/inference at tag v5.1.1, or None."""
    for path in (Path(os.environ[VARIABLE]) if VARIABLE in os.environ else NEIGHBOUR,):
        if (path / "tools/submission/submission_checker.py").is_file() and (path / "compliance/TEST01/run_verification.py").is_file():
            return path
    return None


FILES = find()
needed = pytest.mark.skipif(FILES is None, reason=f"MLCommons' checker and compliance scripts are absent: check out mlcommons/inference "
                            f"at tag v5.1.1 and name it in {VARIABLE}")

"""Runs cases (tests/hip_stub/cases.py) in a child process with a deadline."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.hip_stub import library

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A child's end."""

    code: int
    failures: dict[str, str]  # case -> why it failed, "" when it did not
    errors: str  # its stderr


def cases(stub: Path, build: Path, *names: str) -> Ended:
    """One process that does `names` one after the other; a case that it did not come to says so."""
    done = subprocess.run([sys.executable, "-m", "tests.hip_stub.cases", str(stub), str(build), *names], cwd=ROOT, text=True, check=False,
                          capture_output=True, timeout=SECONDS, env=library.environment(stub))
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    failures = dict.fromkeys(names, f"the process ended with code {done.returncode} before: {done.stderr[-2000:]}")
    failures |= {outcome["case"]: outcome["failure"] or "" for outcome in outcomes}
    return Ended(code=done.returncode, failures=failures, errors=done.stderr)

"""Child processes with deadlines: what they found so far is kept whether they end, crash or hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended, and what it had said."""

    outcome: Literal["ok", "failed", "crashed", "hung"]
    cause: str
    seconds: float
    lines: tuple[dict[str, Any], ...]

    @property
    def begun(self) -> Any:
        """What it had begun and not finished."""
        last = self.lines[-1] if self.lines else {}
        return last.get("begin")


def run(arguments: Sequence[str], *, root: Path, site: Path, log: Path, seconds: float, quiet: float,
        heard: Callable[[dict[str, Any]], None] = lambda line: None) -> Ended:
    """Run one stage. It is killed after `seconds`, or after `quiet` seconds without a new line; either counts as hung."""
    log.parent.mkdir(parents=True, exist_ok=True)
    lines_file = log.with_suffix(".lines")
    lines_file.unlink(missing_ok=True)
    lines_file.touch()
    command = [sys.executable, "-m", "scripts.first_contact_parts.stage", "--lines", str(lines_file), *arguments]
    started = spoke = time.monotonic()
    found: list[dict[str, Any]] = []
    with log.open("ab") as words, lines_file.open() as lines:
        process = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=words, stderr=words, start_new_session=True,
                                   env=os.environ | {"PYTHONPATH": _path(root, site), "PYTHONUNBUFFERED": "1"})
        try:
            pending = ""
            while True:
                running = process.poll() is None
                pending += lines.read()
                *whole, pending = pending.split("\n")
                for line in whole:
                    found.append(json.loads(line))
                    heard(found[-1])
                    spoke = time.monotonic()
                now = time.monotonic()
                if not running:
                    return _ended(process.returncode, found, log, now - started)
                if now - started > seconds or now - spoke > quiet:
                    why = f"no word for {quiet:.0f} s" if now - spoke > quiet else f"not done in {seconds:.0f} s"
                    return Ended(outcome="hung", cause=why, seconds=now - started, lines=tuple(found))
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                try:
                    process.wait(10)  # a process in a driver call may not die; it is left behind
                except subprocess.TimeoutExpired:
                    pass


def _path(root: Path, site: Path) -> str:
    """PYTHONPATH of a child: this code, then packages from the archive's wheels, then what was there."""
    return os.pathsep.join([str(root), *([str(site)] if site.is_dir() else []), *filter(None, [os.environ.get("PYTHONPATH")])])


def _ended(code: int, found: list[dict[str, Any]], log: Path, seconds: float) -> Ended:
    """The outcome of a child that ended by itself."""
    said = next((line["error"] for line in reversed(found) if "error" in line), "")
    lines = tuple(line for line in found if "error" not in line)
    if code == 0:
        return Ended(outcome="ok", cause="", seconds=seconds, lines=lines)
    if code < 0:
        return Ended(outcome="crashed", cause=f"ended by {signal.Signals(-code).name}; {_last(log)}", seconds=seconds, lines=lines)
    return Ended(outcome="failed", cause=said or f"exit code {code}; {_last(log)}", seconds=seconds, lines=lines)


def _last(log: Path) -> str:
    """The last line that the child printed."""
    words = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"it last printed: {words[-1].strip()[:200]}" if words else "it printed nothing"

"""MLCommons' own submission checker, run unchanged on a tree, and its verdict."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.compliance import TAG
from harness.submission_limits import VERSION
from ireeperf.errors import MissingFileError, RunError

SCRIPT = Path("tools") / "submission" / "submission_checker.py"
SECONDS = 600.0
ENTRY = re.compile(r"^\[[^]]* (INFO|WARNING|ERROR)\] (.*)$")  # its log format: [time file:line LEVEL] text


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialVerdict:
    """What the checker said."""

    accepted: bool
    summary: str  # "submission looks OK", "submission has errors", or "crashed: ..."
    errors: tuple[str, ...]  # its ERROR lines; it can accept a tree that has some


def run(checker: Path, tree: Path) -> OfficialVerdict:
    """Judge `tree` by `checker`: submission_checker.py, or the checkout of mlcommons/inference that holds it."""
    script = checker / SCRIPT if checker.is_dir() else checker
    if not script.is_file():
        raise MissingFileError(f"{script} does not exist; --checker is {SCRIPT.name} of github.com/mlcommons/inference at "
                               f"tag {TAG}, or "
                               "its checkout")
    with tempfile.TemporaryDirectory(prefix="ireeperf-checker-") as scratch:
        command = [sys.executable, str(script.resolve()), "--input", str(tree.resolve()), "--version", VERSION,
                   "--csv", str(Path(scratch) / "summary.csv")]
        try:
            done = subprocess.run(command, cwd=scratch, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise RunError(f"{script} did not end in {SECONDS:g} s") from error
    return verdict(done.stdout, done.returncode)


def verdict(output: str, code: int) -> OfficialVerdict:
    """Read the checker's log: accepted only when it says so and exits with 0."""
    entries = [found.groups() for line in output.splitlines() if (found := ENTRY.match(line))]
    summaries = [message for _, message in entries if message.startswith("SUMMARY: ")]
    errors = tuple(message for level, message in entries if level == "ERROR" and not message.startswith("SUMMARY: "))
    if not summaries:
        last = output.strip().splitlines()[-1:] or ["no output"]
        return OfficialVerdict(accepted=False, summary=f"crashed: {last[0]}", errors=errors)
    summary = summaries[-1].removeprefix("SUMMARY: ")
    return OfficialVerdict(accepted=code == 0 and summary == "submission looks OK", summary=summary, errors=errors)

"""running.json: what result.json will say if nobody lives to write it.

Written when a run begins, with room to spare: the last word of a run that failed takes its place on disk, so it also fits
when the disk is full. A folder with running.json and no result.json is of a run whose supervisor was killed too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from harness.run_result import NAME, RunResult
from ireeperf import document

RUNNING = "running.json"
ROOM_BYTES = 32 * 2**10  # the result of 64 lost devices, each with its cause


def begin(folder: Path, result: RunResult) -> None:
    """`result` is of status failed; its cause holds until a better one is known. ConfigError when the disk is full."""
    document.write_text(folder / RUNNING, _text(result).ljust(ROOM_BYTES))  # JSON may end in spaces


def fail(folder: Path, result: RunResult) -> None:
    """Make `result` the folder's result.json without asking the disk for more; OSError when even that cannot be."""
    with (folder / RUNNING).open("r+") as file:
        file.write(_text(result))
        file.truncate()
    os.replace(folder / RUNNING, folder / NAME)


def read(folder: Path) -> RunResult:
    """What running.json says; ConfigError when there is none."""
    return document.read(RunResult, folder / RUNNING)


def end(folder: Path) -> None:
    """result.json is there."""
    (folder / RUNNING).unlink(missing_ok=True)


def _text(result: RunResult) -> str:
    return json.dumps(document.to_dict(result), indent=2) + "\n"

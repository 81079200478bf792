"""One stage in a process of its own, so that a crash or a hang costs one stage: `python -m scripts.first_contact_parts.stage`.

What it finds goes line by line, one JSON object each, to a file that the parent reads while it grows. The process ends by
os._exit: dropping a device that hangs would hang it (IREE's HIP driver waits for the GPU there).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from scripts.first_contact_parts import contents


def run(arguments: argparse.Namespace, emit: Any) -> None:
    """Do what the command line asks."""
    from scripts.first_contact_parts import device_stages, machine, reference

    if arguments.stage == "machine":
        emit({"machine": machine.describe(arguments.driver)})
        return
    archive, scratch = arguments.archive, arguments.scratch
    found = contents.read(archive)
    unit = next((one for one in found.units if one.name == arguments.unit), None)
    if arguments.stage in ("batch", "devices"):
        if arguments.stage == "batch":
            device_stages.batch(found, archive, scratch, int(arguments.unit), emit, arguments.device[0])
        else:
            device_stages.start_all(found, archive, scratch, int(arguments.unit), emit, arguments.device)
        return
    assert unit is not None
    match arguments.stage:
        case "trace":
            reference.trace(found, archive, scratch, unit, emit)
        case "alone":
            reference.alone(found, archive, scratch, unit, emit, arguments.first)
        case "check":
            device_stages.check(found, archive, scratch, unit, emit, arguments.device[0], arguments.first)
        case "entry_points":
            device_stages.entry_points(found, archive, scratch, unit, emit, arguments.device[0])


def main() -> int:
    parser = argparse.ArgumentParser(prog="first_contact stage", allow_abbrev=False, description="one stage; started by first_contact run")
    parser.add_argument("--stage", required=True)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--lines", type=Path, required=True, help="what it finds, a JSON object a line")
    parser.add_argument("--unit", default="", help="executable of the archive, or a batch size")
    parser.add_argument("--device", action="append", default=[])
    parser.add_argument("--driver", default="")
    parser.add_argument("--first", type=int, default=0, help="first dispatch: one before it ended another process")
    arguments = parser.parse_args()
    alone = threading.Lock()
    with arguments.lines.open("a") as lines:
        def emit(found: dict[str, Any]) -> None:
            with alone:
                lines.write(json.dumps(found, allow_nan=False) + "\n")
                lines.flush()

        try:
            run(arguments, emit)
        except (RuntimeError, ValueError, OSError, ImportError) as error:
            emit({"error": f"{type(error).__name__}: {error}".split("\n")[0][:500]})
            return 2
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

"""What a supervising parent says of a run that died: into result.json, and in one line."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

from harness import unfinished
from harness.run_result import NAME
from ireeperf.errors import PipelineError
from runtime.child_process import describe_end, signal_name

ASKED = {signal.SIGINT: "interrupted (Ctrl-C)", signal.SIGTERM: "terminated (SIGTERM)", signal.SIGHUP: "terminated (SIGHUP)"}


def speak(folder: str, code: int, asked: list[int], wall: float, cpu: float) -> str:
    """Complete the run folder (empty: there is none yet) of a process that ended with `code`; the line to print.

    `asked` are the signals that the parent got; `wall` and `cpu` are seconds of the run's process, its start-up included.
    """
    end = f"the run's process {describe_end(code)}"
    if asked:
        end = f"{ASKED.get(signal.Signals(asked[0]), signal_name(asked[0]))}; {end}"
    if not folder:
        return f"{end}, before it had a run folder"
    where = Path(folder)
    if (where / NAME).exists():
        return f"{end}, after it had written {where / NAME}, which stands"
    if code >= 0:
        end += " without a result"
    try:
        found = unfinished.read(where)
        # what the process had counted and timed is lost with it
        unfinished.fail(where, replace(found, cause=end, timing=replace(found.timing, wall=wall, cpu=cpu)))
    except (OSError, PipelineError) as error:
        return f"{end}; and {where / NAME} could not be written: {error}"
    return f"{end}; see {where / NAME}"

"""How child processes live and end: they die with the parent, and their end is put into words.

Only the standard library and nothing heavy: the supervising parent of a run imports it (harness/supervisor.py).
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
KILLED_INSIDE: Final = 128 + signal.SIGKILL  # what a shell or a container's init exits with after a kill -9


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the *thread* of process `parent` that started it ends, however it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def describe_end(code: int) -> str:
    """`subprocess`'s return code (-N: signal N) in words that follow "the process": "was killed by SIGSEGV"."""
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL (kill -9, or the kernel when memory ran out)"
    if code < 0:
        return f"was killed by {signal_name(-code)}"
    return f"exited with code {code}{': killed when memory ran out?' if code == KILLED_INSIDE else ''}"


def signal_name(number: int) -> str:
    """SIGSEGV for 11; a real-time signal has a number only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

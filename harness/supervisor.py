"""The supervising parent of a run: it only waits, and writes result.json when the run's process dies without doing so.

The run is a fork of the parent, made before anything is imported that has threads or a driver; so the parent holds little
memory and no command line has to be repeated. The run has a session of its own: a terminal's Ctrl-C reaches the parent,
which passes it on once. The run is killed with its parent (SIGKILL, from the kernel): then nobody is left to write a
result, and the folder keeps running.json instead.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from ireeperf.errors import exit_code

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_SECONDS = 6  # for the run to end after a signal, before it is killed
AGAIN_SECONDS = 1.0  # a second signal later than this kills at once; `timeout` sends each of its own twice

_to_parent: int | None = None  # in the run: the pipe that tells its folder


def announce(folder: str | os.PathLike[str]) -> None:
    """In the run: `folder` holds running.json now. Does nothing in a process that nobody supervises."""
    if _to_parent is not None:
        os.write(_to_parent, os.fsencode(os.path.abspath(folder)))


def supervised(main: Callable[[], int | None]) -> int:
    """Run a CLI body in a child; its exit code, or 2 (130 after Ctrl-C) with one line on stderr when it died.

    Call it first, with `main` importing what it needs: a process with threads cannot be forked safely.
    """
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise RuntimeError(f"supervised() was called with {threads} threads running; import LoadGen inside of main")
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    sys.stdout.flush()
    sys.stderr.flush()
    parent, started = os.getpid(), time.monotonic()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # one that comes now waits for the handlers
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run(main, parent, writer, before)
    os.close(writer)
    watch = _Watch(child)
    watch.begin()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _, status, usage = os.wait4(child, 0)
    watch.end()
    folder = os.fsdecode(_drain(reader))
    os.close(reader)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0 and (not folder or os.path.exists(os.path.join(folder, "result.json"))):
        return code
    from harness.last_word import speak  # here: the parent of a run that ends well needs none of it

    wall, cpu = time.monotonic() - started, usage.ru_utime + usage.ru_stime
    print(f"error: {speak(folder, code, watch.asked, wall, cpu)}", file=sys.stderr)
    return 130 if signal.SIGINT in watch.asked else 2


class _Watch:
    """Passes signals on to the run: the first as it is, a later one, or no end in time, as SIGKILL."""

    def __init__(self, child: int) -> None:
        self.asked: list[int] = []  # signals received
        self._child: int | None = child
        self._first = 0.0

    def begin(self) -> None:
        """Install the handlers, but leave what was set to be ignored (nohup, a background job of a shell)."""
        for number in PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)
        signal.signal(signal.SIGALRM, self._kill)

    def end(self) -> None:
        """The run is over: its process id may be another's soon."""
        self._child = None
        signal.alarm(0)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self.asked.append(number)
        if self._child is None:
            return
        if len(self.asked) == 1:
            self._first = time.monotonic()
            signal.alarm(PATIENCE_SECONDS)
            # a terminal that closes ends the run like SIGTERM does
            os.kill(self._child, signal.SIGTERM if number == signal.SIGHUP else number)
        elif time.monotonic() - self._first > AGAIN_SECONDS:
            self._kill(number, None)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)


def _drain(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except BlockingIOError:  # nothing was said, and a process that the run started holds the pipe open
        return b""


def _run(main: Callable[[], int | None], parent: int, writer: int, mask: set[int | signal.Signals]) -> NoReturn:
    """The child's life. It ends by os._exit: LoadGen's StartTest and a hung device would hold up a normal exit."""
    global _to_parent
    code = 1
    try:
        import faulthandler

        from runtime.child_process import die_with

        die_with(parent)
        os.setsid()
        faulthandler.enable()  # a segfault leaves the Python stacks on stderr
        _to_parent = writer
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = exit_code(main)
    except SystemExit as error:  # argparse
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)

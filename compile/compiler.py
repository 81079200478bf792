"""The one compiler call: iree-compile on many modules at once, each with its command line and a readable failure."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from compile import bank_padding, dumps
from compile.target import CHIP, Chip, set_chip
from ireeperf.errors import CompileError

POLL_SECONDS = 0.05
MEMORY_PER_COMPILE = 3 * 2**30  # bytes
_ERROR = re.compile(r"^(?P<file>[^\n:]*):(?P<line>\d+):(?P<column>\d+): error: (?P<text>.*)$|^(?:.*?)error: (?P<bare>.*)$", re.MULTILINE)
_OPERATION = re.compile(r"'([a-z_]+\.[\w.]+)'|operation '?\"?([a-z_]+\.[\w.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One module to compile. `folder` receives the .vmfb and its command line; `log`, on failure, what the compiler said.

    With a `chip` there are two phases: what the compiler believes of the chip is set between them (compile.target.set_chip). With a spec for
    CUDA as well: marked dispatches get other passes between them (compile/bank_padding.py).
    With `dispatches`, `folder` receives what the compiler tells of each dispatch too (compile/dumps.py).
    """

    label: str  # scheduled_unet bs2
    mlir: Path
    flags: tuple[str, ...]
    folder: Path
    name: str  # compiled_spunet_bs2
    log: Path
    chip: Chip | None = None
    dispatches: bool = False

    @property
    def vmfb(self) -> Path:
        return self.folder / f"{self.name}.vmfb"

    @property
    def between(self) -> str | None:
        """Up to where the first of two phases goes; None when there is one."""
        if self.chip is not None:
            return "preprocessing"
        return bank_padding.PHASE if any(flag.startswith(bank_padding.SPEC_FLAG) for flag in self.flags) else None

    @property
    def preprocessed(self) -> Path:
        """What the first of two phases writes."""
        return self.folder.with_suffix(".preprocessed.mlir")

    def rewrite(self) -> None:
        """What is done to it before the second phase."""
        text = self.preprocessed.read_text()
        self.preprocessed.write_text(set_chip(text, self.chip) if self.chip is not None else bank_padding.padded(text))

    @property
    def dumps(self) -> Path:
        """Where the compiler's dumps go until they are packed."""
        return self.folder.with_suffix(".dumps")

    @property
    def words(self) -> Path:
        """What the compiler says while it runs."""
        return self.folder.with_suffix(".log")

    def commands(self, output: str, preprocessed: str) -> list[list[str]]:
        """The argument lists, one a phase; never a shell string."""
        first = [str(compiler_path()), str(self.mlir), *self.flags]
        if self.between is None:
            return [[*first, "-o", output]]
        return [[*first, f"--compile-to={self.between}", "-o", preprocessed],
                [first[0], preprocessed, *self.flags, f"--compile-from={self.between}", "-o", output]]

    def shell(self, output: str) -> str:
        """The same as lines for a shell, the chip set by sed: what a user repeats."""
        middle = f"{self.name}.preprocessed.mlir"
        lines = [shlex.join(command) for command in self.commands(output, middle)]
        if self.chip is not None:
            lines.insert(1, shlex.join(["sed", "-i", f"s|{CHIP.pattern}|{self.chip.attribute}|", middle]))
        elif self.between is not None:
            lines.insert(1, f"python -m compile.bank_padding {middle}  # from the repository's root")
        return "\n".join(lines)


def compiler_path() -> Path:
    """The iree-compile binary of this environment (not the Python script of that name, which starts it)."""
    for entry in sys.path:
        binary = Path(entry) / "iree/compiler/_mlir_libs/iree-compile"
        if binary.is_file():
            return binary
    if found := shutil.which("iree-compile"):
        return Path(found)
    raise CompileError("iree-compile is not installed; pip install iree-base-compiler==3.13.0, or run ./scripts/setup")


def compiler_version() -> str:
    """Of the installed package: part of every key."""
    try:
        return metadata.version("iree-base-compiler")
    except metadata.PackageNotFoundError:
        raise CompileError("iree-base-compiler is not installed; run ./scripts/setup") from None


def default_jobs() -> int:
    """Compiles at a time: one a core (each uses several threads only in its last third), as far as memory goes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        available = int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024  # type: ignore[index]
    except (OSError, TypeError):
        return cores
    return max(1, min(cores, available // MEMORY_PER_COMPILE))


def compile_all(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, float]]:
    """Compile in parallel; each task with its wall seconds, as it ends. CompileError at the first failure, and none goes on."""
    waiting, running = list(tasks), dict[Task, tuple[subprocess.Popen[bytes], float, int]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop(0)
                with uninterrupted():
                    running[task] = _start(task, 0), time.monotonic(), 0
            for task, (process, started, phase) in list(running.items()):
                if process.poll() is None:
                    continue
                if task.between is not None and phase == 0 and process.returncode == 0 and task.preprocessed.is_file():
                    task.rewrite()
                    with uninterrupted():
                        running[task] = _start(task, 1), started, 1
                    continue
                del running[task]
                _check(task, process.returncode)
                yield task, time.monotonic() - started
            time.sleep(POLL_SECONDS)
    finally:
        for process, _, _ in running.values():
            with_group(process, signal.SIGKILL)
            process.wait()


def _start(task: Task, phase: int) -> subprocess.Popen[bytes]:
    task.folder.mkdir(parents=True, exist_ok=True)
    command = task.commands(str(task.vmfb), str(task.preprocessed))[phase]
    if task.dispatches and "--compile-to=preprocessing" not in command:
        command += dumps.flags(task.dumps, whole=f"--compile-to={bank_padding.PHASE}" in command)
    with task.words.open("ab") as log:
        # a group of its own: Ctrl-C reaches us first, and we end the linkers it started as well
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back, so that a process just started is known to the one who must end it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals never arrive here
        return
    held: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: held.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for waiting in held[:1]:
        signal.raise_signal(waiting)


def with_group(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    """Send a signal to a process and all it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def _check(task: Task, code: int) -> None:
    """Success is exit code 0 and the file: iree-compile can exit 0 after writing a crash reproducer."""
    words = task.words.read_text(errors="replace")
    if code == 0 and task.vmfb.is_file() and task.vmfb.stat().st_size:
        if task.between == bank_padding.PHASE:
            bank_padding.refuse(task.vmfb)
        (task.folder / f"{task.name}.command.sh").write_text(
            f"#!/bin/sh\n# {task.label}, iree-base-compiler {compiler_version()}\n{task.shell(task.vmfb.name)}\n")
        if task.dispatches:
            dumps.pack(task.dumps, task.folder / f"{task.name}{dumps.SUFFIX}")
            shutil.rmtree(task.dumps, ignore_errors=True)
        task.preprocessed.unlink(missing_ok=True)
        return
    task.log.parent.mkdir(parents=True, exist_ok=True)
    task.log.write_text(words)
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    if code == 0:
        how += " without writing the executable"
    raise CompileError(f"{task.label}: iree-compile {how}; {diagnose(words)}\n"
                       f"  everything it said: {task.log}\n  reproduce: {task.shell('/dev/null')}")


def diagnose(words: str) -> str:
    """The first error of iree-compile's output in one or two short lines: operation, message, and its line of MLIR."""
    first = _ERROR.search(words)
    if first is None:
        last = [line for line in words.splitlines() if line.strip()][-1:]
        return f"it said nothing of an error; last line: {last[0].strip()[:200]}" if last else "it printed nothing"
    message = (first["text"] or first["bare"]).strip()
    operation = _OPERATION.search(message)
    what = f"operation {operation[1] or operation[2]}: {message[:240]}" if operation else message[:300]
    line = _source_line(first["file"], first["line"])
    return what + (f"\n  at {Path(first['file']).name}:{first['line']}: {line}" if line else "")


def _source_line(file: str | None, number: str | None) -> str:
    """Line `number` of the MLIR, cut to one screen line; empty when it cannot be read."""
    if not file or not number:
        return ""
    try:
        with open(file, errors="replace") as source:
            for index, line in enumerate(source, 1):
                if index == int(number):
                    return line.strip()[:200]
    except OSError:
        pass
    return ""

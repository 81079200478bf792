"""A worker that runs kernels of gfx942 on this CPU: started in the emulator's environment, asked over pipes, ended when it hangs or dies."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from pathlib import Path
from types import TracebackType

from ireeperf.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv-emulator"
_START_S = 120.0


def interpreter() -> Path:
    """Python of the emulator's environment; ConfigError when it was not made."""
    found = ENVIRONMENT / "bin/python"
    if not found.exists():
        raise ConfigError(f"{ENVIRONMENT} is missing; make it with ./scripts/setup_emulator")
    return found


class EmulatorDied(Exception):
    """The worker ended or was ended while it ran a kernel: an access outside every tensor, or no end in time."""


class Emulator:
    """One worker. `folder`: the emulator (docs/EMULATOR.md)."""

    def __init__(self, folder: Path, python: Path | None = None) -> None:
        if not folder.is_dir():
            raise ConfigError(f"--emulator {folder} is not a folder; docs/EMULATOR.md says what it must hold and how to get it")
        command = [str(python or interpreter()), "-m", "compile.emulator_worker", str(folder)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                         env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
        self._answers: queue.Queue[str] = queue.Queue()
        self._complaints: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._answer(_START_S)
        except EmulatorDied as error:
            raise ConfigError(f"the emulator in {folder} does not start: {error}") from error

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def run(self, request: dict, timeout_s: float) -> dict:
        """Run one request (compile/emulator_worker.py). EmulatorDied when the worker ends or takes longer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise EmulatorDied(self._why()) from error
        return self._answer(timeout_s)

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was still to be written to a dead worker
                    pass

    def _answer(self, timeout_s: float) -> dict:
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self.close()
            raise EmulatorDied(f"no end after {timeout_s:.0f} s") from None
        if not line:
            raise EmulatorDied(self._why())
        return json.loads(line)

    def _why(self) -> str:
        code = self._process.wait()
        if code == -11 or code == -7:
            return "the kernel touched memory outside every tensor"
        return f"the worker ended with code {code}: " + "".join(self._complaints[-3:]).strip()[-300:]

    def _read(self) -> None:
        try:
            for line in self._process.stdout or ():
                self._answers.put(line)
        except ValueError:  # closed while read
            pass
        self._answers.put("")

    def _listen(self) -> None:
        try:
            for line in self._process.stderr or ():
                self._complaints = [*self._complaints[-20:], line]
        except ValueError:
            pass

"""Carry out a reproduction's steps: in order, groups side by side, skipping what is done; every run folder starts empty."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.reproduction.steps import ROOT, Step

POLL_SECONDS = 0.5
STOP_SECONDS = 10.0


class StepFailed(Exception):
    """A step ended with an exit code that stops the reproduction."""


def carry_out(steps: Sequence[Step], logs: Path) -> dict[str, dict[str, Any]]:
    """Run what is not done; step name -> last JSON line of its output (of a step that was done: of the log it left)."""
    logs.mkdir(parents=True, exist_ok=True)
    said: dict[str, dict[str, Any]] = {}
    for _, group in itertools.groupby(steps, key=lambda step: step.side_by_side or step.name):
        todo = []
        for step in group:
            if step.done():
                print(f"== {step.name}: done before", flush=True)
                said[step.name] = last_object(log_of(logs, step))
            else:
                todo.append(step)
        said |= together(todo, logs)
    return said


def together(steps: Sequence[Step], logs: Path) -> dict[str, dict[str, Any]]:
    """Run `steps` at once; StepFailed names the first that failed, when all have ended. Ctrl-C ends them all."""
    if not steps:
        return {}
    started = time.monotonic()
    for step in steps:
        print(f"== {step.name}\n$ {' '.join(step.command)}", flush=True)
        if step.is_run and step.product is not None:
            shutil.rmtree(step.product.parent, ignore_errors=True)  # what an interrupted run left
    processes = {step: start(step, log_of(logs, step)) for step in steps}
    shown = dict.fromkeys(steps, 0)
    try:
        while any(process.poll() is None for process in processes.values()):
            time.sleep(POLL_SECONDS)
            for step in steps:
                shown[step] = follow(step, log_of(logs, step), shown[step], alone=len(steps) == 1)
    except BaseException:
        for process in processes.values():
            stop(process)
        raise
    for step in steps:
        follow(step, log_of(logs, step), shown[step], alone=len(steps) == 1)
    print(f"== {', '.join(step.name for step in steps)}: {time.monotonic() - started:.0f} s", flush=True)
    for step, process in processes.items():
        if process.returncode not in step.codes:
            raise StepFailed(f"{step.name} ended with exit code {process.returncode}; see {log_of(logs, step)}, mend it and "
                             "start the reproduction again: it goes on from there")
    return {step.name: last_object(log_of(logs, step)) for step in steps}


def start(step: Step, log: Path) -> subprocess.Popen[bytes]:
    """Start a step with its output in `log`."""
    with log.open("wb") as file:
        return subprocess.Popen(step.command, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"} | step.environment,
                                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)


def follow(step: Step, log: Path, offset: int, *, alone: bool) -> int:
    """Print what a step said since `offset`; of several at once only the last line, with its name."""
    with log.open("rb") as file:
        file.seek(offset)
        text = file.read().decode(errors="replace")
        end = file.tell()
    lines = [line for line in text.splitlines() if line.strip()]
    for line in lines if alone else lines[-1:]:
        print(line if alone else f"{step.name:22} {line[:150]}", flush=True)
    return end


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a step and its children: first as Ctrl-C would, so that a run says why it ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def log_of(logs: Path, step: Step) -> Path:
    """Where the output of a step is kept."""
    return logs / f"{step.name.replace(' ', '-')}.log"


def last_object(log: Path) -> dict[str, Any]:
    """The last line of `log` that is a JSON object; empty when there is none."""
    if log.is_file():
        for line in reversed(log.read_text(errors="replace").splitlines()):
            if line.startswith("{"):
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict):
                    return found
    return {}

"""Stages on the device: every distinct dispatch alone, entry points as the harness runs them, batches, all devices at once."""

from __future__ import annotations

import functools
import math
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scripts.first_contact_parts import graph, opened, tensors
from scripts.first_contact_parts.contents import Contents, Unit, drawable
from scripts.first_contact_parts.reference import Emit, folder_of, operands

ENTRY_TOLERANCE = {"f32": 1e-3, "f16": 3e-2, "i8": 2e-2}  # a whole graph: the dispatches' differences add up
FEWEST, MOST = 5, 50  # calls that a median is taken of


def timed(call: Callable[[], Any], seconds: float) -> list[float]:
    """Wall seconds of each call: at least FEWEST, at most MOST, `seconds` altogether where that leaves enough."""
    found: list[float] = []
    while len(found) < FEWEST or (sum(found) < seconds and len(found) < MOST):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return found


def check(contents: Contents, archive: Path, scratch: Path, unit: Unit, emit: Emit, uri: str, first: int) -> None:
    """Each distinct dispatch from `first` on: error against the CPU given the same operands, then its time."""
    device = opened.Opened(uri)
    files = [path for path in (unit.probes, unit.repeated, unit.baseline, unit.baseline_repeated) if path is not None]
    probes = []
    for path in files:
        probes.append(device.load(archive / path))
        emit({"loaded": path})  # the driver may compile here, for minutes: a sign of life
    single, repeated, *plain = probes
    for index, dispatch in enumerate(unit.dispatches):
        folder = folder_of(scratch, unit, index)
        if index < first:
            continue
        emit({"begin": index})
        kinds = [*dispatch.operands, *dispatch.results]
        given = operands(folder, dispatch.operands, dispatch.label)
        views = [device.to_device(array, tensors.of(kind)[1]) for array, kind in zip(given, dispatch.operands, strict=True)]
        found: dict[str, Any] = {"dispatch": index, "tolerance": tensors.tolerance(kinds)}
        results = single.call(f"probe_{index}", views)
        if (folder / "done").exists():
            expected = [np.load(folder / f"out{result}.npy") for result in range(len(results))]
            pairs = [tensors.difference(device.to_host(view)[0], theirs, tensors.of(kind)[1])
                     for view, theirs, kind in zip(results, expected, dispatch.results, strict=True)]
            found["blank"] = not any(theirs.any() for theirs in expected)
            found |= worst(pairs)
        emit(found)
        emit({"timed": index, **launch_time(contents.repeats, single, repeated, f"probe_{index}", views)})
        if plain:
            slower = launch_time(contents.repeats, plain[0], plain[1], f"probe_{index}", views)
            emit({"timed": index, "baseline_microseconds": slower["microseconds"]})


def launch_time(repeats: int, single: opened.Loaded, repeated: opened.Loaded, name: str, views: list[Any]) -> dict[str, Any]:
    """Microseconds of one call of a probe, and of one launch: what each further launch in the same call adds, of medians."""
    once = timed(lambda: single.call(name, views), 0.05)
    several = timed(lambda: repeated.call(name, views), 0.1)
    # never below zero: a dispatch too short to see costs nothing that can be told
    launch = max(0.0, statistics.median(several) - statistics.median(once)) / (repeats - 1)
    return {"call_microseconds": statistics.median(once) * 1e6, "microseconds": launch * 1e6, "runs": min(len(once), len(several))}


def entry_points(contents: Contents, archive: Path, scratch: Path, unit: Unit, emit: Emit, uri: str) -> None:
    """Each entry point of the executable that the harness runs: error against the CPU, and time."""
    device = opened.Opened(uri)
    file = opened.parameter_file(unit, archive, scratch)
    loaded = device.load(archive / unit.executable, device.parameters(unit.scope, file) if file else None, fenced=unit.fenced)
    values = graph.Values(scratch, unit.batch_size)
    for entry in graph.ordered(list(unit.entry_points)):
        emit({"begin": entry})
        arguments = values.read(entry, "in") or values.arguments(entry, unit.entry_points[entry], contents)
        views = [device.to_device(array, element) for array, element in arguments]
        found: dict[str, Any] = {"entry": entry}
        results = [device.to_host(view) for view in loaded.call(entry, views)]
        if expected := values.read(entry, "out"):
            found |= worst([tensors.difference(ours, theirs, element) for (ours, element), (theirs, _) in zip(results, expected, strict=True)])
            elements = [element for _, element in (*arguments, *results)]
            found["tolerance"] = max(ENTRY_TOLERANCE.get(element, 0.0) for element in elements) or 1e-3
        emit(found)
        seconds = timed(functools.partial(loaded.call, entry, views), 2.0)
        emit({"timed": entry, **summary(seconds)})


def worst(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """The greatest of (relative error, difference) pairs; JSON has no infinity, so that is said in words."""
    error, gap = (max(part) for part in zip(*pairs, strict=True))
    if not math.isfinite(error):
        return {"departs": "not a number where the CPU has one, or the other way round; or not zero where the CPU has zeros"}
    return {"relative_error": error, "greatest_difference": gap}


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median, fastest, relative standard deviation, count."""
    return {"seconds": statistics.median(seconds), "fastest_seconds": min(seconds), "runs": len(seconds),
            "spread": statistics.pstdev(seconds) / statistics.fmean(seconds)}


def _drawing(contents: Contents, archive: Path, scratch: Path, size: int, uri: str) -> graph.Drawing:
    """A device of its own with the executables of one batch size."""
    chosen = drawable(contents.units, size)
    assert chosen is not None  # the parent asked
    device, loaded = opened.Opened(uri), {}
    for module, unit in chosen.items():
        file = opened.parameter_file(unit, archive, scratch)
        parameters = device.parameters(unit.scope, file) if file else None
        loaded[module] = unit, device.load(archive / unit.executable, parameters, fenced=unit.fenced)
    return graph.Drawing(device, contents, loaded, size)


def batch(contents: Contents, archive: Path, scratch: Path, size: int, emit: Emit, uri: str) -> None:
    """Whole batches on one device, one after the other: the service time."""
    drawing = _drawing(contents, archive, scratch, size, uri)
    drawing.draw()  # warm: first launches load code
    emit({"timed": size, **summary(timed(drawing.draw, 5.0)), "steps": contents.num_inference_steps})


def start_all(contents: Contents, archive: Path, scratch: Path, size: int, emit: Emit, uris: list[str]) -> None:
    """Open every device in this one process, one after the other, then one batch on each, all at once.

    A device lives in a thread of its own, as in the harness: CUDA's context is the thread's that opened it (another one gets
    CUDA_ERROR_INVALID_CONTEXT), and IREE's HIP driver leaves its context behind on the thread's stack.
    """
    opening, together = threading.Lock(), threading.Barrier(len(uris))
    images: dict[str, np.ndarray] = {}

    def live(uri: str) -> None:
        drawing = None
        with opening:
            emit({"begin": uri})
            started = time.perf_counter()
            try:
                drawing = _drawing(contents, archive, scratch, size, uri.split("#")[0])
                emit({"device": uri, "open_seconds": time.perf_counter() - started})
            except (RuntimeError, ValueError) as error:
                emit({"device": uri, "outcome": "failed", "cause": str(error).split("\n")[0][:300]})
        together.wait()  # the parent ends all of it when a device never gets here
        if drawing is None:
            return
        try:
            for _ in range(2):  # the first batch loads code; the second one's time replaces its
                started = time.perf_counter()
                images[uri] = drawing.draw()
                emit({"device": uri, "together_seconds": time.perf_counter() - started})
        except (RuntimeError, ValueError) as error:
            images.pop(uri, None)
            emit({"device": uri, "outcome": "failed", "cause": str(error).split("\n")[0][:300]})

    threads = [threading.Thread(target=live, args=(uri,), daemon=True) for uri in uris]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = next((images[uri] for uri in uris if uri in images), None)
    for uri in images:
        emit({"device": uri, "outcome": "ok", "same_as_first": bool(np.array_equal(images[uri], first))})

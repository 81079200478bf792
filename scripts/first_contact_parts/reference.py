"""Stages on the CPU: the whole graph once with every dispatch traced, then every distinct dispatch alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from iree.runtime import HalBufferView

from scripts.first_contact_parts import graph, opened, tensors
from scripts.first_contact_parts.contents import Contents, Unit

Emit = Callable[[dict[str, Any]], None]


def folder_of(scratch: Path, unit: Unit, index: int) -> Path:
    """Where operands and results of dispatch `index` lie."""
    return scratch / unit.name / f"{index:04d}"


def trace(contents: Contents, archive: Path, scratch: Path, unit: Unit, emit: Emit) -> None:
    """Run each entry point on the CPU; keep its arguments and results, and the operands of each dispatch's first launch."""
    positions = {dispatch.label: index for index, dispatch in enumerate(unit.dispatches)}

    def keep(label: str, views: Sequence[HalBufferView]) -> None:
        name, _, what = label.rpartition(" ")
        index = positions.get(name)
        if what != "inputs" or index is None:
            return
        folder = folder_of(scratch, unit, index)
        if not (folder / "traced").exists():
            folder.mkdir(parents=True, exist_ok=True)
            for operand, view in enumerate(views):
                np.save(folder / f"in{operand}.npy", device.to_host(view)[0])
            (folder / "traced").touch()  # last: a process that died left no half operand behind

    device = opened.Opened(opened.LOCAL, keep)
    file = opened.parameter_file(unit, archive, scratch)
    loaded = device.load(archive / unit.reference, device.parameters(unit.scope, file) if file else None, fenced=unit.fenced)
    values = graph.Values(scratch, unit.batch_size)
    for entry in graph.ordered(list(unit.entry_points)):
        emit({"begin": entry})
        arguments = values.arguments(entry, unit.entry_points[entry], contents)
        started = time.perf_counter()
        results = loaded.call(entry, [device.to_device(array, element) for array, element in arguments])
        seconds = time.perf_counter() - started
        values.save(entry, "in", arguments)
        values.save(entry, "out", [device.to_host(view) for view in results])
        emit({"entry": entry, "seconds": seconds})


def alone(contents: Contents, archive: Path, scratch: Path, unit: Unit, emit: Emit, first: int) -> None:
    """Each distinct dispatch from `first` on with its operands: the results that a device is compared with."""
    device = opened.Opened(opened.LOCAL)
    loaded = device.load(archive / unit.reference_probes)
    for index, dispatch in enumerate(unit.dispatches):
        if index < first:
            continue
        emit({"begin": index})
        folder = folder_of(scratch, unit, index)
        folder.mkdir(parents=True, exist_ok=True)
        given = operands(folder, dispatch.operands, dispatch.label)
        views = [device.to_device(array, tensors.of(kind)[1]) for array, kind in zip(given, dispatch.operands, strict=True)]
        for result, view in enumerate(loaded.call(f"probe_{index}", views)):
            np.save(folder / f"out{result}.npy", device.to_host(view)[0])
        (folder / "done").touch()
        emit({"dispatch": index, "inputs": "reference" if (folder / "traced").exists() else "seeded"})


def operands(folder: Path, kinds: Sequence[str], label: str) -> list[np.ndarray]:
    """The traced operands, or seeded ones where the graph never reached the dispatch."""
    if (folder / "traced").exists():
        return [np.load(folder / f"in{index}.npy") for index in range(len(kinds))]
    return [tensors.seeded(kind, f"{label}.{index}") for index, kind in enumerate(kinds)]

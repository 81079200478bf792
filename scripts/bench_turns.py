"""Contestants that take turns in one process, and what comes of it: medians, and ratios over IREE's time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def measure(contestants: dict[str, Callable[[], Any]], pairs: int) -> dict[str, dict[str, list[float]]]:
    """Wall and CPU seconds of every call; the order turns round by round."""
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in contestants}
    names = list(contestants)
    for call in contestants.values():
        for _ in range(3):
            call()
    for round_ in range(pairs):
        for name in names[round_ % len(names):] + names[:round_ % len(names)]:
            cpu, wall = time.process_time(), time.perf_counter()
            contestants[name]()
            found[name]["wall"].append(time.perf_counter() - wall)
            found[name]["cpu"].append(time.process_time() - cpu)
    return found


def ratios(times: dict[str, dict[str, list[float]]], own: str = "iree") -> dict[str, Any]:
    """Medians of every contestant, and of what each takes in units of the time of `own`: above 1 `own` is faster."""
    result: dict[str, Any] = {}
    for other in [name for name in times if name != own]:
        paired = [b / a for a, b in zip(times[own]["wall"], times[other]["wall"], strict=True)]
        result[f"ratio_{other}"] = round(statistics.median(paired), 3)
        result[f"ratio_{other}_quartiles"] = [round(q, 3) for q in statistics.quantiles(paired, n=4)[::2]]
        # CPU time over CPU time: what a busy machine distorts least (torch's threads spin while they wait for each other)
        cpu = {name: statistics.median(times[name]["cpu"]) for name in (own, other)}
        result[f"ratio_{other}_cpu"] = round(cpu[other] / cpu[own], 3)
    for name, kinds in times.items():
        for kind, values in kinds.items():
            result[f"{name}_{kind}_ms"] = round(1e3 * statistics.median(values), 2)
    return result

"""Runs one candidate beside the default configuration, in turns, on equal random data. One file, run by path: needs iree.runtime and numpy.

    python tune_runner.py REQUEST.json     -> JSON on the last line of stdout
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def opened(path: str, driver: str) -> tuple[Any, Any]:
    """A context of its own for the executable: the module and its device."""
    import iree.runtime as rt

    config = rt.Config(driver)
    loaded = rt.VmModule.mmap(config.vm_instance, path)
    context = rt.SystemContext(vm_modules=[rt.create_hal_module(config.vm_instance, config.device), loaded], config=config)
    return context.modules[loaded.name], config.device


def answer(module: Any, device: Any, data: Any, entry: str) -> tuple[Any, Any]:
    """The whole buffer after one call on `data`; the second is the device array, which the module goes on using."""
    import iree.runtime as rt
    import numpy as np

    placed = rt.asdevicearray(device, data)
    module["set_buffer"](placed)
    module[entry](1)
    return np.array(placed.to_host()), placed


def difference(data: Any, expected: Any, found: Any) -> float:
    """Relative error over all elements that either of them wrote; infinite when the default wrote nothing or values are not finite."""
    import numpy as np

    written = (expected != data) | (found != data)
    wanted, got = expected[written].astype(np.float64), found[written].astype(np.float64)
    norm = float(np.linalg.norm(wanted)) if written.any() else 0.0
    error = float(np.linalg.norm(got - wanted)) / norm if norm else float("inf")
    return error if error == error else float("inf")


def timed(module: Any, entry: str, repeats: int) -> tuple[float, float]:
    """Wall and CPU microseconds a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    module[entry](repeats)
    return 1e6 * (time.perf_counter() - wall) / repeats, 1e6 * (time.process_time() - cpu) / repeats


def main(path: str) -> int:
    import numpy as np

    request = json.loads(Path(path).read_text())
    data = np.random.default_rng(0).standard_normal(request["bytes"] // np.dtype(request["dtype"]).itemsize).astype(request["dtype"])
    (default, device), (candidate, other) = (opened(request[name], request["driver"]) for name in ("default", "candidate"))
    expected, kept = answer(default, device, data, request["entry"])
    found, kept_too = answer(candidate, other, data, request["entry"])
    error = difference(data, expected, found)
    rounds: list[dict[str, float]] = []
    if error <= request["tolerance"]:
        once = timed(default, request["entry"], 3)[0]
        repeats = max(1, round(request["round_us"] / max(once, 0.1)))
        for _ in range(request["rounds"]):
            baseline, tuned = timed(default, request["entry"], repeats), timed(candidate, request["entry"], repeats)
            rounds.append({"baseline_wall": baseline[0], "baseline_cpu": baseline[1], "wall": tuned[0], "cpu": tuned[1]})
    del kept, kept_too
    print(json.dumps({"error": error if error != float("inf") else None, "rounds": rounds}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))

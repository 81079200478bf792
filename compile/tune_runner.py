"""Runs candidates beside the default configuration, in turns, on equal random data. Run by path; iree.runtime and numpy suffice.

    python tune_runner.py --one REQUEST.json        # one candidate                     -> JSON on the last line of stdout
    python tune_runner.py --module REQUEST.json     # a whole module, with and without a spec          -> the same
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUN_SECONDS = 300
_KEPT: list[Any] = []  # parameters' memory, which an index only points to
BLOCK = 1 << 24  # a buffer may span the whole program's memory: beyond 16 Mi elements the numbers repeat


def machine(driver: str) -> str:
    """Name of what this process measures on: the GPU, or the CPU's model and instruction sets."""
    if not driver.startswith("local"):
        import iree.runtime as rt

        return str(rt.get_driver(driver).query_available_devices()[0]["name"])
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return " ".join(os.uname())
    return " ".join(line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "flags")))


def configured(driver: str) -> Any:
    """A device and an instance for executables."""
    import iree.runtime as rt

    return rt.Config(driver)


def opened(path: str, config: Any, parameters: Any = None) -> Any:
    """The executable in a context of its own on the device of `config`. `parameters`: an iree.runtime.ParameterIndex."""
    import iree.runtime as rt

    modules = [rt.create_hal_module(config.vm_instance, config.device)]
    if parameters is not None:
        modules.append(rt.create_io_parameters_module(config.vm_instance, parameters.create_provider(scope="model")))
    loaded = rt.VmModule.mmap(config.vm_instance, path)
    return rt.SystemContext(vm_modules=[*modules, loaded], config=config).modules[loaded.name]


@functools.cache
def _block(dtype: str) -> Any:
    import numpy as np

    return np.random.default_rng(0).standard_normal(BLOCK, np.float32).astype(dtype)


def drawn(count: int, dtype: str) -> Any:
    """`count` random normal numbers, equal every time."""
    import numpy as np

    return _block(dtype)[:count].copy() if count <= BLOCK else np.resize(_block(dtype), count)


def answer(module: Any, device: Any, data: Any, entry: str) -> tuple[Any, Any]:
    """The whole buffer after one call on `data`; the second is the device array, which the module goes on using."""
    import iree.runtime as rt
    import numpy as np

    placed = rt.asdevicearray(device, data)
    module["set_buffer"](placed)
    module[entry](1)
    return np.array(placed.to_host()), placed


def difference(data: Any, expected: Any, found: Any, dtype: str) -> float:
    """Relative error over all elements (of `dtype`) that either wrote; infinite when the default wrote nothing or values are not finite."""
    import numpy as np

    bits = {2: np.uint16, 4: np.uint32}[np.dtype(dtype).itemsize]
    was, one, other = (np.ascontiguousarray(array).view(bits) for array in (data, expected, found))
    written = (one != was) | (other != was)
    return relative(one[written].view(dtype), other[written].view(dtype))


def relative(wanted: Any, got: Any) -> float:
    """Norm of the difference over the norm of `wanted`; infinite without a finite answer."""
    import numpy as np

    wanted, got = wanted.astype(np.float64), got.astype(np.float64)
    norm = float(np.linalg.norm(wanted))
    error = float(np.linalg.norm(got - wanted)) / norm if norm else float("inf")
    return error if error == error else float("inf")


def largest(wanted: Any, got: Any) -> float:
    """Largest difference over the largest of `wanted`; infinite without a finite answer."""
    import numpy as np

    error = float(np.abs(got - wanted).max(initial=0.0)) / (float(np.abs(wanted).max(initial=0.0)) or 1.0)
    return error if np.isfinite(error) else float("inf")


def explained(reference: Any, after: Any, dtype: str, first: int = 0) -> float:
    """Largest error over its tolerance, above 1 when it is wrong, at the sampled elements of `reference` (an archive's reference.npz) that lie in
    `after`: bytes of the buffer from byte `first` on."""
    import numpy as np

    worst, size = 0.0, np.dtype(dtype).itemsize
    for index in range(len(reference.files) // 3):
        places = reference[f"positions{index}"] - first
        inside = (places >= 0) & (places <= after.nbytes - size)
        found = np.ascontiguousarray(after.view(np.uint8)[places[inside][:, None] + np.arange(size)]).view(dtype).ravel().astype(np.float64)
        worst = max(worst, largest(reference[f"expected{index}"][inside], found) / float(reference[f"tolerance{index}"]))
    return worst


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Wall and CPU microseconds of one of `repeats` repetitions that `call` makes."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return 1e6 * (time.perf_counter() - wall) / repeats, 1e6 * (time.process_time() - cpu) / repeats


def turns(default: Callable[[], Any], candidate: Callable[[], Any], repeats: int, rounds: int) -> list[dict[str, float]]:
    """Times of both, a pair a round; who goes first alternates."""
    found = []
    for index in range(rounds):
        first, second = (default, candidate) if index % 2 == 0 else (candidate, default)
        pair = timed(first, repeats), timed(second, repeats)
        (baseline_wall, baseline_cpu), (wall, cpu) = pair if index % 2 == 0 else pair[::-1]
        found.append({"baseline_wall": baseline_wall, "baseline_cpu": baseline_cpu, "wall": wall, "cpu": cpu})
    return found


def one(request: dict[str, Any]) -> dict[str, Any]:
    """One candidate of a dispatch beside its default."""
    import numpy as np

    entry, config = request["entry"], configured(request["driver"])
    data = drawn(-(-request["bytes"] // np.dtype(request["dtype"]).itemsize), request["dtype"])
    default, candidate = (opened(request[name], config) for name in ("default", "candidate"))
    expected, kept = answer(default, config.device, data, entry)
    found, kept_too = answer(candidate, config.device, data, entry)
    error = difference(data, expected, found, request["result_dtype"])
    rounds = paired(default, candidate, request, request["rounds"]) if error <= request["tolerance"] else []
    del kept, kept_too
    return {"error": error if error != float("inf") else None, "rounds": rounds}


def paired(default: Any, candidate: Any, request: dict[str, Any], rounds: int) -> list[dict[str, float]]:
    """Times of both; a round makes as many calls as fill `round_us`."""
    entry = request["entry"]
    once = timed(lambda: default[entry](3), 3)[0]
    repeats = max(1, round(request["round_us"] / max(once, 0.1)))
    return turns(lambda: default[entry](repeats), lambda: candidate[entry](repeats), repeats, rounds)


def arguments(given: list[tuple[list[int], str]], device: Any) -> list[Any]:
    """Random arguments of an exported function, by shape and dtype: normal numbers, and integers from 0 to 7."""
    import iree.runtime as rt
    import numpy as np

    draw = np.random.default_rng(0)
    return [rt.asdevicearray(device, np.asarray(draw.integers(0, 8, shape) if dtype.startswith("int") else draw.standard_normal(shape), dtype))
            for shape, dtype in given]


def parameters(request: dict[str, Any]) -> Any:
    """Of a module: its archive, or made-up ones by name, shape and dtype, scaled so that activations neither grow nor vanish; or None."""
    import iree.runtime as rt
    import numpy as np

    if request.get("archive") is None and not request.get("parameters"):
        return None
    index = rt.ParameterIndex()
    if request.get("archive") is not None:
        index.load(request["archive"])
    for name, shape, dtype in request.get("parameters", ()):
        flat = len(shape) < 2
        array = drawn(int(np.prod(shape)), "float32")
        array *= np.float32(0.1 if flat else float(np.prod(shape[1:])) ** -0.5)
        if flat and name.endswith("weight"):  # what a norm multiplies by
            array += np.float32(1.0)
        _KEPT.append(array.astype(dtype).reshape(shape))
        index.add_buffer(name, _KEPT[-1])
    return index


def whole(request: dict[str, Any]) -> dict[str, Any]:
    """All entry points of a module, beside the same module compiled with a spec."""
    config, calls, results = configured(request["driver"]), [], []
    index = parameters(request)
    for name in ("default", "candidate"):
        module = opened(request[name], config, index)
        bound = [(module[entry], arguments(given, config.device)) for entry, given in request["entry_points"].items()]
        calls.append(lambda bound=bound: [function(*given) for function, given in bound])
        found = [result if isinstance(result, (tuple, list)) else (result,) for result in calls[-1]()]
        results.append([array.to_host().copy() for group in found for array in group])
    error = max(relative(wanted, got) for wanted, got in zip(*results, strict=True))
    rounds = turns(calls[0], calls[1], 1, request["rounds"]) if error <= request["tolerance"] else []
    return {"error": error if error != float("inf") else None, "rounds": rounds}


def started(kind: str, request: Path, seconds: float = RUN_SECONDS) -> dict[str, Any]:
    """The answer to `request` from a process of its own, or {"failed": why}: a candidate that crashes is a result."""
    try:
        done = subprocess.run([sys.executable, __file__, kind, str(request)], capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"still running after {seconds:.0f} s"}
    if done.returncode:
        words = done.stderr.strip().splitlines()
        return {"failed": f"exited with code {done.returncode}: {words[-1][:300] if words else 'no words'}"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(argv: list[str]) -> int:
    if len(argv) != 2 or argv[0] not in ("--one", "--module"):
        print("usage: python tune_runner.py --one|--module REQUEST.json", file=sys.stderr)
        return 2
    request = json.loads(Path(argv[1]).read_text())
    print(json.dumps(one(request) if argv[0] == "--one" else whole(request)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""Call functions of a gfx942 executable through IREE's real HIP driver, with an ISA emulator behind its launches: hip:// without a GPU.

    python -m scripts.emulated_hip MODULE.vmfb --emulator PATH --function run_forward \\
        --input 1x4x16x16xf32 2x64x320xf16 2x192xf16 2x6xf16 1xf32 1xi64 --against CPU.vmfb --parameters UNET.irpa

The driver gets the stub of libamdhip64 (tests/hip_stub), which hands each launch to the emulator (docs/EMULATOR.md); the numbers are real, the
times are not. Arguments are random and equal for both executables. Exit code 1 when the results differ by more than --tolerance.
IREE's bindings hold Python's lock while they initialize a module, and a launch needs it: compile MODULE with --iree-opt-const-expr-hoisting=false, so
that its initializers launch nothing. One that does is ended by SIGALRM.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compile import emulator, emulator_object, emulator_worker
from ireeperf import document
from ireeperf.errors import ConfigError, exit_code

_LAUNCHED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint),
                             ctypes.POINTER(ctypes.c_void_p))
_KINDS = {"f16": np.float16, "f32": np.float32, "i64": np.int64, "i32": np.int32}
_OPEN_S = 300  # weights of some GB; nothing is emulated then
_FAILURE = 719  # hipErrorLaunchFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedSettings:
    """The command line."""

    module: Path
    emulator: Path
    function: str
    input: tuple[str, ...]
    against: Path | None
    parameters: Path | None
    tolerance: float


def parse(argv: Sequence[str] | None = None) -> EmulatedSettings:
    parser = argparse.ArgumentParser(prog="scripts.emulated_hip", allow_abbrev=False, description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("module", type=Path, help="a .vmfb compiled for gfx942")
    parser.add_argument("--emulator", type=Path, required=True, help="the outside emulator's folder (docs/EMULATOR.md)")
    parser.add_argument("--function", required=True, help="exported function, called once")
    parser.add_argument("--input", nargs="*", default=(), metavar="TYPE", help="of its arguments: 1x4x16x16xf32 2x64x320xf16 ...")
    parser.add_argument("--against", type=Path, help="the same compiled for this CPU: its results are compared")
    parser.add_argument("--parameters", type=Path, help="weights (.irpa) of both")
    parser.add_argument("--tolerance", type=float, default=1e-2, help="norm of the difference over that of the CPU's result (default 1e-2)")
    given = vars(parser.parse_args(argv))
    return EmulatedSettings(**given | {"input": tuple(given["input"])})


class Launches:
    """Behind the stub's launches: code objects loaded once, kernels run whole in this process, what each took."""

    def __init__(self, folder: Path) -> None:
        os.environ["PYTHON"] = str(emulator.interpreter())  # the emulator's C compiler
        self._emulator = emulator_worker.Emulator(folder.resolve(), judged=False)
        self._loaded: dict[int, tuple[emulator_worker.Loaded, dict[str, tuple[tuple[int, int], ...]]]] = {}
        self.kernels: dict[str, list[float]] = {}  # seconds of each launch
        self.failures: list[str] = []
        self.callback = _LAUNCHED(self._launch)

    def _launch(self, image: int, size: int, name: bytes, dims: Any, arguments: Any) -> int:
        kernel, begun = name.decode(), time.monotonic()
        try:
            if image not in self._loaded:
                content = ctypes.string_at(image, size)
                self._loaded[image] = emulator_worker.Loaded(content), emulator_object.arguments(content)
            loaded, places = self._loaded[image]
            held = bytearray(max((offset + width for offset, width in places[kernel]), default=0))
            for index, (offset, width) in enumerate(places[kernel]):
                held[offset:offset + width] = ctypes.string_at(arguments[index], width)
            self._emulator.execute(loaded, kernel, dims[:3], dims[3:6], bytes(held))
        except Exception as error:  # ctypes would drop it
            self.failures.append(f"{kernel}: {type(error).__name__}: {error}"[:300])
            return _FAILURE
        self.kernels.setdefault(kernel, []).append(time.monotonic() - begun)
        return 0


def opened(path: Path, driver: str, parameters: Path | None) -> tuple[Any, Any]:
    """A module in a context of its own, and its device."""
    import iree.runtime as rt
    config = rt.Config(driver)
    modules = [rt.create_hal_module(config.vm_instance, config.device)]
    if parameters is not None:
        index = rt.ParameterIndex()
        index.load(str(parameters))
        modules.append(rt.create_io_parameters_module(config.vm_instance, index.create_provider(scope="model")))
    loaded = rt.VmModule.mmap(config.vm_instance, str(path))
    return rt.SystemContext(vm_modules=[*modules, loaded], config=config).modules[loaded.name], config.device


def called(module: Any, device: Any, function: str, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Results of one call."""
    import iree.runtime as rt
    found = module[function](*(rt.asdevicearray(device, one) for one in arguments))
    return [np.array(one.to_host()) for one in (found if isinstance(found, (tuple, list)) else (found,))]


def drawn(text: str, random: np.random.Generator) -> np.ndarray:
    """A random argument by its type (1x4x16x16xf32): normal numbers, and zeros for integers, which are steps and places."""
    *sizes, kind = text.split("x")
    if kind not in _KINDS or not all(size.isdigit() for size in sizes):
        raise ConfigError(f"--input {text} is no type such as 1x4x16x16xf32; element types are {', '.join(_KINDS)}")
    shape = [int(size) for size in sizes]
    return (random.standard_normal(shape) if kind[0] == "f" else np.zeros(shape)).astype(_KINDS[kind])


def emulated(folder: Path, stub: Path) -> Launches:
    """Make the stub in `stub` IREE's HIP, with the emulator in `folder` behind it; before this process opens a HIP device."""
    os.environ.update(IREE_HIP_DYLIB_PATH=str(stub), HIPSTUB_DEVICES="1")
    launches = Launches(folder)
    ctypes.CDLL(str(stub / "libamdhip64.so")).hipstub_launch(launches.callback)
    return launches


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    print(json.dumps({"settings": document.to_dict(settings)}), flush=True)
    from tests.hip_stub import library
    random = np.random.default_rng(0)
    given = [drawn(text, random) for text in settings.input]
    launches = emulated(settings.emulator, library.build())
    signal.alarm(_OPEN_S)
    module, device = opened(settings.module, "hip", settings.parameters)
    signal.alarm(0)
    begun = time.monotonic()
    try:
        results = called(module, device, settings.function, given)
    except Exception:
        print("\n".join(launches.failures), file=sys.stderr)
        raise
    told: dict[str, Any] = {"seconds": round(time.monotonic() - begun, 1), "kernels": len(launches.kernels),
                            "launches": sum(len(times) for times in launches.kernels.values())}
    for name, times in sorted(launches.kernels.items(), key=lambda pair: -sum(pair[1]))[:10]:
        print(f"{sum(times):8.1f} s {len(times):4} x {name}")
    errors = []
    if settings.against is not None:
        expected = called(*opened(settings.against, "local-task", settings.parameters), settings.function, given)
        errors = [float(np.linalg.norm(got.astype(float) - wanted.astype(float)) / np.linalg.norm(wanted.astype(float)))
                  for wanted, got in zip(expected, results, strict=True)]
        told["relative_errors"] = errors
    print(json.dumps(told))
    return 1 if any(not error <= settings.tolerance for error in errors) else 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

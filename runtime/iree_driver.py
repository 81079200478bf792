"""IREE's drivers: devices by index, what their errors mean, and the CPU time of their threads."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any, Final

import iree.runtime as rt
from iree.runtime import HalDevice, _binding

from ireeperf.errors import DeviceError, ManifestError, PipelineError

TASKS: Final = Path("/proc/self/task")
DOCTOR: Final = "see ./scripts/doctor for the drivers and devices of this machine"
COMPILE_AGAIN: Final = "compile again with ./compile/precompile.py"
LOWER: Final = "lower --batch-size or --devices, or free the device's memory"
# One device is created at a time: a driver's threads are told from others' by listing threads before and after, the flags
# that a driver reads are the process's, and the bindings hold the GIL meanwhile anyway
creating: Final = threading.Lock()


def create_device(uri: str, threads: int) -> tuple[HalDevice, set[str]]:
    """The device `driver://index` and its driver's threads; DeviceError. A local-task device gets `threads` workers.

    GPUs are taken by index, never by UUID: partitions that show one UUID would all open the first of them.
    """
    name, _, index = uri.partition("://")
    with creating:
        before = _threads()
        try:
            if name.startswith("local"):
                if name == "local-task":
                    rt.flags.parse_flags(f"--task_topology_group_count={threads}")  # read when a driver is created
                # not get_driver: that one is cached, and all devices would share its executor
                device = _binding.create_hal_driver(name).create_default_device()
            else:
                device = _by_index(name, index)
        except (RuntimeError, ValueError) as error:
            raise DeviceError(f"cannot open {uri}: {first_line(error)}; {LOWER if is_exhausted(error) else DOCTOR}") from error
        return device, _threads() - before


def _by_index(name: str, index: str) -> HalDevice:
    driver = rt.get_driver(name)
    found = len(driver.query_available_devices())
    if not index.isdecimal() or int(index) >= found:
        raise ValueError(f"{name} shows {found} devices, addressed by index 0 to {found - 1}")
    return driver.create_device(int(index) + 1)  # IREE's ids count from 1; 0 stands for a default


def is_exhausted(error: BaseException | str) -> bool:
    """Whether the device or the host ran out of memory. IREE raises RuntimeError for everything: the text tells."""
    return "RESOURCE_EXHAUSTED" in str(error)


def load_error(uri: str, path: Path, error: BaseException) -> PipelineError:
    """Why `uri` cannot load the file `path`: its memory is full, or the file is not for it."""
    what = f"{uri} cannot load {path} ({first_line(error)})"
    if is_exhausted(error):
        return DeviceError(f"{what}; {LOWER}")
    if "NoBinaryForGpu" in str(error):  # HIP's name; the driver adds "mismatched target chip?"
        return ManifestError(f"{what}: it was compiled for another GPU; {COMPILE_AGAIN} --target")
    return ManifestError(f"{what}; {COMPILE_AGAIN}")


def first_line(error: BaseException) -> str:
    """The first line of an IREE message, without the path of the C++ source in it."""
    return re.sub(r"\s*\S+/runtime/src/iree/\S+\.c:\d+:", "", str(error).split("\n")[0])[:300].rstrip(": ")


def thread_cpu_seconds(thread: str) -> float:
    """CPU time of one of IREE's threads, from the scheduler's nanoseconds; 0 for another thread or one that ended."""
    try:
        if not (TASKS / thread / "comm").read_text().startswith("iree"):  # named by the thread itself, after it started
            return 0.0
        return int((TASKS / thread / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _threads() -> set[str]:
    return set(os.listdir(TASKS)) if TASKS.exists() else set()


def parameters(instance: Any, scope: str, archive: Path) -> Any:
    """The module that gives an executable the weights of `archive`; ManifestError when it is no parameter archive."""
    try:
        index = rt.ParameterIndex()
        index.load(str(archive))
        return rt.create_io_parameters_module(instance, index.create_provider(scope=scope))
    except (RuntimeError, ValueError) as error:
        raise ManifestError(f"{archive} is not a parameter archive ({first_line(error)}); {COMPILE_AGAIN}") from error

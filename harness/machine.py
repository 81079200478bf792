"""What ran the harness: interpreter, library versions, host."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from harness.run_result import Interpreter
from ireeperf.errors import RunError

PACKAGES = ("iree-base-runtime", "mlcommons-loadgen", "numpy")


def interpreter() -> Interpreter:
    """The running Python; RunError when PYTHON_GIL=0 was asked for and an import turned the GIL back on.

    Call it after all imports: LoadGen's module does not declare itself GIL-free.
    """
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
    if os.environ.get("PYTHON_GIL") == "0" and free_threaded and enabled:
        raise RunError("PYTHON_GIL=0 was asked for, but an import turned the GIL on again; "
                       "make the environment again with ./scripts/setup_free_threaded")
    return Interpreter(version=platform.python_version(), free_threaded=free_threaded, gil_enabled=enabled)


def versions() -> dict[str, str]:
    """Versions of the packages that took part."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found | {"python": platform.python_version()}


def host() -> dict[str, str]:
    """Processor, cores, memory and system, read from /proc where there is one."""
    return {"machine": platform.machine(), "cpu": _field("/proc/cpuinfo", "model name"), "cores": str(len(os.sched_getaffinity(0))),
            "memory": _field("/proc/meminfo", "MemTotal"), "system": f"{platform.system()} {platform.release()}"}


def _field(path: str, name: str) -> str:
    """The first `name: value` of a /proc file, or "unknown"."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown")

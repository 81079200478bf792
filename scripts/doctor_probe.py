"""What one Python environment has: run by ./scripts/doctor with that environment's interpreter; prints one JSON object.

Nothing of it needs the packages: what is absent is reported as null.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import re
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("iree-base-compiler", "iree-base-runtime", "iree-turbine", "mlcommons-loadgen", "numpy", "torch", "diffusers", "transformers")
SEED = re.compile(rb"\*\.\*\.(qsl|sample_index|schedule)_rng_seed = (\d+)")


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def loadgen_seeds() -> dict[str, int] | None:
    """The seeds of the mlperf.conf that LoadGen's library carries in itself; None without LoadGen.

    Read from the file: LoadGen's Python interface does not show them, and an import of it would turn the GIL on.
    """
    spec = importlib.util.find_spec("mlperf_loadgen")
    if spec is None or spec.origin is None:
        return None
    return {name.decode(): int(seed) for name, seed in SEED.findall(Path(spec.origin).read_bytes())}


def drivers() -> dict[str, Any] | None:
    """IREE driver -> its devices, or the reason why it cannot be used; None without IREE."""
    if importlib.util.find_spec("iree") is None or importlib.util.find_spec("iree.runtime") is None:
        return None
    import iree.runtime as rt

    found: dict[str, Any] = {}
    for name in rt.query_available_drivers():
        try:
            found[name] = [device["name"] or device["path"] for device in rt.get_driver(name).query_available_devices()]
        except (RuntimeError, ValueError) as error:
            found[name] = str(error).strip().splitlines()[0]
    return found


def probe() -> dict[str, Any]:
    return {
        "python": platform.python_version(), "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "gil_enabled": getattr(sys, "_is_gil_enabled", lambda: True)(), "packages": versions(), "loadgen_seeds": loadgen_seeds(),
        "drivers": drivers(),
    }


if __name__ == "__main__":
    print(json.dumps(probe()))

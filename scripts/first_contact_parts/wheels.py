"""Packages for a bare machine: the archive's wheels, unpacked beside it. No pip, no network, nothing of the system is changed."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ireeperf.errors import ConfigError

NEEDED = {"numpy": "numpy", "ml_dtypes": "ml_dtypes", "iree.runtime": "iree_base_runtime"}  # iree.runtime imports the other two
_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>.+)\.whl")


def fits(wheel: Path) -> bool:
    """Whether this interpreter can use a wheel, by its tags (the platform is taken to be right: one archive, one machine)."""
    match = _WHEEL.fullmatch(wheel.name)
    if match is None:
        return False
    ours = sys.version_info[:2]
    for python in match["python"].split("."):
        version = re.fullmatch(r"(?:cp|py)(\d)(\d*)", python)
        if version is None:
            continue
        stated = int(version[1]), int(version[2] or 0)
        exact = python.startswith("cp") and match["abi"] not in ("abi3", "none")
        if (stated == ours if exact else stated <= ours) and not match["abi"].endswith("t"):
            return True
    return False


def unpack(wheels: Path, site: Path, more: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Unpack what this interpreter lacks of NEEDED and `more` (module -> distribution) into `site`; names of the wheels.

    ConfigError when something needed is nowhere.
    """
    used, needed = [], {**NEEDED, **more}
    for module in needed:
        if _importable(module, site):
            continue
        wheel = next((one for one in sorted(wheels.glob(f"{needed[module]}-*.whl")) if fits(one)), None)
        if wheel is None:
            raise ConfigError(f"this Python {sys.version.split()[0]} has no {module}, and the archive has no wheel of it for this version; "
                              f"pip install {needed[module].replace('_', '-')}, or pack again with --wheels")
        with zipfile.ZipFile(wheel) as file:
            file.extractall(site)
        used.append(wheel.name)
    return used


def _importable(module: str, site: Path) -> bool:
    """Asked of another process: this one must not load a library that the wheel may bring."""
    program = f"import sys; sys.path.insert(0, {str(site)!r}); import {module}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0

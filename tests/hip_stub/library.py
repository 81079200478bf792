"""Builds the test-only libamdhip64.so, controls it by ctypes, and reads the tags that its launches leave."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NAME = "libamdhip64.so"
COUNTERS = ("allocations", "pinned_allocations", "launches", "foreign_pointers", "bytes", "pinned_bytes", "modules", "contexts")
MAGIC = 0x4754


@functools.cache
def build() -> Path:
    """The folder with the compiled library, made once a process; the test is skipped where there is no gcc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        import pytest  # here: children need none of it, on another interpreter neither

        pytest.skip("the stub of libamdhip64.so is compiled by gcc, which is not installed")
    folder = tempfile.mkdtemp(prefix="ireeperf-hip-stub-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([compiler, "-O1", "-std=gnu11", "-Wall", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared", str(HERE / "stub.c"),
                    str(HERE / "tags.c"), "-o", str(Path(folder, NAME)), "-lpthread", "-lm"], check=True)
    return Path(folder)


def environment(folder: Path, faults: Mapping[str, object] | None = None) -> dict[str, str]:
    """Of a process whose IREE takes the stub in `folder` for HIP. `faults`: OOM="5:3", see stub.c."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HIPSTUB_")}
    return clean | {"IREE_HIP_DYLIB_PATH": str(folder)} | {f"HIPSTUB_{name}": str(value) for name, value in (faults or {}).items()}


class Control:
    """The stub that this process has loaded."""

    def __init__(self, folder: Path) -> None:
        self._library = ctypes.CDLL(str(folder / NAME))
        self._library.hipstub_count.restype = ctypes.c_int64

    def arm(self, **faults: object) -> None:
        """Inject these from now on, counting from 1 again; none: no fault."""
        for name in [name for name in os.environ if name.startswith("HIPSTUB_")]:
            del os.environ[name]
        os.environ.update({f"HIPSTUB_{name}": str(value) for name, value in faults.items()})
        self._library.hipstub_reload()

    def count(self, device: int, what: str) -> int:
        """One of COUNTERS."""
        return int(self._library.hipstub_count(device, COUNTERS.index(what)))

    def release(self) -> None:
        """Let everything that hangs go on."""
        self._library.hipstub_release()


@dataclass(frozen=True)
class Tag:
    """What the stub's kernels left in an image."""

    device: int  # index of the one that decoded it, and that drew every step before
    sample: int  # index of the sample whose prompt it was drawn from
    steps: int  # done in order, on that device, with that prompt
    first: int  # sample of the batch's first row
    rows: int  # of the decoder's batch


def read_tag(image: np.ndarray) -> Tag:
    """The tag that fills `image` (uint8) from the first byte to the last."""
    words = np.ascontiguousarray(image).reshape(-1).view("<u2").reshape(-1, 6)
    assert (words == words[0]).all() and words[0, 0] == MAGIC, f"not a tag, or not the same all over: {words[:2]}"
    return Tag(*map(int, words[0, 1:]))

"""The hip:// path through IREE's real HIP driver over a stub of libamdhip64: addressing, routing, memory, recovery.

The stub (tests/hip_stub) runs no GPU code: its launches leave tags that say which device drew which sample of which batch.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from iree import _runtime_libs

from tests import tiny_build
from tests.hip_stub import library, run

CASES = ("devices_64", "equal_uuids", "images_outlive_the_device", "memory_stays", "out_of_memory_at_open", "pinned_out_of_memory_at_open",
         "out_of_memory_is_survived", "out_of_memory_for_good", "launch_refused", "another_gpu", "rebuilt_by_its_thread", "slow")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """How each case ended; one process for all, for it takes a second or two to start."""
    return run.cases(library.build(), tiny_build.shared("gfx942"), *CASES).failures


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, outcomes: dict[str, str]) -> None:
    assert not outcomes[name], outcomes[name]


def test_every_name_that_the_wheel_looks_up_is_in_the_stub() -> None:
    """IREE refuses a libamdhip64 that lacks one of its required names; those that it can do without are here too."""
    wheel, = Path(_runtime_libs.__file__).parent.glob("_runtime*.so")
    wanted = {name for name in re.findall(rb"(?<=\0)hip[A-Z][A-Za-z0-9]+(?=\0)", wheel.read_bytes())
              if not name.startswith((b"hipError", b"hipSuccess"))}
    listed = subprocess.run(["nm", "-D", "--defined-only", library.build() / library.NAME], capture_output=True, check=True).stdout
    assert len(wanted) == 75 and wanted <= {line.split()[-1] for line in listed.splitlines()}

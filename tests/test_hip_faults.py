"""What ends or hangs a process with hip:// devices, and LoadGen runs of 64 stub devices with every fault that the stub can inject."""

from __future__ import annotations

import signal

import pytest

from tests import tiny_build
from tests.hip_stub import library, run


@pytest.mark.parametrize("name", ["hung_on_the_device", "hung_in_the_launch_call"])
def test_a_hung_device_is_parked_and_the_others_go_on(name: str) -> None:
    ended = run.cases(library.build(), tiny_build.shared("gfx942"), name)
    assert not ended.failures[name], ended.failures[name]
    assert ended.code == 0


def test_a_fault_on_the_device_takes_the_process() -> None:
    """IREE 3.13 crashes or waits for ever: why --isolation process exists. When it gives an error instead, docs/HIP_POOL.md is out of date."""
    ended = run.cases(library.build(), tiny_build.shared("gfx942"), "fault_on_the_device")
    if ended.code == 0:
        assert not ended.failures["fault_on_the_device"], ended.failures
    else:
        assert ended.code in (-signal.SIGSEGV, -signal.SIGABRT), ended


def test_an_abort_of_rocr_takes_the_process() -> None:
    ended = run.cases(library.build(), tiny_build.shared("gfx942"), "abort")
    assert ended.code == -signal.SIGABRT and "Memory access fault by GPU node-5" in ended.errors

"""What a child process does with the stub: `python -m tests.hip_stub.cases STUB BUILD CASE...`; a line of JSON says how each case ended.

Not in the tests' own process: IREE reads where HIP is once, some faults end the process, and a hang is for ever.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import queue
import resource
import sys
import threading
import time
import traceback
from pathlib import Path

import iree.runtime as rt

from ireeperf.errors import DeviceError, ManifestError
from runtime.batch import Failure, Ready
from runtime.iree_device import IreeEngine, host_budget
from tests.hip_stub import child
from tests.hip_stub.child import CASES, COUNT, Driven, batch, case, draw, engine, fails, opened
from tests.hip_stub.library import Control, read_tag

DEADLINE_SECONDS = 60  # of the process; its stacks go to stderr then


@case
def devices_64() -> None:
    """64 devices in one process, driven by 64 threads: each answers for itself, and costs what `host_budget` says."""
    before = len(os.listdir("/proc/self/task"))
    engines = [engine(index) for index in range(64)]
    for one in engines:
        one.open()
    budget = host_budget("hip", 64)
    assert budget is not None
    assert sum(child.stub.count(index, "pinned_bytes") for index in range(64)) == budget.pinned_bytes == 64 * 128 * 2**20
    assert len(os.listdir("/proc/self/task")) - before == budget.threads == 64 * 4
    failed: list[object] = []

    def work(one: IreeEngine, first: int) -> None:
        try:
            for turn in range(3):
                draw(one, *((first + turn + i) % COUNT for i in range(4)))
                draw(one, (first + turn) % COUNT, (first + 7) % COUNT, size=2)
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(one, index)) for index, one in enumerate(engines)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed, failed[:2]
    assert not sum(child.stub.count(index, "foreign_pointers") for index in range(64))


@case
def equal_uuids() -> None:
    """Eight partitions that show one UUID: by UUID all open the first of them, by index each is itself."""
    child.stub.arm(SAME_UUIDS=1)
    found = rt.get_driver("hip").query_available_devices()
    assert len(found) == 64 and len({one["path"] for one in found}) == 8
    for index in (0, 7, 8, 63):
        draw(opened(index), 1, 2, 3, 4)
    fails(engine(64).open, DeviceError, r"^cannot open hip://64: hip shows 64 devices, addressed by index 0 to 63; see ./scripts/doctor")


@case
def images_outlive_the_device() -> None:
    """Answers are the host's own memory: a device is gone, and its memory back, while LoadGen still reads its images."""
    one = opened(5)
    images = one.run(batch(1, 2, 3, 4))
    one.close()
    assert [child.stub.count(5, what) for what in ("bytes", "pinned_bytes", "modules", "contexts")] == [0, 0, 0, 0]
    assert [read_tag(image).sample for image in images] == [1, 2, 3, 4]
    one.open()
    draw(one, 9, 8, 7, 6)
    assert [read_tag(image).sample for image in images] == [1, 2, 3, 4]


@case
def memory_stays() -> None:
    """The second 250 batches hold no more device memory than the first; a buffer or two is on its way back to the pool."""
    one = opened(3)
    held = []
    for turn in range(500):
        draw(one, *((turn + i) % COUNT for i in range(4)))
        held.append(child.stub.count(3, "bytes"))
    assert max(held[250:]) <= max(held[:250]) + 16384, held[::50]


@case
def out_of_memory_at_open() -> None:
    child.stub.arm(OOM="5:1")
    fails(engine(5).open, DeviceError, r"hip://5.*RESOURCE_EXHAUSTED.*lower --batch-size or --devices")
    gc.collect()
    assert not child.stub.count(5, "modules")
    child.stub.arm()
    draw(opened(5), 1, 2, 3, 4)


@case
def pinned_out_of_memory_at_open() -> None:
    child.stub.arm(PINNED_OOM="9:1")
    fails(engine(9).open, DeviceError, r"^cannot open hip://9: .*RESOURCE_EXHAUSTED.*hipErrorOutOfMemory.*lower --batch-size")
    draw(opened(8), 1, 2, 3, 4)


@case
def out_of_memory_is_survived() -> None:
    """Wherever in a batch it happens once: in a copy a trim is enough, on the queue the device is built anew."""
    one = opened(5)
    rebuilt = []
    for nth in range(1, 100):
        before = one._device
        one._trim()  # or there would be few allocations: freed buffers are kept
        child.stub.arm(OOM=f"5:{nth}")
        draw(one, 4, 5, 6, 7)
        rebuilt.append(one._device is not before)
        if child.stub.count(5, "allocations") < nth:
            break
    assert nth > 10 and any(rebuilt[:-1]) and not all(rebuilt[:-1]) and not rebuilt[-1], rebuilt
    assert child.stub.count(5, "modules") == 5  # of the last device only: executables and weights of those before it are gone
    assert one.executable_cpu_seconds() > 0


@case
def out_of_memory_for_good() -> None:
    one = opened(5)
    child.stub.arm(OOM="5:*")
    fails(lambda: one.run(batch(1, 2, 3, 4)), DeviceError, "RESOURCE_EXHAUSTED.*hipErrorOutOfMemory")


@case
def launch_refused() -> None:
    """The HalDevice is dead for good; others go on; a new one on the same index works."""
    one, other = opened(15), opened(16)
    child.stub.arm(REFUSE="15:4")
    fails(lambda: one.run(batch(1, 2, 3, 4)), DeviceError, r"INTERNAL; HIP driver error 'hipErrorLaunchFailure' \(719\)")
    child.stub.arm()
    fails(lambda: one.run(batch(1, 2, 3, 4)), DeviceError, "hipErrorLaunchFailure")
    draw(other, 1, 2, 3, 4)
    one.close()
    assert not child.stub.count(15, "modules") and not child.stub.count(15, "contexts") and not child.stub.count(15, "pinned_bytes")
    one.open()
    draw(one, 1, 2, 3, 4)


@case
def another_gpu() -> None:
    child.stub.arm(ARCH="gfx950")
    fails(engine(5).open, ManifestError, r"hip://5 cannot load .*clip_bs2.vmfb .*compiled for another GPU; compile again .*--target")


@case
def rebuilt_by_its_thread() -> None:
    one = Driven(5, reopen=1)
    child.stub.arm(REFUSE="5:6")
    one.device.submit(batch(1, 2, 3, 4, ticket=7))
    failure = one.heard(Failure)
    assert isinstance(failure, Failure) and failure.reopening and failure.ticket == 7 and "hipErrorLaunchFailure" in failure.cause
    one.heard(Ready)
    one.draws(4, 3, 2, 1)
    assert one.device.stop(10)


def hang(fault: str, blocked: bool) -> None:
    """The hung device is parked with all it holds; no other device and no Python thread stalls."""
    one, other = Driven(5), Driven(6)
    child.stub.arm(**{fault: "5:3"})
    one.device.submit(batch(1, 2, 3, 4))
    time.sleep(0.1)
    other.draws(1, 2, 3, 4)
    assert one.events.empty()
    one.device.park()
    held = child.stub.count(5, "bytes")
    if not blocked:  # its thread learns that it was given up, and drops nothing
        failure = one.heard(Failure)
        assert isinstance(failure, Failure) and "given up" in failure.cause and not failure.reopening
    assert one.device.stop(2) is not blocked
    uri = one.engine.uri
    del one
    gc.collect()
    stalls, last = [], time.monotonic()
    while len(stalls) < 100:
        time.sleep(0.005)
        now = time.monotonic()
        stalls.append(now - last)
        last = now
    assert max(stalls) < 3, f"a Python thread stalled {max(stalls):.1f} s while {uri} hung"
    assert child.stub.count(5, "bytes") == held and child.stub.count(5, "contexts") == 1
    other.draws(5, 6, 7, 8)


@case
def hung_on_the_device() -> None:
    hang("HANG", blocked=False)


@case
def hung_in_the_launch_call() -> None:
    hang("BLOCK", blocked=False)


@case
def slow() -> None:
    """A slow kernel is no fault."""
    one = Driven(5)
    child.stub.arm(SLOW="5:4:600")
    started = time.monotonic()
    one.draws(1, 2, 3, 4)
    assert time.monotonic() - started > 0.5


def last_batch(fault: str) -> None:
    """After which nothing is left to hear: the process dies, or waits for ever."""
    one = Driven(5)
    child.stub.arm(**{fault: "5:4"})
    one.device.submit(batch(1, 2, 3, 4))
    try:
        event = one.events.get(timeout=3)
    except queue.Empty:
        return
    raise AssertionError(f"{event}")


@case
def fault_on_the_device() -> None:
    """An event that reports hipErrorIllegalAddress, which is legal HIP: IREE 3.13 crashes or waits for ever."""
    last_batch("FAULT")


@case
def abort() -> None:
    """As ROCr does when a kernel touches memory that is not its own."""
    last_batch("ABORT")


def run(name: str) -> str | None:
    """Why the case failed."""
    try:
        CASES[name]()
        return None
    except BaseException:
        return traceback.format_exc()
    finally:
        child.stub.arm()


def main() -> None:
    """Never returns: a process with a hung device cannot end in the ordinary way."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
    child.stub, child.folder = Control(Path(sys.argv[1])), Path(sys.argv[2])
    for name in sys.argv[3:]:
        started = time.monotonic()
        print(json.dumps({"case": name, "failure": run(name), "seconds": round(time.monotonic() - started, 2)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

"""runtime.host_memory: freed image buffers stay with the process."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import threading
import numpy as np
from runtime import host_memory
assert host_memory.keep_freed()

def faults():
    return int(open("/proc/thread-self/stat").read().rsplit(")", 1)[1].split()[7])

def draw(batches):
    for _ in range(batches):
        images = [np.ones(3 << 20, np.uint8) for _ in range(32)]
        del images

def device():
    draw(2)
    before = faults()
    draw(4)
    print(faults() - before)

thread = threading.Thread(target=device)
thread.start()
thread.join()
"""


def faults() -> int:
    """Page faults of a thread that allocates, fills and frees 4 x 32 images, after two batches to warm up."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True,
                          check=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_images_after_the_first_batches_need_no_new_pages() -> None:
    pages = 4 * 32 * 3 * 2**20 // 4096  # of all images; without the setting about so many faults
    assert faults() < pages // 100

"""How the C library hands out memory: freed image buffers are kept for the next images instead of going back to the kernel.

By default glibc returns a freed 3 MiB buffer to the kernel, page by page, in the thread that answers LoadGen, and the kernel zeroes and
maps the pages again, one fault each, in the device's thread: 0.5 ms of CPU an image, two thirds of all that a 1024x1024 image
costs its host (docs/HOST_COST.md). Kept memory is what the run needed at its peak anyway.
"""

from __future__ import annotations

import ctypes
from typing import Final

# glibc's malloc.h
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
LARGEST_THRESHOLD: Final = 32 * 2**20  # glibc refuses more; larger buffers are mapped, as 2 MiB pages where numpy asks for them
NEVER: Final = 2**31 - 1


def keep_freed() -> bool:
    """From now on and for this process, before its devices have threads; False where the C library has no such settings (musl).

    One arena: those of threads lie in heaps of 64 MiB, which are unmapped when they empty whatever the threshold says.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return all([mallopt(M_ARENA_MAX, 1), mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD), mallopt(M_TRIM_THRESHOLD, NEVER)])

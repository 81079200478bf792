"""Device memory of an emulated launch: bindings of any size, filled by mapping one random block again and again.

A tensor of a full-size dispatch takes up to 700 MB, a binding with its offsets many GB. Only what is touched takes memory: pages that no
tensor covers cannot be accessed at all, and a kernel that goes there dies. The verifier builds the same image for its reference.
Standard library and numpy only: the emulator's environment has nothing else.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PAGE = mmap.PAGESIZE
BLOCK_BYTES = 1021 * PAGE  # 1021 is prime: no power-of-two stride of a kernel meets the same value twice in a row
_COPIED_BYTES = 64 * PAGE  # smaller tensors are copied, so that they may share pages with their neighbours
_RESERVE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
_NO_ACCESS = 0
_FIXED = 0x10  # MAP_FIXED, which module mmap does not name
_FAILED = ctypes.c_void_p(-1).value
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """`bytes` bytes of a binding at `offset`, filled from the start of the file `block` (of whole pages), which repeats."""

    binding: int
    offset: int
    bytes: int
    block: str


class Image:
    """The bindings of one launch, mapped until closed."""

    def __init__(self, sizes: list[int], regions: list[Region]) -> None:
        self._lengths = [(size + PAGE - 1) // PAGE * PAGE + PAGE for size in sizes]
        self.addresses = [_map(None, length, _NO_ACCESS, _RESERVE, -1) for length in self._lengths]
        for region in regions:
            self._open(region)
        for region in sorted(regions, key=lambda region: region.bytes, reverse=True):
            self._fill(region)

    def close(self) -> None:
        """Give the memory back; views of it must not be used any more."""
        for address, length in zip(self.addresses, self._lengths, strict=True):
            _libc.munmap(address, length)
        self.addresses = []

    def view(self, binding: int, offset: int, size: int) -> np.ndarray:
        """Bytes [size] of a binding, not copied."""
        return np.frombuffer((ctypes.c_uint8 * size).from_address(self.addresses[binding] + offset), np.uint8)  # type: ignore[call-overload]

    def _open(self, region: Region) -> None:
        start = self.addresses[region.binding] + region.offset
        first = start // PAGE * PAGE
        _libc.mprotect(first, (start + region.bytes + PAGE - 1) // PAGE * PAGE - first, mmap.PROT_READ | mmap.PROT_WRITE)

    def _fill(self, region: Region) -> None:
        """Byte i is byte (i + offset % PAGE) % len(block) of the file: whole pages are mapped, the parts of pages at both ends copied."""
        start = self.addresses[region.binding] + region.offset
        end, phase = start + region.bytes, region.offset % PAGE
        block = Path(region.block).read_bytes()
        if region.bytes <= _COPIED_BYTES:
            self._copy(start, region.bytes, block, phase)
            return
        position = start
        if phase:
            position += PAGE - phase
            self._copy(start, PAGE - phase, block, phase)
        with open(region.block, "rb") as file:
            while position + PAGE <= end:
                source = (position - start + phase) % len(block)
                length = min(len(block) - source, (end - position) // PAGE * PAGE)
                _map(position, length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _FIXED, file.fileno(), source)
                position += length
        self._copy(position, end - position, block, (position - start + phase) % len(block))

    @staticmethod
    def _copy(address: int, size: int, block: bytes, source: int) -> None:
        done = 0
        while done < size:
            part = block[source:source + size - done]
            ctypes.memmove(address + done, part, len(part))
            done, source = done + len(part), 0


def _map(address: int | None, length: int, protection: int, flags: int, file: int, offset: int = 0) -> int:
    found = _libc.mmap(address, length, protection, flags, file, offset)
    if found in (None, _FAILED):
        raise MemoryError(f"cannot map {length} bytes: {os.strerror(ctypes.get_errno())}")
    return int(found)

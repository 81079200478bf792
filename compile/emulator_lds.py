"""LDS accesses at addresses below 4 bytes of alignment, byte by byte: the emulator rounds such addresses down.

gfx942 takes any address in its unaligned mode. That mode is no part of a code object: it is SH_MEM_CONFIG.alignment_mode of a queue, which
Linux's amdkfd sets to "unaligned" for every process of a gfx9 device (update_qpd_v9 in kfd_device_queue_manager_v9.c), and for which LLVM
compiles amdhsa code by default (feature unaligned-access-mode). So what IREE emits is right on ROCm, and is executed here as there.
Standard library and numpy only: the emulator's environment has nothing else.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

_PLAIN = re.compile(r"DS_(READ|WRITE)(2|2ST64)?_B(32|64|96|128)$")
_LANES = np.arange(64, dtype=np.uint64)
_VECTOR = 256


def is_plain(name: str) -> bool:
    """Whether an instruction moves whole registers between lanes and LDS and does nothing else: ds_read_b96, ds_write2_b64."""
    return _PLAIN.match(name) is not None


def active(scalars: np.ndarray) -> np.ndarray:
    """Lanes [64] that execute, of the scalar registers of a wave."""
    return (int(scalars[126]) | int(scalars[127]) << 32) >> _LANES & np.uint64(1) == 1


def addresses(access: Any, scalars: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Byte address of each lane that executes, before the instruction's own offsets."""
    lanes = vectors[access.lds_address].astype(np.int64)
    return lanes if scalars[126] == scalars[127] == 0xFFFFFFFF else lanes[active(scalars)]


def is_misaligned(access: Any, scalars: np.ndarray, vectors: np.ndarray) -> bool:
    """Whether some lane's address is no multiple of 4."""
    lanes = addresses(access, scalars, vectors)
    return any(bool((lanes + offset & 3).any()) for offset in access.lds_offsets)


def move(access: Any, registers: tuple[np.ndarray, np.ndarray, np.ndarray], memory: np.ndarray) -> None:
    """Do the access for the wave whose (scalars, vectors [256, 64], accumulators) these are, on LDS `memory` [bytes]. Beyond its end a
    read gives 0 and a write does nothing."""
    scalars, vectors, accumulators = registers
    bank = accumulators if int(getattr(access.instruction, "acc", 0) or 0) else vectors
    lanes = np.flatnonzero(active(scalars))
    starts = vectors[access.lds_address].astype(np.int64)[lanes]
    words = access.bytes // 4
    for number, offset in enumerate(access.lds_offsets):
        places = (starts + offset)[:, None] + np.arange(access.bytes)
        inside = places < len(memory)
        if access.is_store:
            first = _register(access.instruction, f"data{number}")
            content = np.ascontiguousarray(bank[first:first + words].T[lanes]).view(np.uint8)
            memory[places[inside]] = content[inside]
        else:
            first = _register(access.instruction, "vdst") + number * words
            content = np.where(inside, memory[np.where(inside, places, 0)], 0).astype(np.uint8)
            bank[first:first + words, lanes] = content.view(np.uint32).T


def _register(instruction: Any, operand: str) -> int:
    value = getattr(instruction, operand)
    number = int(getattr(value, "offset", value))
    return number - _VECTOR if number >= _VECTOR else number

"""Plant miscompiles in a gfx942 kernel's machine code, to see whether `compile.verify` notices each (tests/test_verify_planted.py).

Instruction lengths and fields after AMD's "Instinct MI300 ISA" guide, chapter 13 (microcode formats).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from compile import emulator_object

NOP, BARRIER = 0xBF800000, 0xBF8A0000
_DS, _BUFFER, _LONG = 0x36, 0x38, (0x30, 0x34, 0x36, 0x37, 0x38)  # top six bits; _LONG: encodings of 8 bytes
_MATRIX = 0x1A7  # top nine bits: VOP3P with a matrix operation
_LITERAL, _MARKERS = 255, (249, 250, 255)  # source codes: a literal follows; SDWA, DPP or a literal follow


def instructions(code: bytes) -> Iterator[tuple[int, int, int]]:
    """(offset, first word, second word or 0) of each instruction."""
    position = 0
    while position < len(code):
        word, = struct.unpack_from("<I", code, position)
        length = _length(word)
        yield position, word, struct.unpack_from("<I", code, position + 4)[0] if length == 8 else 0
        position += length


def _length(word: int) -> int:
    if word >> 26 in _LONG:
        return 8
    if word >> 31 == 0:  # VOP1, VOP2, VOPC; v_madmk, v_madak, v_fmamk and v_fmaak always have a literal
        return 8 if word & 0x1FF in _MARKERS or word >> 25 in (0x17, 0x18, 0x24, 0x25) else 4
    if word >> 23 in (0x17D, 0x17E):  # SOP1, SOPC
        return 8 if word & 0xFF == _LITERAL or (word >> 23 == 0x17E and word >> 8 & 0xFF == _LITERAL) else 4
    if word >> 28 == 0xB:  # SOPK: s_setreg_imm32_b32 has a literal; SOPP has none
        return 8 if word >> 23 == 0xB0 | 0x14 else 4
    return 8 if _LITERAL in (word & 0xFF, word >> 8 & 0xFF) else 4  # SOP2


def mutants(content: bytes, kernel: emulator_object.Kernel, tensor_bytes: int) -> Iterator[tuple[str, bytes]]:
    """(what was planted, the code object with it). `tensor_bytes`: size of an input, which its buffer descriptor states."""
    start = emulator_object.parse(content).file_offset(kernel.entry_address)
    found = list(instructions(content[start:start + kernel.code_bytes]))

    def edited(*edits: tuple[int, int]) -> bytes:
        changed = bytearray(content)
        for offset, word in edits:
            struct.pack_into("<I", changed, start + offset, word)
        return bytes(changed)

    last = max(offset for offset, word, _ in found if word >> 26 == _DS)
    barriers = [offset for offset, word, _ in found if word == BARRIER and offset < last]  # one after the last LDS access parts nothing
    waits = [(offset, word) for offset, word, _ in found if word >> 16 == 0xBF8C]
    for number, offset in enumerate(barriers):
        yield f"barrier {number} dropped", edited((offset, NOP))
    yield "every s_waitcnt dropped", edited(*((offset, NOP) for offset, _ in waits))
    vector = next(offset for offset, word in waits if word & 15 != 15 and word >> 14 & 3 == 0)
    yield "a wait for vector loads dropped", edited((vector, NOP))
    local = next(offset for offset, word in waits[1:] if word >> 8 & 15 != 15)
    yield "a wait for LDS dropped", edited((local, NOP))
    reads = [(offset, word) for offset, word, _ in found if word >> 26 == _DS and (word >> 17 & 0xFF) in (0x3A, 0x76, 0x77, 0xFF)]
    yield "LDS read at another offset", edited((reads[-1][0], reads[-1][1] ^ 8))
    yield "LDS read two bytes off", edited((reads[0][0], reads[0][1] & 0xFF01FFFF | 0x36 << 17 | 2))
    writes = [(offset, word) for offset, word, _ in found if word >> 26 == _DS and (word >> 17 & 0xFF) in (0x4D, 0x4E, 0xDF)]
    yield "LDS write at another offset", edited((writes[-1][0], writes[-1][1] ^ 8))
    load = next((offset, word) for offset, word, _ in found if word >> 26 == _BUFFER and (word >> 18 & 0x7F) in (0x14, 0x15, 0x17))
    yield "buffer load at another offset", edited((load[0], load[1] ^ 16))
    matrix = [(offset, second) for offset, word, second in found if word >> 23 == _MATRIX and word >> 16 & 0x7F > 0x40]
    swapped = [(offset + 4, second & ~0x3FFFF | (second & 0x1FF) << 9 | second >> 9 & 0x1FF) for offset, second in matrix]
    yield "operands of a matrix instruction swapped", edited(swapped[0])
    yield "accumulator of a matrix instruction dropped", edited((matrix[-1][0] + 4, matrix[-1][1] & ~(0x1FF << 18) | 128 << 18))
    shift = next((offset, word) for offset, word, _ in found if word >> 25 == 0x12 and 129 <= word & 0x1FF <= 140)
    yield "address shifted by one bit more", edited((shift[0], shift[1] + 1))
    bound = next(offset for offset, word, second in found if second == tensor_bytes and word >> 23 == 0x17D)
    yield "bounds of a buffer halved", edited((bound + 4, tensor_bytes // 2))

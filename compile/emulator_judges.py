"""Judges that watch an emulated kernel, instruction by instruction: s_waitcnt, LDS alignment and races, and where it stores.

The emulator lets each wave run alone to its next barrier and completes every memory operation at once. So a missing s_waitcnt, a missing
barrier that this order hides, and a misaligned LDS address all give right numbers there and wrong ones on a GPU: these judges look for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compile import emulator_lds

_BYTES = {"DWORDX4": 16, "DWORDX3": 12, "DWORDX2": 8, "DWORD": 4, "USHORT": 2, "SSHORT": 2, "SHORT": 2, "UBYTE": 1, "SBYTE": 1, "BYTE": 1,
          "B128": 16, "B96": 12, "B64": 8, "B32": 4, "U32": 4, "I32": 4, "F32": 4, "B16": 2, "U16": 2, "I16": 2, "B8": 1, "U8": 1, "I8": 1}
_WIDTH = re.compile("|".join(f"(?<=_){name}(?=_|$)" for name in _BYTES))
_VECTOR, _ACCUMULATOR = 256, 512  # register numbers: scalars below 128, then v0, then a0
_SPAN = {size: np.arange(size) for size in (1, 2, 4, 8, 12, 16)}
_NO_LDS = ("SWIZZLE", "PERMUTE", "NOP")  # ds_ instructions that move between lanes and touch no memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one instruction does, read off its encoding once."""

    name: str
    address: int  # relative to the kernel's entry
    touched: frozenset[int]  # registers read or written
    queue: str  # vm, lds, smem: the counter that counts it; empty: none
    loaded: frozenset[int]  # registers that it fills later
    is_store: bool
    bytes: int  # moved per lane and address
    lds_address: int  # vector register that holds it; -1: the instruction touches no LDS
    lds_offsets: tuple[int, ...]
    instruction: Any


@dataclass(slots=True)
class Wave:
    """What one wave has under way."""

    number: int
    vm: list[frozenset[int]] = field(default_factory=list)
    lgkm: list[tuple[str, frozenset[int], bool]] = field(default_factory=list)  # queue, registers, is_store
    pending: set[int] = field(default_factory=set)
    barriers: int = 0

    def retire(self, immediate: int) -> None:
        """s_waitcnt of gfx9: vmcnt is bits 15:14 and 3:0, lgkmcnt bits 11:8. Scalar loads return in any order: only 0 waits for them."""
        vm, lgkm = (immediate & 15) | (immediate >> 14 & 3) << 4, immediate >> 8 & 15
        self.vm = self.vm[max(0, len(self.vm) - vm):]
        if lgkm == 0 or not any(queue == "smem" for queue, _, _ in self.lgkm):
            self.lgkm = self.lgkm[max(0, len(self.lgkm) - lgkm):]
        self.count()

    def count(self) -> None:
        self.pending = set().union(*self.vm, *(registers for _, registers, _ in self.lgkm))


class Judges:
    """Per workgroup: findings, and the bytes it stored. `registers` gives (scalars, vectors, accumulators) of the wave at a pointer."""

    def __init__(self, registers: Callable[[int, int, int], tuple[np.ndarray, np.ndarray, np.ndarray]], lds_bytes: int) -> None:
        self._registers = registers
        self._lds_bytes = lds_bytes
        self.findings: dict[str, int] = {}
        self.natural_misalignments = 0
        self.reset()

    def reset(self, watches_lds: bool = True) -> None:
        """Before each workgroup. LDS is half the cost of watching, and every workgroup does the same with it."""
        self.stores: list[tuple[np.ndarray, int]] = []  # addresses and bytes at each
        self.watches_lds = watches_lds
        self._waves: dict[int, Wave] = {}
        self._writer = np.full(self._lds_bytes, -1, np.int16)
        self._written = np.full(self._lds_bytes, -1, np.int32)  # barriers the writer had passed
        self._reader = np.full(self._lds_bytes, -1, np.int16)  # -2: several waves
        self._read = np.full(self._lds_bytes, -1, np.int32)

    def watch(self, access: Access, pointers: tuple[int, int, int]) -> None:
        """Called before the instruction runs, with pointers to the wave's scalars, vectors and accumulators."""
        wave = self._waves.get(pointers[0])
        if wave is None:
            wave = self._waves[pointers[0]] = Wave(len(self._waves))
        if not wave.pending.isdisjoint(access.touched):
            self._check_pending(access, wave, access.touched & wave.pending)
        if access.name == "S_WAITCNT":
            wave.retire(int(access.instruction.simm16))
        elif access.name == "S_BARRIER":
            if any(queue == "lds" and is_store for queue, _, is_store in wave.lgkm):
                self._find(access, "barrier while LDS writes are under way: no s_waitcnt lgkmcnt(0) before it")
            wave.barriers += 1
        elif access.queue:
            self._start(access, wave, pointers)

    def watch_plain(self, access: Access, pointers: tuple[int, int, int]) -> None:
        """The same for an instruction that neither starts a memory access nor waits: most of them."""
        wave = self._waves.get(pointers[0])
        if wave is not None and not wave.pending.isdisjoint(access.touched):
            self._check_pending(access, wave, access.touched & wave.pending)

    def _check_pending(self, access: Access, wave: Wave, early: frozenset[int]) -> None:
        if access.queue == "vm" and not access.is_store and early <= access.loaded and not any(r & early for _, r, _ in wave.lgkm):
            return  # a vector load over a vector load: they return in order
        self._find(access, f"{', '.join(sorted(map(register_name, early))[:4])} used before the s_waitcnt for its load")

    def _start(self, access: Access, wave: Wave, pointers: tuple[int, int, int]) -> None:
        if access.queue == "vm":
            wave.vm.append(access.loaded)
            if access.is_store:
                self._log_store(access, pointers)
        else:
            wave.lgkm.append((access.queue, access.loaded, access.is_store))
            if access.lds_address >= 0 and self.watches_lds:
                self._check_lds(access, wave, pointers)
        wave.pending |= access.loaded

    def _check_lds(self, access: Access, wave: Wave, pointers: tuple[int, int, int]) -> None:
        """Alignment that the emulator cannot represent, range, and accesses of two waves that no barrier parts."""
        scalars, vectors, _ = self._registers(*pointers)
        size = access.bytes
        lanes = emulator_lds.addresses(access, scalars, vectors)
        if not len(lanes):
            return
        for offset in access.lds_offsets:
            addresses = lanes + offset
            low = int(np.bitwise_or.reduce(addresses))
            if low % min(size, 4) and not emulator_lds.is_plain(access.name):
                self._find(access, f"LDS address {int(addresses[(addresses % min(size, 4)) != 0][0]):#x} is not a multiple of {min(size, 4)}")
            elif low % min(size, 8):  # legal in the unaligned mode (compile/emulator_lds.py)
                self.natural_misalignments += 1
            if low >= self._lds_bytes - size and addresses.max() + size > self._lds_bytes:  # the or of all is at least each of them
                self._find(access, f"LDS address {int(addresses.max()):#x} is beyond the {self._lds_bytes} bytes of the workgroup")
                continue
            self._check_race(access, wave, addresses if size == 1 else (addresses[:, None] + _SPAN[size]).ravel())

    def _check_race(self, access: Access, wave: Wave, index: np.ndarray) -> None:
        recent = self._written[index] == wave.barriers
        if recent.any() and (recent & (self._writer[index] != wave.number)).any():
            self._find(access, "LDS bytes that another wave wrote since the last barrier")
        if access.is_store:
            if ((self._read[index] == wave.barriers) & (self._reader[index] != wave.number)).any():
                self._find(access, "overwrites LDS bytes that another wave read since the last barrier")
            self._writer[index], self._written[index] = wave.number, wave.barriers
        else:
            several = (self._read[index] == wave.barriers) & (self._reader[index] != wave.number)
            self._reader[index], self._read[index] = np.where(several, -2, wave.number), wave.barriers

    def _log_store(self, access: Access, pointers: tuple[int, int, int]) -> None:
        """Addresses of a buffer store, lanes out of the descriptor's range left out, or of a global store (of a buffer beyond 2 GB)."""
        instruction = access.instruction
        scalars, vectors, _ = self._registers(*pointers)
        if access.name.startswith("GLOBAL_"):
            self.stores.append((_global_addresses(instruction, scalars, vectors)[emulator_lds.active(scalars)], access.bytes))
            return
        if not access.name.startswith("BUFFER_"):
            return  # found by its trace only
        first = _number(instruction.srsrc)
        start = (int(scalars[first]) | int(scalars[first + 1]) << 32) & 0xFFFFFFFFFFFF
        offset = np.full(64, int(instruction.offset), np.int64)
        if int(instruction.offen):
            offset += vectors[_number(instruction.vaddr) - _VECTOR]
        offset &= 0xFFFFFFFF
        kept = emulator_lds.active(scalars) & (offset + access.bytes <= int(scalars[first + 2]))
        soffset = _number(instruction.soffset)
        self.stores.append((start + offset[kept] + (int(scalars[soffset]) if soffset < 256 else 0), access.bytes))

    def _find(self, access: Access, text: str) -> None:
        key = f"{access.name.lower()} at {access.address:#x}: {text}"
        self.findings[key] = self.findings.get(key, 0) + 1


def read_access(name: str, address: int, instruction: Any) -> Access:
    """Registers and memory of an instruction of the emulator's decoder: operand fields with their widths in bits (`op_bits`)."""
    touched, written = set(), set()
    for operand, bits in getattr(instruction, "op_bits", {}).items():
        value = getattr(instruction, operand, None)
        if not hasattr(value, "offset"):
            continue
        if (operand == "vsrc1" and int(getattr(instruction, "s1", 0) or 0)) or (operand == "src0" and hasattr(type(instruction), "vsrc0")):
            continue  # SDWA and DPP: a scalar in a vector's field, a marker in src0's
        if operand == "vaddr" and hasattr(instruction, "offen") and not int(instruction.offen) and not int(instruction.idxen):
            continue  # a buffer access that is `off` still has a register in this field, v0
        registers = _registers_of(name, instruction, operand, _number(value), max(1, bits // 32))
        touched |= registers
        if operand in ("vdst", "sdst", "sdata") or (operand == "vdata" and "STORE" not in name):
            written |= registers
    if hasattr(type(instruction), "vsrc0") and not int(getattr(instruction, "s0", 0) or 0):  # SDWA and DPP state their first source here
        touched |= _registers_of(name, instruction, "vsrc0", _number(instruction.vsrc0), 1)
    encoding = type(instruction).__name__
    queue = {"MUBUF": "vm", "GLOBAL": "vm", "SCRATCH": "vm", "DS": "lds", "SMEM": "smem", "FLAT": "vm"}.get(encoding, "")
    if name.startswith(("S_DCACHE", "BUFFER_WBL2", "BUFFER_INV", "BUFFER_WBINV")):
        queue, written = "", set()
    width = _WIDTH.search(name)
    size = _BYTES[width.group()] if width else 4
    address_register, offsets = _lds(name, instruction, size) if queue == "lds" else (-1, ())
    return Access(name=name, address=address, touched=frozenset(touched), queue=queue, loaded=frozenset(written if queue else ()),
                  is_store="STORE" in name or "WRITE" in name, bytes=size, lds_address=address_register, lds_offsets=offsets,
                  instruction=instruction)


def _global_addresses(instruction: Any, scalars: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Addresses [64]: a scalar pair and 32-bit offsets, or 64-bit vector pairs where the scalar field is off (0x7f); 13-bit signed offset."""
    register, scalar = _number(instruction.addr), _number(instruction.saddr)
    register -= _VECTOR if register >= _VECTOR else 0
    found = vectors[register].astype(np.int64) + ((int(instruction.offset) & 0x1FFF) ^ 0x1000) - 0x1000
    if scalar < 106:
        return found + (int(scalars[scalar]) | int(scalars[scalar + 1]) << 32)
    return found + (vectors[register + 1].astype(np.int64) << 32)


def _lds(name: str, instruction: Any, size: int) -> tuple[int, tuple[int, ...]]:
    """Vector register with the address and the offsets that a ds_ instruction adds to it."""
    if any(word in name for word in _NO_LDS):
        return -1, ()
    register, first, second = _number(instruction.addr), int(instruction.offset0), int(instruction.offset1)
    register -= _VECTOR if register >= _VECTOR else 0
    if "READ2" in name or "WRITE2" in name:
        step = size * (64 if "ST64" in name else 1)
        return register, (first * step, second * step)
    return register, (first | second << 8,)


def register_name(number: int) -> str:
    """s0, v0 or a0 of a register number."""
    kind, start = ("a", _ACCUMULATOR) if number >= _ACCUMULATOR else ("v", _VECTOR) if number >= _VECTOR else ("s", 0)
    return f"{kind}{number - start}"


def _registers_of(name: str, instruction: Any, operand: str, first: int, count: int) -> set[int]:
    vector = operand.startswith("v") or operand in ("addr", "data", "data0", "data1")
    if vector and first < _VECTOR and operand != "vdst":
        first += _VECTOR
    if operand == "vdst" and name.startswith(("V_READLANE", "V_READFIRSTLANE")) and first >= _VECTOR:
        first -= _VECTOR  # a scalar in a vector's field
    if first < 106 or first >= _VECTOR:  # neither vcc, m0, exec nor an inline constant
        if first >= _VECTOR and _is_accumulator(name, instruction, operand):
            first += _ACCUMULATOR - _VECTOR
        return set(range(first, first + count))
    return set()


def _is_accumulator(name: str, instruction: Any, operand: str) -> bool:
    flags = int(getattr(instruction, "acc", 0) or 0)
    if "MFMA" in name:
        if operand in ("vdst", "src2"):
            return bool(int(getattr(instruction, "acc_cd", 0) or 0))
        return bool(flags >> (0 if operand == "src0" else 1) & 1)
    if name.startswith("V_ACCVGPR"):
        return (operand == "vdst") == name.startswith("V_ACCVGPR_WRITE") or name.startswith("V_ACCVGPR_MOV")
    return bool(flags) and operand in ("vdata", "vdst", "data", "data0", "data1")


def _number(register: Any) -> int:
    return int(getattr(register, "offset", register))

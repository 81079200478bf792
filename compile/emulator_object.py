"""Code objects of AMD GPUs (.hsaco, ELF): which kernels one holds, where their descriptors and code lie, and a digest of each kernel."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

from ireeperf.errors import CompileError

GFX942 = 0x4C  # e_flags & 0xff, LLVM's EF_AMDGPU_MACH_AMDGCN_GFX942
_DESCRIPTOR_BYTES = 64
_LOAD, _SYMTAB, _DYNSYM, _FUNCTION = 1, 2, 11, 2
_NOTE, _METADATA = 7, 32  # section type; note type NT_AMDGPU_METADATA


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A loadable part: `bytes` of the file at `file_offset` go to `address`, which takes `memory_bytes`."""

    file_offset: int
    address: int
    bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel. Addresses are relative to where the object is loaded."""

    name: str
    descriptor_address: int
    entry_address: int
    code_bytes: int
    lds_bytes: int
    scratch_bytes: int
    kernarg_bytes: int
    rsrc2: int
    properties: int  # which user registers the launch fills; 8: the kernarg pointer alone
    sha256: str  # of descriptor and code, without the distance between them: where a linker put a kernel does not change it


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeObject:
    """An executable of one GPU."""

    machine: int
    segments: tuple[Segment, ...]
    kernels: dict[str, Kernel]

    def file_offset(self, address: int) -> int:
        """Where in the file the byte at `address` lies."""
        return next(s.file_offset + address - s.address for s in self.segments if s.address <= address < s.address + s.bytes)


def parse(content: bytes, name: str = "code object") -> CodeObject:
    """Read an ELF file; CompileError when it is none or is cut off."""
    try:
        if content[:5] != b"\x7fELF\x02":
            raise ValueError("not a 64-bit ELF file")
        program_offset, section_offset = struct.unpack_from("<QQ", content, 32)
        flags, = struct.unpack_from("<I", content, 48)
        program_count, = struct.unpack_from("<H", content, 56)
        section_count, = struct.unpack_from("<H", content, 60)
        programs = [struct.unpack_from("<IIQQQQQQ", content, program_offset + 56 * i) for i in range(program_count)]
        segments = tuple(Segment(file_offset=p[2], address=p[3], bytes=p[5], memory_bytes=p[6]) for p in programs if p[0] == _LOAD)
        sections = [struct.unpack_from("<IIQQQQIIQQ", content, section_offset + 64 * i) for i in range(section_count)]
        found = CodeObject(machine=flags & 0xFF, segments=segments, kernels={})
        symbols = _symbols(content, sections)
        for symbol, (address, _) in symbols.items():
            if symbol.endswith(".kd"):
                code_bytes = symbols[symbol[:-3]][1]
                found.kernels[symbol[:-3]] = _kernel(content, found, symbol[:-3], address, code_bytes)
    except (struct.error, ValueError, KeyError, StopIteration) as error:
        raise CompileError(f"{name} is not a readable code object: {error}; compile again with ./compile/precompile.py") from error
    return found


def _symbols(content: bytes, sections: list[tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    """Address and size by name, of the full table where there is one and of the dynamic one otherwise."""
    kinds = {section[1] for section in sections}
    wanted = _SYMTAB if _SYMTAB in kinds else _DYNSYM
    found = {}
    for section in (section for section in sections if section[1] == wanted):
        names = sections[section[6]][4]
        for start in range(section[4], section[4] + section[5], 24):
            name, _, _, _, value, size = struct.unpack_from("<IBBHQQ", content, start)
            text = content[names + name:content.index(b"\0", names + name)].decode()
            if text:
                found[text] = (value, size)
    return found


def _kernel(content: bytes, owner: CodeObject, name: str, address: int, code_bytes: int) -> Kernel:
    """Read the kernel descriptor at `address` (LLVM, "Code Object V3 Kernel Descriptor")."""
    start = owner.file_offset(address)
    lds_bytes, scratch_bytes, kernarg_bytes = struct.unpack_from("<III", content, start)
    distance, = struct.unpack_from("<q", content, start + 16)
    _, _, rsrc2, properties = struct.unpack_from("<IIIH", content, start + 44)
    code = owner.file_offset(address + distance)
    descriptor = bytearray(content[start:start + _DESCRIPTOR_BYTES])
    descriptor[16:24] = bytes(8)
    digest = hashlib.sha256(bytes(descriptor) + content[code:code + code_bytes]).hexdigest()
    return Kernel(name=name, descriptor_address=address, entry_address=address + distance, code_bytes=code_bytes, lds_bytes=lds_bytes,
                  scratch_bytes=scratch_bytes, kernarg_bytes=kernarg_bytes, rsrc2=rsrc2, properties=properties, sha256=digest)


def arguments(content: bytes) -> dict[str, tuple[tuple[int, int], ...]]:
    """(offset, bytes) of each argument by kernel, of the object's metadata (LLVM, "Code Object V3 Metadata"); CompileError without."""
    section_offset, = struct.unpack_from("<Q", content, 40)
    section_count, = struct.unpack_from("<H", content, 60)
    for section in (struct.unpack_from("<IIQQQQIIQQ", content, section_offset + 64 * i) for i in range(section_count)):
        if section[1] == _NOTE:
            name_bytes, size, kind = struct.unpack_from("<III", content, section[4])
            start = section[4] + 12 + (name_bytes + 3) // 4 * 4
            if kind == _METADATA:
                kernels = _unpacked(content[start:start + size], 0)[0]["amdhsa.kernels"]
                return {one[".name"]: tuple((argument[".offset"], argument[".size"]) for argument in one.get(".args", [])
                                            if not argument[".value_kind"].startswith("hidden")) for one in kernels}
    raise CompileError("the code object has no metadata; compile again with ./compile/precompile.py")


def _unpacked(content: bytes, at: int) -> tuple[Any, int]:
    """The MessagePack value at `at` and where the next begins: maps, arrays, text, numbers and truth, of which the metadata is made."""
    code, at = content[at], at + 1
    if code < 0x80:
        return code, at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if 0xCC <= code <= 0xD3:
        width = 1 << (code & 3)
        return int.from_bytes(content[at:at + width], "big", signed=code >= 0xD0), at + width
    if 0xA0 <= code < 0xC0 or 0xD9 <= code <= 0xDB:
        width = 0 if code < 0xC0 else 1 << code - 0xD9
        length = int.from_bytes(content[at:at + width], "big") if width else code & 31
        return content[at + width:at + width + length].decode(), at + width + length
    if 0x80 <= code < 0xA0 or 0xDC <= code <= 0xDF:
        width = 0 if code < 0xA0 else 2 if code in (0xDC, 0xDE) else 4
        count = int.from_bytes(content[at:at + width], "big") if width else code & 15
        is_map, at, found = code < 0x90 or code in (0xDE, 0xDF), at + width, list[Any]()
        for _ in range(2 * count if is_map else count):
            value, at = _unpacked(content, at)
            found.append(value)
        return (dict(zip(found[::2], found[1::2], strict=True)) if is_map else found), at
    if code >= 0xE0:
        return code - 256, at
    raise CompileError(f"the code object's metadata has a value of an unknown kind {code:#x}")

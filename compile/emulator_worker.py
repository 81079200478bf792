"""The process that runs kernels, in the emulator's own environment: requests as JSON lines on stdin, answers on stdout.

    {"object", "kernel", "threads": [x, y, z], "grid": [x, y, z], "sizes", "regions", "constants", "outputs": [[binding, offset, bytes]],
     "workgroups": [[x, y, z], ...], "reverse", "answer": file}
    -> {"seconds", "findings", "misaligned", "problem"}; the file holds, per workgroup and output, the byte positions stored and all outputs'
       changed bytes
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from compile import emulator_judges, emulator_lds, emulator_memory, emulator_native, emulator_object

_USER_REGISTER_COUNT = 0x1F << 1  # rsrc2 bits 5:1
_LDS_BLOCKS = 0x1FF << 15


class Loaded:
    """A code object in this process's memory."""

    def __init__(self, content: bytes, name: str = "code object") -> None:
        self.code = emulator_object.parse(content, name)
        self.length = max(segment.address + segment.memory_bytes for segment in self.code.segments) + emulator_memory.PAGE
        self._memory = mmap.mmap(-1, self.length)
        for segment in self.code.segments:
            self._memory[segment.address:segment.address + segment.bytes] = content[segment.file_offset:segment.file_offset + segment.bytes]
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))


class Emulator:
    """tinygrad's emulator of CDNA, with the kit's corrected instructions. `judged`: wrapped so that the judges see every instruction."""

    def __init__(self, folder: Path, judged: bool = True) -> None:
        sources = sorted(folder.glob("tinygrad*/test/mockgpu/amd/emu.py"))
        if not sources or not (folder / "emufix.py").is_file():
            raise SystemExit(f"error: {folder} holds no tinygrad*/test/mockgpu/amd/emu.py and emufix.py; docs/EMULATOR.md says how to get them")
        sys.path[:0] = [str(sources[0].parents[3]), str(folder)]
        os.environ.setdefault("DEV", "CPU")
        os.environ.setdefault("CCACHE", "1")
        python = os.environ.setdefault("PYTHON", sys.executable)  # has ziglang
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        import emufix  # type: ignore[import-not-found]
        import test.mockgpu.amd.emu as emu  # type: ignore[import-not-found]
        emufix.install()
        self._native = emulator_native.library(Path(python).parents[1], python)
        self._judged = judged
        self.emu, self._state = emu, emufix
        self._decode = emu._decode_at
        self._decoded: dict[int, Any] = {}
        self._judges = emulator_judges.Judges(self._registers, 0)
        self._entry = self._lds_bytes = 0
        emu._decode_at = self.decode

    def decode(self, address: int, architecture: str) -> Any:
        """The emulator's decoder, with the judges in front of each instruction. An instruction is decoded once per kernel."""
        if address not in self._decoded:
            instruction = self.emu.decode_inst(ctypes.string_at(address, 16), architecture)
            if self.emu._op_name(instruction) == "S_GETPC_B64":  # of constants in the code object; the emulator does not know it
                program, runtime = SimpleNamespace(arg=SimpleNamespace(globals=[0])), SimpleNamespace(fxn=self._get_program_counter(instruction))
            else:
                (program, runtime), instruction = self._decode(address, architecture)
            access = emulator_judges.read_access(self.emu._op_name(instruction), address - self._entry, instruction)
            own = (self._byte_exact(access) if access.lds_address >= 0 and emulator_lds.is_plain(access.name) else
                   emulator_native.instruction(self._native, access.name, instruction))
            self._decoded[address] = ((_watched(self._judges if self._judged else None, access, runtime.fxn, program.arg.globals, own)
                                       if self._judged or own else (program, runtime)), instruction)
        return self._decoded[address]

    def _get_program_counter(self, instruction: Any) -> Any:
        """s_getpc_b64: the address of the next instruction."""
        number, length, low = int(instruction.sdst.offset), instruction.size(), self.emu.PC_LO_IDX

        def run(scalars: Any) -> None:
            registers = self._state.arr(scalars.value, self.emu.SGPR_COUNT)
            after = (int(registers[low]) | int(registers[low + 1]) << 32) + length
            registers[number:number + 2] = registers[low:low + 2] = after & 0xFFFFFFFF, after >> 32
        return run

    def _byte_exact(self, access: emulator_judges.Access) -> Any:
        """Does an LDS access and says so when a lane's address is one that the emulator cannot take."""
        length, size = access.instruction.size(), self._lds_bytes
        low = self.emu.PC_LO_IDX

        def move(pointers: tuple[int, int, int], buffers: Any) -> bool:
            registers = self._registers(*pointers)
            scalars = registers[0]
            if not emulator_lds.is_misaligned(access, scalars, registers[1]):
                return False
            emulator_lds.move(access, registers, self._state.arr(buffers[3].value, size, np.uint8))
            after = (int(scalars[low]) | int(scalars[low + 1]) << 32) + length
            scalars[low:low + 2] = after & 0xFFFFFFFF, after >> 32
            return True
        return move

    def run(self, request: dict) -> dict:
        """Run the workgroups of one request."""
        loaded = Loaded(Path(request["object"]).read_bytes(), request["object"])
        image = emulator_memory.Image(request["sizes"], [emulator_memory.Region(**region) for region in request["regions"]])
        pointers, words = np.array(image.addresses, np.uint64), np.array(request["constants"], np.uint32)
        begun = time.monotonic()
        stored: list[list] = []
        self._judges = emulator_judges.Judges(self._registers, loaded.code.kernels[request["kernel"]].lds_bytes)
        self._decoded = {}
        self.emu.REV = request["reverse"]
        try:
            for x, y, z in request["workgroups"]:
                self._judges.reset(watches_lds=not stored and not request["reverse"])
                self.execute(loaded, request["kernel"], request["grid"], request["threads"], pointers.tobytes() + words.tobytes(), [(z, y, x)])
                stored.append(self._judges.stores)
            answer = _collect(request, image, stored)
        finally:
            image.close()
        return answer | {"seconds": time.monotonic() - begun, "findings": self._judges.findings, "problem": "",
                         "misaligned": self._judges.natural_misalignments}

    def execute(self, loaded: Loaded, name: str, grid: Sequence[int], threads: Sequence[int], arguments: bytes,
                workgroups: list[tuple[int, int, int]] | None = None) -> None:
        """Run `workgroups` (z, y, x; None: all) of a kernel. ValueError when it wants more than its arguments."""
        kernel = loaded.code.kernels[name]
        if kernel.properties & 0x7F != 8:
            raise ValueError(f"the kernel asks for user registers {kernel.properties:#x}; this launcher fills the kernarg pointer only")
        held = np.zeros(max(kernel.kernarg_bytes, len(arguments)) + 256, np.uint8)
        held[:len(arguments)] = np.frombuffer(arguments, np.uint8)
        pointer = held.ctypes.data
        self._entry, self._lds_bytes = loaded.start + kernel.entry_address, kernel.lds_bytes
        rsrc2 = kernel.rsrc2 & ~_LDS_BLOCKS | (kernel.lds_bytes + 511) // 512 << 15
        self.emu.GIDS = workgroups
        self.emu.run_asm(self._entry, loaded.length, *grid, *threads, pointer, rsrc2, kernel.scratch_bytes, "cdna",
                         [pointer & 0xFFFFFFFF, pointer >> 32])

    def _registers(self, scalars: int, vectors: int, accumulators: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        array = self._state.arr
        return (array(scalars, self.emu.SGPR_COUNT), array(vectors, 256 * 64).reshape(256, 64), array(accumulators, 256 * 64).reshape(256, 64))


def _watched(judges: emulator_judges.Judges | None, access: emulator_judges.Access, function: Any, arguments: list[int], own: Any = None) -> Any:
    """What the emulator's loop expects of a compiled instruction: (program with its argument numbers, runtime with its function). `own`
    does the instruction in the emulator's place and gives whether it did."""
    watch = None if judges is None else judges.watch if access.queue or access.name in ("S_WAITCNT", "S_BARRIER") else judges.watch_plain

    def run(*buffers: Any) -> None:
        pointers = buffers[0].value, buffers[1].value, buffers[5].value
        if watch is not None:
            watch(access, pointers)
        if own is None or not own(pointers, buffers):
            function(*[buffers[index] for index in arguments])

    return SimpleNamespace(arg=SimpleNamespace(globals=[0, 1, 2, 3, 4, 5])), SimpleNamespace(fxn=run)


def _collect(request: dict, image: emulator_memory.Image, stored: list) -> dict:
    """Write per output and workgroup the sorted unique byte positions stored, how many were stored twice, and the changed bytes."""
    arrays: dict[str, np.ndarray] = {}
    elsewhere = twice = 0
    blocks = {(region["binding"], region["offset"]): region["block"] for region in request["regions"]}
    for number, (binding, offset, size) in enumerate(request["outputs"]):
        start = image.addresses[binding] + offset
        for group, stores in enumerate(stored):
            positions = [(addresses[:, None] + np.arange(width)).ravel() - start for addresses, width in stores]
            every = np.concatenate(positions) if positions else np.zeros(0, np.int64)
            every = every[(every >= 0) & (every < size)]
            unique = np.unique(every)
            twice += len(every) - len(unique)
            arrays[f"stored_{number}_{group}"] = unique
        view = image.view(binding, offset, size)
        arrays[f"changed_{number}"] = changed = _changed(view, Path(blocks[binding, offset]).read_bytes(), offset % emulator_memory.PAGE)
        arrays[f"bytes_{number}"] = view[changed]
        for group in range(len(stored)):
            arrays[f"values_{number}_{group}"] = view[arrays[f"stored_{number}_{group}"]]
    total = sum(len(addresses) * width for stores in stored for addresses, width in stores)
    elsewhere = total - twice - sum(len(value) for name, value in arrays.items() if name.startswith("stored_"))
    np.savez(request["answer"], **arrays)  # type: ignore[arg-type]
    return {"twice": twice, "elsewhere": elsewhere}


def _changed(view: np.ndarray, block: bytes, phase: int) -> np.ndarray:
    """Positions of bytes that differ from what the output was filled with."""
    pattern, found, done = np.frombuffer(block, np.uint8), [], 0
    while done < len(view):
        source = (done + phase) % len(pattern)
        part = view[done:done + len(pattern) - source]
        found.append(np.flatnonzero(part != pattern[source:source + len(part)]) + done)
        done += len(part)
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def main() -> None:
    """Serve requests until stdin ends. Whatever the emulator prints goes to stderr: stdout is for answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    emulator = Emulator(Path(sys.argv[1]).resolve())
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = emulator.run(json.loads(line))
        except Exception as error:
            answer = {"problem": f"{type(error).__name__}: {error}"[-600:]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""Matrix instructions and buffer accesses in C against numpy, by the layouts of AMD's "Instinct MI300 ISA" guide. Needs .venv-emulator's compiler."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from compile import emulator, emulator_native, reference_types

VECTOR = 256
pytestmark = pytest.mark.skipif(not (emulator.ENVIRONMENT / "bin/python").exists(), reason="no .venv-emulator (./scripts/setup_emulator)")


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    return emulator_native.library(tmp_path_factory.mktemp("native"), str(emulator.interpreter()))


class Wave:
    """Registers of one wave with every lane active."""

    def __init__(self) -> None:
        self.scalars, self.vectors, self.accumulators = np.zeros(260, np.uint32), np.zeros((256, 64), np.uint32), np.zeros((256, 64), np.uint32)
        self.scalars[126:128] = 0xFFFFFFFF

    def run(self, code, name: str, **fields: int) -> bool:
        decoded = SimpleNamespace(**{key: SimpleNamespace(offset=value) if key in ("src0", "src1", "src2", "vdst", "vdata", "vaddr", "srsrc", "soffset")
                                     else value for key, value in fields.items()}, size=lambda: 8)
        done = emulator_native.instruction(code, name, decoded)
        return done is not None and done((self.scalars.ctypes.data, self.vectors.ctypes.data, self.accumulators.ctypes.data), None)


def packed(matrix: np.ndarray, per_lane: int) -> np.ndarray:
    """Registers [n, 64] of a matrix [rows, depth]: lane l holds row l % rows, elements from l // rows * per_lane on."""
    rows, depth = matrix.shape
    lanes = matrix.reshape(rows, depth // per_lane, per_lane).transpose(1, 0, 2).reshape(64, per_lane)
    return np.ascontiguousarray(lanes).view(np.uint32).reshape(64, -1).T


def unpacked(registers: np.ndarray, size: int) -> np.ndarray:
    """The result [size, size] in registers [size * size / 64, 64]."""
    found = np.empty((size, size), registers.dtype)
    for number in range(len(registers)):
        for lane in range(64):
            row = 8 * (number // 4) + 4 * (lane // 32) + number % 4 if size == 32 else 4 * (lane // 16) + number
            found[row, lane % size] = registers[number, lane]
    return found


@pytest.mark.parametrize("accumulators", [0, 1])
@pytest.mark.parametrize(("name", "size", "depth", "kind"), [
    ("V_MFMA_F32_16X16X16_F16", 16, 16, "f16"), ("V_MFMA_F32_32X32X8_F16", 32, 8, "f16"), ("V_MFMA_F32_16X16X4_F32", 16, 4, "f32"),
    ("V_MFMA_I32_16X16X32_I8", 16, 32, "i8"), ("V_MFMA_I32_32X32X16_I8", 32, 16, "i8"), ("V_MFMA_F32_16X16X32_FP8_FP8", 16, 32, "f8E4M3FNUZ")])
def test_matrix(code, name, size, depth, kind, accumulators):
    random, wave, per_lane = np.random.default_rng(0), Wave(), depth * size // 64
    stored = reference_types.storage(kind)
    left, right = (random.integers(-100, 100, (size, depth)).astype(stored) if kind == "i8" else
                   random.integers(0, 0x70, (size, depth)).astype(stored) if kind.startswith("f8") else
                   random.standard_normal((size, depth)).astype(stored) for _ in range(2))
    start = random.integers(-9, 9, (size * size // 64, 64)).astype(np.int32 if kind == "i8" else np.float32)
    bank = wave.accumulators if accumulators else wave.vectors
    a, b, c = packed(left, per_lane), packed(right, per_lane), start.view(np.uint32)
    wave.vectors[10:10 + len(a)], bank[20:20 + len(b)], bank[40:40 + len(c)] = a, b, c
    assert wave.run(code, name, src0=VECTOR + 10, src1=VECTOR + 20, src2=VECTOR + 40, vdst=VECTOR + 60, acc=2 * accumulators, acc_cd=accumulators)
    found = unpacked(bank[60:60 + len(c)].view(start.dtype), size)
    expected = reference_types.values(left, kind) @ reference_types.values(right, kind).T + unpacked(start, size)
    np.testing.assert_allclose(found, expected, rtol=0 if kind == "i8" else 1e-5, atol=0 if kind == "i8" else 1e-4)
    assert wave.scalars[256] == 8  # on to the next instruction


def test_a_matrix_instruction_that_is_not_plain_is_left_to_the_emulator(code):
    fields = {"src0": VECTOR, "src1": VECTOR + 4, "src2": VECTOR + 8, "vdst": VECTOR + 8}
    assert not Wave().run(code, "V_MFMA_F32_16X16X16_F16", **fields, blgp=1)
    assert not Wave().run(code, "V_MFMA_F32_4X4X4_16B_F16", **fields)
    assert not Wave().run(code, "V_MFMA_F32_16X16X16_F16", **fields | {"src0": 128})


class Buffer(Wave):
    """A wave whose scalars 4 to 7 describe `memory` [bytes], of which `range` bytes are the buffer; vector 0 has offsets."""

    def __init__(self, memory: np.ndarray, range: int, offsets: np.ndarray) -> None:
        super().__init__()
        place = memory.ctypes.data
        self.scalars[4:7] = place & 0xFFFFFFFF, place >> 32, range
        self.vectors[0] = offsets

    def access(self, code, name: str, data: int, offset: int = 0, soffset: int = 128, offen: int = 1) -> bool:
        return self.run(code, name, srsrc=4, vaddr=VECTOR, vdata=VECTOR + data, soffset=soffset, offset=offset, offen=offen, idxen=0)


def test_buffer_loads(code):
    memory = np.random.default_rng(1).integers(0, 256, 4096, np.uint8)
    wave = Buffer(memory, 1000, np.arange(64) * 16)
    wave.scalars[126:128], wave.vectors[8:12] = (0xFFFFFFFF, 0x7FFFFFFF), 7  # lane 63 rests
    assert wave.access(code, "BUFFER_LOAD_DWORDX4", 8, offset=4)
    words = memory[:1024].view(np.uint32)
    for lane in (0, 5, 62):
        expected = [words[4 * lane + 1 + part] if 16 * lane + 8 + 4 * part <= 1000 else 0 for part in range(4)]
        assert wave.vectors[8:12, lane].tolist() == expected
    assert wave.vectors[8:12, 62].tolist()[2:] == [0, 0] and (wave.vectors[8:12, 63] == 7).all()
    wave.vectors[8] = 0xABCD1234
    assert wave.access(code, "BUFFER_LOAD_SHORT_D16_HI", 8)
    assert wave.vectors[8, 1] == 0x1234 | int(memory[16:18].view(np.uint16)[0]) << 16
    assert wave.access(code, "BUFFER_LOAD_SBYTE", 8) and wave.vectors[8, 2].view(np.int32) == memory[32].view(np.int8)


def test_buffer_stores_within_their_range_only(code):
    memory = np.zeros(4096, np.uint8)
    wave = Buffer(memory, 64, np.arange(64) * 4)
    wave.vectors[8], wave.scalars[9] = np.arange(64) + 0x10000, 16
    assert wave.access(code, "BUFFER_STORE_SHORT", 8, soffset=9)
    assert memory[16:80].view(np.uint32).tolist() == list(range(16)) and not memory[80:].any() and not memory[:16].any()
    assert wave.access(code, "BUFFER_STORE_BYTE_D16_HI", 8, offset=2, offen=0) and memory[2] == 1


def test_an_unbounded_buffer_is_left_to_the_emulator(code):
    wave = Buffer(np.zeros(64, np.uint8), 0x80000000, np.zeros(64))
    assert not wave.access(code, "BUFFER_LOAD_DWORD", 8) and wave.scalars[256] == 0

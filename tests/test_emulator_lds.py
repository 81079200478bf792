"""LDS accesses below 4 bytes of alignment, on made-up registers: what a GPU in its unaligned mode does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from compile import emulator_lds

VECTOR = 256


class Lanes:
    """Registers of one wave and LDS, filled with numbers that tell where they come from."""

    def __init__(self, address: int, step: int) -> None:
        self.scalars = np.zeros(260, np.uint32)
        self.scalars[126:128] = 0xFFFFFFFF
        self.vectors = np.arange(256 * 64, dtype=np.uint32).reshape(256, 64) * 2654435761
        self.accumulators = np.zeros((256, 64), np.uint32)
        self.vectors[0] = address + step * np.arange(64)
        self.memory = np.zeros(8192, np.uint8)

    def run(self, name: str, bytes: int, offsets: tuple[int, ...] = (0,), acc: int = 0, **operands: int) -> None:
        decoded = SimpleNamespace(acc=acc, **{name: SimpleNamespace(offset=VECTOR + number) for name, number in operands.items()})
        access = SimpleNamespace(name=name, bytes=bytes, lds_address=0, lds_offsets=offsets, is_store="WRITE" in name, instruction=decoded)
        emulator_lds.move(access, (self.scalars, self.vectors, self.accumulators), self.memory)


@pytest.mark.parametrize(("name", "plain"), [("DS_READ_B96", True), ("DS_WRITE_B128", True), ("DS_READ2ST64_B64", True), ("DS_WRITE2_B32", True),
                                             ("DS_READ_U16_D16", False), ("DS_ADD_U32", False), ("DS_SWIZZLE_B32", False)])
def test_which_instructions_are_done_here(name, plain):
    assert emulator_lds.is_plain(name) == plain


def test_twelve_bytes_at_two_modulo_four_stay_where_they_are():
    lanes = Lanes(address=2, step=14)
    written = lanes.vectors[4:7].copy()
    lanes.run("DS_WRITE_B96", 12, data0=4)
    for lane in (0, 1, 63):
        np.testing.assert_array_equal(lanes.memory[2 + 14 * lane:14 + 14 * lane].view(np.uint32), written[:, lane])
    assert not lanes.memory[:2].any() and not lanes.memory[14:16].any()
    lanes.run("DS_READ_B96", 12, vdst=9)
    np.testing.assert_array_equal(lanes.vectors[9:12], written)


def test_two_addresses_of_one_instruction():
    lanes = Lanes(address=6, step=32)
    lanes.run("DS_WRITE2_B64", 8, (0, 16), data0=4, data1=8)
    lanes.run("DS_READ2_B64", 8, (16, 0), acc=1, vdst=20)
    np.testing.assert_array_equal(lanes.accumulators[20:24], lanes.vectors[[8, 9, 4, 5]])


def test_inactive_lanes_and_the_end_of_lds():
    lanes = Lanes(address=2, step=4)
    lanes.scalars[126:128] = (0b11, 0)
    lanes.memory = np.zeros(8, np.uint8)
    lanes.run("DS_WRITE_B32", 4, data0=4)
    assert lanes.memory.view(np.uint16)[:4].tolist() == [0, *lanes.vectors[4, :1].view(np.uint16), lanes.vectors[4, 1] & 0xFFFF]
    kept = lanes.vectors[5].copy()
    lanes.run("DS_READ_B32", 4, vdst=5)
    assert lanes.vectors[5, 0] == lanes.vectors[4, 0] and lanes.vectors[5, 1] == lanes.vectors[4, 1] & 0xFFFF  # beyond the end: 0
    np.testing.assert_array_equal(lanes.vectors[5, 2:], kept[2:])


def test_an_address_is_judged_with_its_offsets_and_active_lanes_alone():
    lanes = Lanes(address=2, step=8)
    access = SimpleNamespace(lds_address=0, lds_offsets=(0,))
    assert emulator_lds.is_misaligned(access, lanes.scalars, lanes.vectors)
    assert not emulator_lds.is_misaligned(SimpleNamespace(lds_address=0, lds_offsets=(2, 6)), lanes.scalars, lanes.vectors)
    lanes.scalars[126:128], lanes.vectors[0, 0] = (1, 0), 16
    assert not emulator_lds.is_misaligned(access, lanes.scalars, lanes.vectors)

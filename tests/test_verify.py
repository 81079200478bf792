"""Pieces of compile.verify that need no emulator: judges on made-up instructions, device memory, tensors in bindings, settings."""

from __future__ import annotations

import faulthandler
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from compile import emulator_judges, emulator_launch, emulator_memory, verify, verify_build
from compile.emulator_judges import Access, Judges
from ireeperf.errors import ConfigError

VECTOR = 256


class Machine:
    """Judges over waves whose registers the test sets."""

    def __init__(self, waves: int = 1, lds_bytes: int = 4096) -> None:
        self.state = [(np.zeros(256, np.uint32), np.zeros((256, 64), np.uint32), np.zeros((256, 64), np.uint32)) for _ in range(waves)]
        for scalars, _, _ in self.state:
            scalars[126:128] = 0xFFFFFFFF  # every lane is active
        self.judges = Judges(lambda pointer, *_: self.state[pointer - 1], lds_bytes)

    def run(self, access: Access, wave: int = 0) -> None:
        self.judges.watch(access, (wave + 1, 0, 0))

    def findings(self) -> str:
        return "; ".join(self.judges.findings)


def instruction(name: str, **changes: object) -> Access:
    values: dict = {"touched": frozenset(), "queue": "", "loaded": frozenset(), "is_store": False, "bytes": 4, "lds_address": -1, "lds_offsets": (),
                    "instruction": None}
    return Access(name=name, address=0, **values | changes)


def wait(vm: int = 63, lgkm: int = 15) -> Access:
    return instruction("S_WAITCNT", instruction=SimpleNamespace(simm16=(vm & 15) | (vm >> 4) << 14 | lgkm << 8))


def load(register: int, queue: str = "vm") -> Access:
    loaded = frozenset({VECTOR + register})
    return instruction("BUFFER_LOAD_DWORD", touched=loaded, queue=queue, loaded=loaded)


def use(register: int) -> Access:
    return instruction("V_ADD_F32", touched=frozenset({VECTOR + register}))


def lds(name: str, bytes: int = 4, offset: int = 0) -> Access:
    return instruction(name, queue="lds", lds_address=0, lds_offsets=(offset,), is_store="WRITE" in name, bytes=bytes)


def test_vector_loads_return_in_order():
    machine = Machine()
    for access in (load(1), load(2), wait(vm=1), use(1)):
        machine.run(access)
    assert machine.findings() == ""
    machine.run(use(2))
    assert "v2 used before the s_waitcnt" in machine.findings()


def test_a_scalar_load_is_waited_for_with_zero_only():
    machine = Machine()
    for access in (load(1, "smem"), load(2, "smem"), wait(lgkm=1), use(1)):
        machine.run(access)
    assert "v1 used before the s_waitcnt" in machine.findings()
    other = Machine()
    for access in (load(1, "smem"), wait(lgkm=0), use(1)):
        other.run(access)
    assert other.findings() == ""


def test_a_wait_of_the_other_counter_does_not_help():
    machine = Machine()
    for access in (load(1), wait(lgkm=0), use(1)):
        machine.run(access)
    assert "v1 used" in machine.findings()


def test_lds_written_and_read_by_two_waves_needs_a_barrier_and_its_wait():
    machine = Machine(waves=2)
    for wave in (0, 1):
        machine.state[wave][1][0] = np.arange(64) * 4
    machine.run(lds("DS_WRITE_B32"), wave=0)
    machine.run(lds("DS_READ_B32"), wave=1)
    assert "another wave wrote since the last barrier" in machine.findings()
    machine.run(instruction("S_BARRIER"), wave=0)
    assert "barrier while LDS writes are under way" in machine.findings()
    right = Machine(waves=2)
    for wave in (0, 1):
        right.state[wave][1][0] = np.arange(64) * 4
    for access, wave in ((lds("DS_WRITE_B32"), 0), (wait(lgkm=0), 0), (instruction("S_BARRIER"), 0), (instruction("S_BARRIER"), 1),
                         (lds("DS_READ_B32"), 1)):
        right.run(access, wave)
    assert right.findings() == ""


@pytest.mark.parametrize(("access", "words"), [(lds("DS_READ_U16", 2, offset=1), "not a multiple of 2"),
                                               (lds("DS_READ_B64", 8, 4092), "beyond the 4096 bytes")])
def test_lds_addresses(access, words):
    machine = Machine()
    machine.run(access)
    assert words in machine.findings()


def test_a_word_at_two_modulo_four_is_counted_and_no_finding():
    machine = Machine()
    machine.run(lds("DS_READ_B32", offset=2))
    assert machine.findings() == "" and machine.judges.natural_misalignments == 1


def test_inactive_lanes_are_not_judged():
    machine = Machine()
    machine.state[0][0][126:128] = (1, 0)
    machine.state[0][1][0, 1:] = 99999
    machine.run(lds("DS_READ_B32"))
    assert machine.findings() == ""


def test_a_global_store_is_logged():
    machine = Machine()
    scalars, vectors, _ = machine.state[0]
    scalars[126:128], scalars[4:6] = (3, 0), (0x1000, 2)  # two lanes
    vectors[7, :2], vectors[8, :2] = (16, 32), (1, 1)
    fields = {"addr": SimpleNamespace(offset=VECTOR + 7), "offset": 0x1FF8}
    for saddr in (4, 127):
        decoded = SimpleNamespace(**fields, saddr=SimpleNamespace(offset=saddr))
        machine.run(instruction("GLOBAL_STORE_SHORT", queue="vm", is_store=True, bytes=2, instruction=decoded))
    with_scalar, without = (addresses.tolist() for addresses, _ in machine.judges.stores)
    assert with_scalar == [0x200001008, 0x200001018] and without == [0x100000008, 0x100000018]


def test_registers_of_an_sdwa_instruction():
    """v_mul_u32_u24_sdwa v22, v22, s11: the second source's field names a scalar."""
    sdwa = type("VOP2_SDWA", (), {"vsrc0": SimpleNamespace(offset=VECTOR + 22)})()
    vars(sdwa).update(op_bits={"src0": 32, "vdst": 32, "vsrc1": 32}, src0=SimpleNamespace(offset=249), vdst=SimpleNamespace(offset=VECTOR + 22),
                      vsrc1=SimpleNamespace(offset=VECTOR + 11), s0=0, s1=1)
    assert emulator_judges.read_access("V_MUL_U32_U24", 0, sdwa).touched == {VECTOR + 22}


def test_a_buffer_access_without_an_offset_register_touches_none() -> None:
    """`buffer_load_dword v98, off, s[8:11], 0` encodes v0 where its offset would be: right after a load into v0 that is no mistake."""
    def decoded(**offsets: int) -> SimpleNamespace:
        return SimpleNamespace(op_bits={"vdata": 32, "vaddr": 32}, vdata=SimpleNamespace(offset=VECTOR + 98), vaddr=SimpleNamespace(offset=VECTOR), **offsets)

    assert emulator_judges.read_access("BUFFER_LOAD_DWORD", 0, decoded(offen=0, idxen=0)).touched == {VECTOR + 98}
    assert emulator_judges.read_access("BUFFER_LOAD_DWORD", 0, decoded(offen=1, idxen=0)).touched == {VECTOR, VECTOR + 98}


@pytest.mark.parametrize("name", ["V_READLANE_B32", "V_READFIRSTLANE_B32"])
def test_a_lane_is_read_into_a_scalar(name: str) -> None:
    """v_readlane_b32 s12, v0, 63: the decoder gives its result as a vector register."""
    decoded = SimpleNamespace(op_bits={"vdst": 32, "src0": 32}, vdst=SimpleNamespace(offset=VECTOR + 12), src0=SimpleNamespace(offset=VECTOR))
    assert emulator_judges.read_access(name, 0, decoded).touched == {12, VECTOR}


def test_memory_repeats_its_block_at_any_offset(tmp_path):
    page = emulator_memory.PAGE
    block = np.random.default_rng(0).integers(0, 256, 3 * page, np.uint8)
    (tmp_path / "block").write_bytes(block.tobytes())
    regions = [emulator_memory.Region(binding=0, offset=offset, bytes=size, block=str(tmp_path / "block"))
               for offset, size in ((64, 100 * page + 8), (200 * page, 70 * page), (300 * page + 64, 40))]
    image = emulator_memory.Image([301 * page], regions)
    for region in regions:
        expected = block[(np.arange(region.bytes) + region.offset % page) % len(block)]
        np.testing.assert_array_equal(image.view(0, region.offset, region.bytes), expected)
    image.view(0, 64, 1)[:] ^= 255  # private: the file stays
    assert (tmp_path / "block").read_bytes() == block.tobytes()
    image.close()


def test_what_no_tensor_covers_cannot_be_accessed(tmp_path):
    page = emulator_memory.PAGE
    (tmp_path / "block").write_bytes(bytes(page))
    child = os.fork()
    if not child:
        faulthandler.disable()
        image = emulator_memory.Image([64 * page], [emulator_memory.Region(binding=0, offset=0, bytes=page, block=str(tmp_path / "block"))])
        image.view(0, 32 * page, 1)[0]  # dies here
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGSEGV


def test_a_slice_knows_its_elements():
    """Rows 1 to 3 and columns 2 to 3 of a 5x4 tensor."""
    tensor = emulator_launch.Tensor(binding=0, offset=0, elements=20, kind="f32", shape=(3, 2), strides=(4, 1), first=6)
    np.testing.assert_array_equal(tensor.array(np.arange(20, dtype=np.float32).view(np.uint8)), [[6, 7], [10, 11], [14, 15]])
    (rows, columns), inside = tensor.locate(np.array([6, 11, 14, 0, 8, 18]))
    np.testing.assert_array_equal(inside, [True, True, True, False, False, False])
    assert list(zip(rows[:3], columns[:3], strict=True)) == [(0, 0), (1, 1), (2, 0)]


def test_settings(tmp_path):
    settings = verify.parse([str(tmp_path), "--emulator", "x", "--budget", "30m"])
    assert settings.budget == 1800 and settings.workgroups == 6
    with pytest.raises(ConfigError, match="at least 1"):
        verify.parse([str(tmp_path), "--emulator", "x", "--workgroups", "0"])
    with pytest.raises(SystemExit):
        verify.parse([str(tmp_path), "--emulator", "x", "--budget", "soon"])


def test_a_missing_emulator_is_an_error(tmp_path):
    from compile.emulator import Emulator
    with pytest.raises(ConfigError, match=r"docs/EMULATOR\.md"):
        Emulator(tmp_path / "absent")


def test_verdicts_survive_a_restart(tmp_path):
    from compile.match_report import Verification
    from ireeperf import document
    found = Verification(verdict="right", reason="", workgroups=2, wave_orders=2, max_error=0.1, tolerance=0.2, emulator="x", object_sha256="y")
    verdict = verify_build.Verdict(verification=found, seconds=1.0, coverage="", misaligned=0)
    document.write(verify_build.Verdicts(verdicts={"key": verdict}), tmp_path / verify_build.NAME)
    assert verify_build.Verifier(tmp_path, tmp_path / verify_build.NAME, 2, 1).verdicts == {"key": verdict}

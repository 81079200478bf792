"""Static figures of kernels and the roofline: parsed from assembly, and by hand-worked sums."""

from __future__ import annotations

import dataclasses

import pytest

from compile import kernel_figures, target
from compile.kernel_figures import Kernel
from compile.roofline import roofline_us
from tests.test_dispatch_ir import matmul, read

KERNEL = """\t.text
{name}:
\tv_mfma_f32_16x16x16_f16 v[0:3], v[4:5], v[6:7], v[0:3]
\tv_mfma_f32_16x16x16_f16 v[0:3], v[4:5], v[6:7], v[0:3]
{more}
\ts_endpgm
\t.amdhsa_kernel {name}
\t\t.amdhsa_group_segment_fixed_size 18432
\t.end_amdhsa_kernel
"""
ENTRY = """  - .agpr_count:     {agprs}
    .args:
      - .offset:         0
        .size:           8
    .group_segment_fixed_size: 18432
    .max_flat_workgroup_size: 256
    .name:           '{name}'
    .private_segment_fixed_size: 16
    .sgpr_spill_count: 0
    .vgpr_count:     {vgprs}
    .vgpr_spill_count: 4
"""


def test_kernels_of_a_linked_file_are_told_apart():
    text = (KERNEL.format(name="a$0", more="\tv_smfmac_f32_16x16x32_f16 v[0:3], v[4:5], v[6:9], v1") + KERNEL.format(name="b$1", more="") +
            "---\namdhsa.kernels:\n" + ENTRY.format(name="a$0", vgprs=142, agprs=8) + ENTRY.format(name="b$1", vgprs=64, agprs=0))
    found = kernel_figures.read_rocmasm(text)
    assert found["a$0"] == Kernel(matrix={"v_mfma_f32_16x16x16_f16": 2, "v_smfmac_f32_16x16x32_f16": 1}, vgprs=142, agprs=8, vgpr_spills=4,
                                  sgpr_spills=0, lds_bytes=18432, scratch_bytes=16, threads=256)
    assert found["b$1"].matrix == {"v_mfma_f32_16x16x16_f16": 2} and found["b$1"].vgprs == 64


def test_ptx_tells_instructions_and_threads_only():
    text = (".visible .entry first(\n)\n.maxntid 128, 2, 1\n{\n\tmma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r1};\n}\n"
            ".visible .entry second(\n)\n.reqntid 64\n{\n}\n")
    found = kernel_figures.read_ptx(text)
    assert found["first"].matrix == {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32": 1} and found["first"].threads == 256
    assert kernel_figures.ptx_name("run_forward$async_dispatch_0") == "run_forward_async_dispatch_0"
    assert found["second"].matrix == {} and found["second"].threads == 64 and found["second"].vgprs is None


@pytest.mark.parametrize(("vgprs", "lds", "threads", "architecture", "waves"), [
    (142, 0, 256, "gfx942", 3.0),  # 512 // 144
    (142, 50688, 256, "gfx942", 1.0),  # one workgroup of 4 waves fits 64 KiB
    (142, 50688, 256, "gfx950", 3.0),  # three fit 160 KiB
    (133, 51200, 512, "gfx942", 2.0),
    (64, 0, 64, "gfx942", 8.0),
    (66, 0, 1024, "gfx942", 4.0),  # 7 waves by registers, whole workgroups of 16 waves: 4 a SIMD
])
def test_occupancy_is_bounded_by_registers_lds_and_whole_workgroups(vgprs, lds, threads, architecture, waves):
    kernel = Kernel(vgprs=vgprs, lds_bytes=lds, threads=threads)
    assert kernel_figures.occupancy(kernel, architecture) == waves
    assert kernel_figures.occupancy(kernel, "gfx1100") is None


def test_fill_is_the_share_of_units_at_work():
    assert kernel_figures.fill(320, 304) == 320 / 608
    assert kernel_figures.fill(38, 38) == 1.0


def test_roofline_takes_the_largest_of_three_times():
    chip = target.find("mi325x-cpx").chip
    assert chip is not None
    small = read(matmul())  # 1,024 FLOPs, 576 bytes: bound by memory
    assert roofline_us(small, chip) == pytest.approx(576 / (6e12 / 8) * 1e6, abs=1e-4)
    large = dataclasses.replace(small, flops=10**12, matrix_flops=10**12)
    assert roofline_us(large, chip) == pytest.approx(1e12 / (1307.4e12 / 8) * 1e6, rel=1e-6)
    assert roofline_us(dataclasses.replace(large, matrix_type="f8E4M3FNUZ"), chip) == pytest.approx(1e12 / (2614.9e12 / 8) * 1e6, rel=1e-6)
    assert roofline_us(dataclasses.replace(large, matrix_flops=0), chip) == pytest.approx(1e12 / (163.4e12 / 8) * 1e6, rel=1e-6)
    assert roofline_us(dataclasses.replace(large, matrix_type="f64"), chip) is None
    assert roofline_us(dataclasses.replace(large, dynamic=True), chip) is None and roofline_us(large, None) is None


@pytest.mark.parametrize(("mnemonic", "wanted"), [
    ("v_mfma_f32_16x16x16_f16", "f16"), ("v_mfma_i32_16x16x32_i8", "i8"), ("v_mfma_f32_32x32x16_fp8_fp8", "fp8"),
    ("v_mfma_f32_32x32x64_f8f6f4", "fp8"), ("v_mfma_f32_16x16x4_f32", "f32"), ("v_mfma_f32_16x16x16_bf16_1k", "bf16"),
    ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "f16"),
])
def test_what_a_matrix_instruction_multiplies(mnemonic, wanted):
    assert kernel_figures.operand_type(mnemonic) == wanted

"""Static figures of GPU kernels, read off the assembly that the compiler leaves (.rocmasm, .ptx): nothing is run.

Counts are of instructions in the text. The occupancy bound is that of registers and LDS on CDNA3 and CDNA4, after LLVM's
AMDGPU back end (llvm/lib/Target/AMDGPU/Utils/AMDGPUBaseInfo.cpp, IsaInfo): a SIMD has 512 VGPRs, which AGPRs share and of which a
wave takes a multiple of 8, and at most 8 waves; a compute unit has 4 SIMDs and 64 KiB (gfx942) or 160 KiB (gfx950) of LDS.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from compile import dumps
from compile.match_report import StaticFigures

_VGPRS, _VGPR_GRANULE, _MAX_WAVES, _SIMDS, _WAVE = 512, 8, 8, 4, 64
# LDS of a compute unit and the granule that a workgroup's share is rounded up to, in bytes
_LDS = {"gfx942": (65536, 512), "gfx950": (163840, 1280)}
_MATRIX = re.compile(r"^\s*(v_(?:mfma|smfmac)_\w+)", re.MULTILINE)
_KERNEL = re.compile(r"^\s*\.amdhsa_kernel\s+\"?([^\s\"]+)", re.MULTILINE)
_METADATA = re.compile(r"^  - (?=\.agpr_count:)", re.MULTILINE)
_ENTRY = re.compile(r"^\.visible \.entry (\S+)\(", re.MULTILINE)
_MMA = re.compile(r"^\s*((?:wmma\.mma|mma|wgmma\.mma_async)\.sync\S*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel's own figures. None: what the assembly does not tell (PTX has no physical registers)."""

    matrix: dict[str, int] = field(default_factory=dict)  # matrix instructions by mnemonic
    vgprs: int | None = None  # with AGPRs, as a wave allocates them
    agprs: int | None = None
    vgpr_spills: int | None = None
    sgpr_spills: int | None = None
    lds_bytes: int | None = None
    scratch_bytes: int | None = None
    threads: int


def read(path: Path) -> dict[str, Kernel]:
    """Kernels of the dumps `path` (compile/dumps.py) by name; empty for targets without assembly."""
    found: dict[str, Kernel] = {}
    for name in dumps.names(path, "assembly"):
        text = dumps.read(path, f"assembly/{name}").decode()
        found |= read_ptx(text) if name.endswith(".ptx") else read_rocmasm(text)
    return found


def of_dispatch(kernels: dict[str, Kernel], dispatch: str) -> Kernel | None:
    """The kernel of `dispatch`, by its name in AMD's or in NVIDIA's assembly."""
    return kernels.get(dispatch) or kernels.get(ptx_name(dispatch))


def read_rocmasm(text: str) -> dict[str, Kernel]:
    """Kernels of a .rocmasm by name, whether it holds one dispatch or the whole linked executable."""
    matrix, start = {}, 0
    for found in _KERNEL.finditer(text):
        matrix[found[1]] = dict(Counter(_MATRIX.findall(text, start, found.start())))
        start = found.end()
    kernels = {}
    for entry in _METADATA.split(text)[1:]:
        values = dict(re.findall(r"^ *\.(\w+): +'?([^'\n]+)'?$", entry, re.MULTILINE))
        kernels[values["name"]] = Kernel(
            matrix=matrix.get(values["name"], {}), vgprs=int(values["vgpr_count"]), agprs=int(values["agpr_count"]),
            vgpr_spills=int(values["vgpr_spill_count"]), sgpr_spills=int(values["sgpr_spill_count"]),
            lds_bytes=int(values["group_segment_fixed_size"]), scratch_bytes=int(values["private_segment_fixed_size"]),
            threads=int(values["max_flat_workgroup_size"]))
    return kernels


def read_ptx(text: str) -> dict[str, Kernel]:
    """Kernels of a .ptx by name. Registers and spills are ptxas's to choose, on the machine that loads it: None."""
    starts = list(_ENTRY.finditer(text))
    kernels = {}
    for found, following in zip(starts, [*starts[1:], None], strict=True):
        body = text[found.start():following.start() if following else len(text)]
        threads = re.search(r"\.(?:req|max)ntid (\d+)(?:, (\d+))?(?:, (\d+))?", body)
        kernels[found[1]] = Kernel(matrix=dict(Counter(_MMA.findall(body))),
                                   threads=math.prod(int(size or 1) for size in threads.groups()) if threads else 0)
    return kernels


def operand_type(mnemonic: str) -> str:
    """What a matrix instruction multiplies: f16 of v_mfma_f32_16x16x16_f16 and of mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32."""
    if not mnemonic.startswith("v_"):
        return mnemonic.split(".")[-3]
    last = mnemonic.removesuffix("_1k").split("_")[-1]
    return "fp8" if last == "f8f6f4" else last  # gfx950 names its widths in operands; this project has FP8 only


def ptx_name(dispatch: str) -> str:
    """A dispatch's name in PTX, where only letters, digits and underscores stand: run_forward$async_... is run_forward_async_..."""
    return re.sub(r"\W", "_", dispatch)


def occupancy(kernel: Kernel, architecture: str) -> float | None:
    """Waves a SIMD can hold at most, by VGPRs, LDS and whole workgroups; None when the architecture's sizes are not stated here.

    SGPRs, barriers and the launch rate are left out: it is a bound, not what will be resident.
    """
    if architecture not in _LDS or kernel.vgprs is None or kernel.lds_bytes is None:
        return None
    lds, granule = _LDS[architecture]
    registers = max(math.ceil(kernel.vgprs / _VGPR_GRANULE), 1) * _VGPR_GRANULE
    waves = max(math.ceil(kernel.threads / _WAVE), 1)  # of a workgroup
    workgroups = min(_VGPRS // registers, _MAX_WAVES) * _SIMDS / waves
    if kernel.lds_bytes:
        workgroups = min(workgroups, lds // (math.ceil(kernel.lds_bytes / granule) * granule))
    whole = math.floor(workgroups) or workgroups  # a workgroup that exceeds the registers at full width is told as a fraction
    return whole * waves / _SIMDS


def fill(workgroups: int, compute_units: int) -> float:
    """Share of the compute units that work, averaged over the rounds in which `workgroups` are dealt out one to a unit."""
    return workgroups / (math.ceil(workgroups / compute_units) * compute_units)


def static_figures(kernel: Kernel, architecture: str, workgroups: int | None, compute_units: int | None) -> StaticFigures:
    """What the match report keeps of a kernel."""
    return StaticFigures(
        matrix_instructions=sum(kernel.matrix.values()), matrix_mnemonics=kernel.matrix, vgprs=kernel.vgprs, agprs=kernel.agprs,
        vgpr_spills=kernel.vgpr_spills, sgpr_spills=kernel.sgpr_spills, lds_bytes=kernel.lds_bytes, scratch_bytes=kernel.scratch_bytes,
        workgroup_threads=kernel.threads, occupancy=occupancy(kernel, architecture), workgroups=workgroups,
        fill=fill(workgroups, compute_units) if workgroups and compute_units else None)

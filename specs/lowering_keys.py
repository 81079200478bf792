"""Names that IREE 3.13 knows: pipelines, lowering_config keys, options, matrix instructions. The compiler takes an unknown one silently.

Where each table is from (IREE 3.13.0rc20261016; sources as of August 2026, every name rendered and read back by iree-opt in a test):
    MMA, LDS_BYTES       the #iree_gpu.target attribute that `iree-compile --compile-to=preprocessing` prints for the architecture
    VIRTUAL_MMA          the enum VirtualMMAIntrinsic of the GPU dialect (IREEGPUEnums.td), split by the generation it names
    PIPELINES, TILINGS   the enums LoweringPipeline and TilingLevel of the GPU and CPU dialects
    KEYS, OPTIONS        the key constants of GPULoweringConfigUtils.cpp, IREEGPUAttrs.cpp and IREECPUAttrs.cpp; pipeline_options' own parser
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from typing import Any

from ireeperf.errors import ConfigError

PIPELINES = {
    "gpu": ("TileAndFuse", "VectorDistribute", "Distribute", "Vectorize", "BaseLowering", "WinogradVectorize"),
    "cpu": ("DoubleTilingExpert", "ConvTileAndDecomposeExpert", "Mmt4dTilingExpert", "BufferOpsTileAndVectorize", "DataTiling",
            "LinalgExtTileAndVectorize"),
}
TILINGS = {
    "gpu": ("workgroup", "reduction", "partial_reduction", "serial", "thread", "subgroup", "lane"),
    "cpu": ("distribution", "cache_parallel", "cache_reduction", "vector_common_parallel", "vector_reduction", "vector_inner_parallel"),
}
KEYS = {
    "gpu": (*TILINGS["gpu"], "mma_kind", "subgroup_basis", "lane_basis", "promote_operands", "promotion_types", "padding", "padding_conv",
            "convert_acc_gemm"),
    "cpu": TILINGS["cpu"],
}
OPTIONS = {
    "gpu": ("prefetch_num_stages", "no_reduce_shared_memory_bank_conflicts", "use_igemm_convolution", "reorder_workgroups_strategy"),
    "cpu": (),
}
ATTRIBUTES = {"gpu": ("llvm_func_attrs", "denormal_fp_math_f32", "shared_memory_padding_bits"), "cpu": ()}
PADDING_MARK = "ireeperf.shared_memory_padding_bits"  # ours, for compile/bank_padding.py; IREE ignores it
DECOMPOSITION = ("qk_attrs", "pv_attrs")
PROMOTIONS = ("derived_thread_config", "use_global_load_dma")
LDS_BYTES = {"gfx942": 65536, "gfx950": 163840, "sm_80": 166912, "sm_89": 101376}  # max_workgroup_memory_bytes
SUBGROUP_SIZE = {"gfx942": 64, "gfx950": 64, "sm_80": 32, "sm_89": 32}  # subgroup_size_choices: one each
WORKGROUP_THREADS = 1024  # max_thread_count_per_workgroup, all of them


def _fp8(prefix: str, kinds: tuple[str, str]) -> tuple[str, ...]:
    """The four pairs of two 8-bit float types; equal ones are named once."""
    return tuple(f"{prefix}_{a}" if a == b else f"{prefix}_{a}_{b}" for a in kinds for b in kinds)


_CDNA3 = (
    "MFMA_F32_16x16x16_F16", "MFMA_F32_32x32x8_F16", "MFMA_F32_16x16x16_BF16", "MFMA_F32_32x32x8_BF16", "MFMA_I32_16x16x32_I8",
    "MFMA_I32_32x32x16_I8", "MFMA_F64_16x16x4_F64", "MFMA_F32_16x16x4_F32", "MFMA_F32_4x4x4x16B_F16", "MFMA_F32_16x16x4x4B_F16",
    "MFMA_F32_32x32x4x2B_F16", "MFMA_F32_4x4x4x16B_BF16", "MFMA_F32_16x16x4x4B_BF16", "MFMA_F32_32x32x4x2B_BF16",
    "MFMA_F32_4x4x1x16B_F32", "MFMA_F32_16x16x1x4B_F32", "MFMA_F32_32x32x1x2B_F32", "MFMA_F64_4x4x4x4B_F64", "MFMA_I32_4x4x4x16B_I8",
    "MFMA_I32_16x16x4x4B_I8", "MFMA_I32_32x32x4x2B_I8",
)
_NV = ("NV_MMA_SYNC_F32_16x8x16_F16", "NV_MMA_SYNC_F16_16x8x16_F16", "NV_MMA_SYNC_F32_16x8x16_BF16", "NV_WMMA_F32_16x16x16_F16",
       "NV_WMMA_F16_16x16x16_F16")
_FNUZ, _FN = ("F8E5M2FNUZ", "F8E4M3FNUZ"), ("F8E5M2", "F8E4M3FN")
MMA = {
    "gfx942": (*_CDNA3, *_fp8("MFMA_F32_16x16x32", _FNUZ), *_fp8("MFMA_F32_32x32x16", _FNUZ)),
    "gfx950": (*_CDNA3, "MFMA_F32_16x16x32_F16", "MFMA_F32_32x32x16_F16", "MFMA_F32_16x16x32_BF16", "MFMA_F32_32x32x16_BF16",
               "MFMA_I32_16x16x64_I8", "MFMA_I32_32x32x32_I8", *_fp8("MFMA_F32_16x16x32", _FN), *_fp8("MFMA_F32_32x32x16", _FN),
               *_fp8("MFMA_F32_16x16x128", _FN), *_fp8("MFMA_F32_32x32x64", _FN)),
    "sm_80": _NV,
    "sm_89": (*_NV, "NV_MMA_SYNC_F32_16x8x32_F8E4M3FN", "NV_MMA_SYNC_F32_16x8x32_F8E5M2"),
}
VIRTUAL_MMA = {
    "gfx942": ("VMFMA_F32_16x16x32_F16", "VMFMA_F32_32x32x16_F16", "VMFMA_F32_16x16x32_F8E4M3FNUZ", "VMFMA_F32_32x32x16_F8E4M3FNUZ",
               "VDMFMA_F32_8x16x64x2_F16", "VDMFMA_F32_8x16x64x2_BF16", "VDMFMA_I32_8x16x128x2_I8", *_fp8("VDMFMA_F32_8x16x128x2", _FNUZ)),
    "gfx950": ("VMFMA_F32_16x16x32_F16", "VMFMA_F32_32x32x16_F16", "VDMFMA_F32_8x16x64x1_F16", "VDMFMA_F32_8x16x64x1_BF16",
               "VDMFMA_I32_8x16x128x1_I8", *_fp8("VDMFMA_F32_8x16x128x1", _FN)),
    "sm_80": (), "sm_89": (),
}
_PRODUCTS = {"mi300x": "gfx942", "mi325x": "gfx942", "mi355x": "gfx950"}
_SHAPE = re.compile(r"_(\d+)x(\d+)x(\d+)(?:x(\d+)(B?))?_")


def architecture(target: str) -> str:
    """What the target (compile/target.py) compiles for: gfx942, gfx950, sm_80, sm_89, or cpu. ConfigError when it is none of these."""
    name = target.partition("-")[0]
    found = _PRODUCTS.get(name, name)
    if found == "cpu" or found in MMA:
        return found
    raise ConfigError(f"target {target!r} has no table of names; known are cpu, {', '.join([*_PRODUCTS, *MMA])}, and partitions of them")


def family(target: str) -> str:
    """gpu or cpu: which dialect's attributes the target takes."""
    return "cpu" if architecture(target) == "cpu" else "gpu"


def known(name: str, names: Collection[str], what: str) -> None:
    """ConfigError with the nearest of `names` unless `name` is one of them."""
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        raise ConfigError(f"{what} {name!r} is unknown to IREE 3.13; " +
                          (f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(names) or 'none'}"))


def all_known(found: Iterable[str], names: Collection[str], what: str) -> None:
    """ConfigError at the first of `found` that is not one of `names`."""
    for name in found:
        known(name, names, what)


def mma_name(kind: Any) -> str:
    """The intrinsic of an mma_kind: a name, or {intrinsic = name, col_major = true}."""
    if isinstance(kind, dict):
        all_known(kind, ("intrinsic", "col_major"), "key of mma_kind")
        kind = kind.get("intrinsic")
    if not isinstance(kind, str):
        raise ConfigError(f"mma_kind is {kind!r}; expected the name of an intrinsic, or a table with intrinsic and col_major")
    return kind


def mma_shape(name: str) -> tuple[int, int, int]:
    """M, N and K of one instruction, from its name. Of a block instruction (4x4x4x16B: 16 blocks) the shape of one block."""
    found = _SHAPE.search(name)
    if found is None:
        raise ConfigError(f"mma_kind {name!r} names no shape")
    m, n, k = (int(found[group]) for group in (1, 2, 3))
    return m, n, k

"""Roofline: the least time that a dispatch can take on a target, from its peak rates. A bound to order work by, not a prediction.

Peaks are those of compile/target.py (AMD's product pages, a partition's share of them). For MI325X's bandwidth AMD's page says
6.0 TB/s and IREE 3.13's chip table 5.3, which is MI300X's: the product page is taken, for it is of the product; with 5.3 the
memory-bound part of a sum grows by 13 %.
"""

from __future__ import annotations

from compile.dispatch_ir import Dispatch
from compile.target import Chip

# AMD's MLPerf v5.1 Offline SDXL on MI325X in CPX: seconds for one batch of one partition, by batch size (SHARK-MLPERF, int8/FP8)
AMD_SECONDS = {("mi325x-cpx", 32): 107.57, ("mi325x-cpx", 2): 6.86}
_RATES = (("f8", "fp8"), ("i8", "int8"), ("i4", "int8"), ("f16", "fp16"), ("bf16", "fp16"), ("f32", "fp32"))


def roofline_us(dispatch: Dispatch, chip: Chip | None) -> float | None:
    """Microseconds of one call: the largest of its matrix FLOPs at the peak of their type, its other FLOPs at the FP32 vector peak
    and its bytes at the bandwidth, for these overlap. None: no chip, a dynamic size, or a type without a stated peak."""
    if chip is None or dispatch.dynamic:
        return None
    seconds = [dispatch.bytes / (chip.bandwidth_tbps * 1e12), (dispatch.flops - dispatch.matrix_flops) / (chip.tflops["fp32"] * 1e12)]
    if dispatch.matrix_flops:
        rate = next((name for prefix, name in _RATES if (dispatch.matrix_type or "").startswith(prefix)), None)
        if rate is None:
            return None
        seconds.append(dispatch.matrix_flops / (chip.tflops[rate] * 1e12))
    return round(max(seconds) * 1e6, 4)

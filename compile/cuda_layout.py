"""Dispatches that IREE 3.13 computes wrongly on CUDA: float16 contractions whose accumulator lies transposed (docs/CUDA.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compile.dispatch_ir import Dispatch
from ireeperf.errors import CompileError
from specs.match import Match, uses

# of 3.13's instructions the ones whose results lie 2 x 2 in a thread
_INSTRUCTION = "NV_MMA_SYNC_"
_PIPELINE = re.compile(r"#iree_gpu\.pipeline<TileAndFuse>")


def miscompiled(dispatches: Sequence[Dispatch]) -> list[str]:
    """A message for each of `dispatches` that comes out wrong: TileAndFuse with mma.sync, and the row of the instruction (the innermost
    loop of the left operand alone) further in the result than its column."""
    return [f"{one.name} ({one.calls} calls): {one.match.maps[0]}, {one.match.maps[1]}, result {one.match.maps[-1]}" for one in dispatches
            if one.match is not None and _INSTRUCTION in one.configuration and _PIPELINE.search(one.configuration) and transposed(one.match)]


def refuse(dispatches: Sequence[Dispatch]) -> None:
    """CompileError that names what of `dispatches` would come out wrong."""
    if wrong := miscompiled(dispatches):
        raise CompileError(f"IREE 3.13 computes {len(wrong)} dispatch(es) wrongly on CUDA (docs/CUDA.md); use float32, or a layout in which "
                           "the result's last dimension is the right operand's:\n  " + "\n  ".join(wrong))


def transposed(match: Match) -> bool:
    """Whether a contraction's result has its rows inside of its columns: (d0, d2, d3), (d1, d3) -> (d0, d1, d2)."""
    rows, columns = match.roles.get("m", ()), match.roles.get("n", ())
    if match.kind != "contraction" or not rows or not columns:
        return False
    place = {loop: index for index, part in enumerate(uses(match.maps[-1])) for loop in part}
    return place[rows[-1]] > place[columns[-1]]

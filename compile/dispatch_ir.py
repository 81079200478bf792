"""Dispatches of an executable, read from its dumps (compile/dumps.py) with IREE's bindings.

Importing this module is cheap; reading loads iree.compiler.ir, which knows every dialect of the compiler.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile import dispatch_hash, dispatch_ops, dumps
from compile.dispatch_ops import MATRIX, DispatchKind, Operation
from ireeperf.errors import CompileError
from specs.match import Match

_FUNCTION = re.compile(r"util\.func (?:public |private )?@\"?([\w$.]+)")
_LAUNCH = re.compile(r"stream\.cmd\.dispatch\s+\{?@\"?[\w$.\-]+\"?(?:::@\"?[\w$.\-]+\"?)*::@\"?([\w$.\-]+)")
_LOADS = ("iree_codegen.load_from_buffer", "iree_tensor_ext.dispatch.tensor.load")
_STORES = ("iree_codegen.store_to_buffer", "iree_tensor_ext.dispatch.tensor.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """One kernel: what it computes, moves and was configured to. FLOPs and bytes are of one call, dynamic sizes counted as one."""

    name: str
    kind: DispatchKind
    match: Match | None  # of the root operation
    matches: tuple[Match, ...]  # of all operations that a record could be for, the root's among them
    shape: tuple[int, ...]  # loop sizes of the root operation
    types: tuple[str, ...]
    flops: int
    matrix_flops: int  # of contractions, convolutions and attention
    matrix_type: str | None  # the wider of their two inputs' element types
    bytes: int  # each operand and result once; of a table that is only looked up, what is looked up
    dynamic: bool  # some size is known at run time only
    calls: int  # with each entry point invoked once; initializers excluded
    calls_by_entry_point: dict[str, int]
    workgroups: int | None  # of one launch; None: known at run time only, or not read
    configuration: str  # translation_info and the root's lowering_config; empty: none
    tuned_by: str | None
    source_sha256: str
    configured_text: str


def dispatches(path: Path) -> tuple[Dispatch, ...]:
    """All dispatches of the dumps `path` in program order. CompileError when a member cannot be read or parsed."""
    launches = calls(dumps.read(path, dumps.STREAM).decode())
    found = [read(dumps.read(path, f"configured/{file}").decode(), file.removesuffix(".mlir"), launches)
             for file in dumps.names(path, "configured")]
    order = {name: index for index, name in enumerate(launches)}
    return tuple(sorted(found, key=lambda one: (order.get(one.name, len(order)), _natural(one.name))))


def calls(stream: str) -> dict[str, dict[str, int]]:
    """Launches of each dispatch by entry point, from the stream phase's text. An initializer's are there with no entry point:
    they run once at load. Programs of this project have no loops around launches, so sites are calls."""
    found: dict[str, dict[str, int]] = {}
    function: str | None = None
    for line in stream.splitlines():
        if "util.initializer" in line:
            function = None
        elif (header := _FUNCTION.search(line)) is not None:
            function = header[1].removesuffix("$async")
        if (launch := _LAUNCH.search(line)) is not None:
            sites = found.setdefault(launch[1], {})
            if function is not None:
                sites[function] = sites.get(function, 0) + 1
    return found


def read(text: str, name: str, launches: dict[str, dict[str, int]] | None = None) -> Dispatch:
    """The dispatch `name` of the configured executable `text`; CompileError when the text cannot be parsed or lacks it."""
    from iree.compiler import ir
    with ir.Context():
        try:
            module = ir.Module.parse(text)
        except ir.MLIRError as error:
            raise CompileError(f"cannot parse the dump of {name}: {' '.join(str(error).split()):.200}; was it made by another compiler? "
                               "compile again with ./compile/precompile.py") from error
        function = next((found for found in dispatch_ops.walk(module.operation) if found.name == "func.func" and
                         found.attributes["sym_name"].value == name), None)
        if function is None:
            raise CompileError(f"the dump of {name} holds no function of that name; compile again with ./compile/precompile.py")
        return _dispatch(function, _counted(module.operation, name), text, name, (launches or {}).get(name, {}))


def _dispatch(function: Any, counted: int | None, text: str, name: str, sites: dict[str, int]) -> Dispatch:
    operations = [(one, _executions(found)) for found in dispatch_ops.walk(function) if (one := dispatch_ops.read(found)) is not None]
    root = _root([one for one, _ in operations])
    matrix = [(one, times) for one, times in operations if one.kind in MATRIX]
    largest = max(matrix, key=lambda pair: pair[0].flops * pair[1], default=(None, 0))[0]
    moved, dynamic = _moved(function)
    translation = function.attributes.get("translation_info", "")
    config = root.lowering_config if root else ""
    return Dispatch(
        name=name, kind=_kind(function, root), match=root.match if root else None,
        matches=tuple(one.match for one, _ in operations if one.match), shape=root.loops if root else (), types=root.types if root else (),
        flops=sum(one.flops * times for one, times in operations), matrix_flops=sum(one.flops * times for one, times in matrix),
        matrix_type=_wider(largest) if largest else None, bytes=moved,
        dynamic=dynamic or any(size < 0 for one, _ in operations for size in one.loops), calls=sum(sites.values()),
        calls_by_entry_point=sites, workgroups=counted or (_tiled(root) if root else None),
        configuration=" ".join(part for part in (str(translation), config) if part),
        tuned_by=next((one.tuned_by for one, _ in operations if one.tuned_by), None), source_sha256=dispatch_hash.sha256(function),
        configured_text=text)


def _counted(module: Any, name: str) -> int | None:
    """Workgroups as the export's count region says, where it is of constants (the usual count is left to code generation)."""
    export = next((found for found in dispatch_ops.walk(module) if found.name == "hal.executable.export" and
                   found.attributes["sym_name"].value == name), None)
    returned = [found for found in dispatch_ops.walk(export) if found.name == "hal.return"] if export else []
    sizes = [operand.owner for found in returned for operand in found.operands]
    if not sizes or any(getattr(owner, "name", "") != "arith.constant" for owner in sizes):
        return None
    return math.prod(owner.attributes["value"].value for owner in sizes)


def _tiled(root: Operation) -> int | None:
    """Workgroups by the root's tiles: its loops, which implicit-GEMM convolutions share up to the reduced ones, over `workgroup`."""
    found = re.search(r"(?:workgroup|distribution) = \[([\d, ]*)\]", root.lowering_config)
    tiles = [int(part) for part in found[1].split(",") if part.strip()] if found else []
    if not tiles or len(tiles) > len(root.loops) or any(tile and size < 0 for tile, size in zip(tiles, root.loops, strict=False)):
        return None
    return math.prod(-(-size // tile) for tile, size in zip(tiles, root.loops, strict=False) if tile)


def _root(operations: list[Operation]) -> Operation | None:
    """The operation that a configuration is chosen for: the tuned one, else the matrix operation with most FLOPs, else the reduction
    that distributes over workgroups, else the largest of the rest."""
    def rank(one: Operation) -> tuple[bool, int, bool, int]:
        level = 2 if one.kind in MATRIX else 1 if one.kind == "reduction" else 0
        return one.tuned_by is not None, level, level < 2 and one.is_root, max(one.flops, dispatch_ops.volume(one.loops))
    return max(operations, key=rank, default=None)


def _kind(function: Any, root: Operation | None) -> DispatchKind:
    """The root's kind; without a root a copy, unless an operation of IREE's extensions (scatter, sort, ...) does the work."""
    if any(found.name.startswith("iree_linalg_ext.") and found.name not in dispatch_ops.ATTENTION and
           found.name not in ("iree_linalg_ext.yield", "iree_linalg_ext.index") for found in dispatch_ops.walk(function)):
        return root.kind if root and root.kind in MATRIX else "other"
    return root.kind if root else "copy"


def _wider(one: Operation) -> str:
    """The wider of the two factors' types: an int8 weight beside float16 activations is multiplied in float16."""
    return max(one.types[:2], key=lambda name: int((re.search(r"\d+", name) or [0])[0]))


def _moved(function: Any) -> tuple[int, bool]:
    """Bytes loaded and stored, and whether a size among them is dynamic."""
    total, dynamic = 0, False
    for found in dispatch_ops.walk(function):
        if found.name.startswith("linalg.") and not found.results and found.name != "linalg.yield":  # on buffers: a plain copy
            total += sum(_bytes(operand.type) for operand in found.operands if hasattr(operand.type, "rank"))
            continue
        if found.name in _LOADS:
            value, size = found.results[0], _looked_up(found.results[0])
        elif found.name in _STORES:
            value, size = found.operands[0], None
        else:
            continue
        whole = _bytes(value.type)
        total += whole if size is None else min(whole, size)
        dynamic = dynamic or not value.type.has_static_shape
    return total, dynamic


def _looked_up(value: Any) -> int | None:
    """Bytes read of a tensor that is only looked up or sliced; None when something reads all of it."""
    total = 0
    for use in value.uses:
        owner = use.owner.operation if hasattr(use.owner, "operation") else use.owner
        if owner.name == "tensor.extract":
            around = dispatch_ops.read(owner.parent.operation)
            total += (dispatch_ops.volume(around.loops) if around else 1) * dispatch_ops.element_bits(value.type.element_type) // 8
        elif owner.name in ("tensor.extract_slice", "iree_linalg_ext.gather"):
            total += _bytes(owner.results[0].type)
        else:
            return None
    return total


def _bytes(kind: Any) -> int:
    shape = [-1 if kind.is_dynamic_dim(i) else kind.get_dim_size(i) for i in range(kind.rank)]
    return -(-dispatch_ops.volume(shape) * dispatch_ops.element_bits(kind.element_type) // 8)


def _executions(operation: Any) -> int:
    """How often `operation` runs in one call: the static trip counts of the scf.forall loops around it (split reductions have one)."""
    times, around = 1, operation.parent
    while around is not None:
        found = around.operation
        if found.name == "scf.forall":
            bounds = [list(found.attributes[f"static{name}"]) for name in ("LowerBound", "UpperBound", "Step")]
            for lower, upper, step in zip(*bounds, strict=True):
                times *= max(-(-(upper - lower) // step), 1) if min(lower, upper, step) >= 0 else 1
        around = found.parent
    return times


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key: numbers in a name by value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]

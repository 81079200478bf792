"""One structured operation of a dispatch, read with IREE's bindings: what it computes, over which loops, with how many FLOPs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from specs.match import Match, uses

DispatchKind = Literal["contraction", "convolution", "attention", "reduction", "elementwise", "copy", "other"]
MATRIX = ("attention", "convolution", "contraction")  # what matrix instructions are for
ATTENTION = ("iree_linalg_ext.online_attention", "iree_linalg_ext.attention")
_DYNAMIC = -1
# One FLOP an operation, of floats and of integers alike (an int8 matmul counts as a float16 one does, as vendors' peaks do);
# conversions, comparisons, selects and index arithmetic count nothing
_ARITHMETIC = frozenset(f"arith.{name}" for name in (
    "addf", "subf", "mulf", "divf", "negf", "remf", "maximumf", "minimumf", "maxnumf", "minnumf", "addi", "subi", "muli", "divsi", "divui",
    "maxsi", "maxui", "minsi", "minui"))
_CASTS = frozenset(f"arith.{name}" for name in ("extf", "truncf", "extsi", "extui", "trunci", "sitofp", "uitofp", "fptosi", "fptoui", "bitcast"))
_SOFTMAX_FLOPS = 5  # an element: maximum, subtract, exponential, sum, divide


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One linalg or attention operation. `flops` of one execution; a loop of unknown size counts as one iteration."""

    kind: DispatchKind
    match: Match | None  # None: not of a kind that records match
    loops: tuple[int, ...]
    types: tuple[str, ...]
    flops: int
    lowering_config: str  # as text; empty: none
    tuned_by: str | None
    is_root: bool  # its configuration distributes the dispatch over workgroups


def walk(operation: Any) -> Iterator[Any]:
    """`operation` and everything in it, in program order."""
    yield operation
    for region in operation.regions:
        for block in region.blocks:
            for inner in block:
                yield from walk(inner.operation)


def functions(operation: Any) -> Iterator[Any]:
    """Every func.func within `operation`."""
    return (found for found in walk(operation) if found.name == "func.func")


def read(operation: Any) -> Operation | None:
    """`operation` (iree.compiler.ir.Operation) as an Operation; None when it is none of linalg's or attention's, or only fills."""
    name = operation.name
    if name in ATTENTION:
        return _attention(operation)
    if name == "linalg.softmax":
        types, shape = _types(operation), tuple(_shape(operation.operands[0]))
        return _operation(operation, kind="reduction", match=None, loops=shape, types=types, flops=_SOFTMAX_FLOPS * volume(shape))
    if name.startswith("linalg.") and len(operation.regions) == 1 and name not in ("linalg.fill", "linalg.index", "linalg.yield"):
        return _structured(operation)
    return None


def volume(shape: tuple[int, ...] | list[int]) -> int:
    """Elements of `shape`; a dynamic size (negative) counts as one."""
    return math.prod(max(size, 1) for size in shape)


def element_bits(kind: Any) -> int:
    """Bits of an element type; complex has two."""
    from iree.compiler import ir
    if isinstance(kind, ir.ComplexType):
        return 2 * element_bits(kind.element_type)
    return 64 if isinstance(kind, ir.IndexType) else int(kind.width)


def _attention(operation: Any) -> Operation:
    """FLOPs are those of the two matrix products, 2 b m k2 (k1 + n): the count of FlashAttention-2 (arXiv 2307.08691, section 4.1)."""
    maps, types = _maps(operation), _types(operation)
    match = Match(kind="attention", types=types, maps=maps, dims=_loops(operation, maps))
    size = {role: volume([match.dims[i] for i in indices]) for role, indices in match.roles.items()}
    flops = 2 * size["batch"] * size["m"] * size["k2"] * (size["k1"] + size["n"])
    return _operation(operation, kind="attention", match=match, loops=match.dims, types=types, flops=flops)


def _structured(operation: Any) -> Operation:
    """A linalg operation: loop sizes times the arithmetic in its body, 2 for a multiply-add."""
    maps, types = _maps(operation), _types(operation)
    loops = _loops(operation, maps)
    inputs, block = _inputs(operation), operation.regions[0].blocks[0]
    kind = _kind(block, maps, inputs, len(loops))
    body = [found.operation.name for found in block][:-1]
    match = None
    if kind == "contraction" or kind == "convolution":
        match = Match(kind=kind, types=types, maps=maps, dims=loops)
    elif kind == "reduction":
        match = Match(kind=kind, types=types, maps=maps, dims=loops, body=" ".join(name.split(".", 1)[1] for name in body))
    return _operation(operation, kind=kind, match=match, loops=loops, types=types, flops=volume(loops) * sum(_flops(found) for found in block))


def _operation(operation: Any, **values: Any) -> Operation:
    attributes = operation.attributes
    config = str(attributes["lowering_config"]) if "lowering_config" in attributes else ""
    if "decomposition_config" in attributes:
        config += f" decomposition {attributes['decomposition_config']}"
    tuned_by = attributes["tuned_by"].value if "tuned_by" in attributes else None
    return Operation(lowering_config=config, tuned_by=tuned_by, is_root="workgroup = " in config or "distribution = " in config, **values)


def _kind(block: Any, maps: tuple[str, ...], inputs: int, loops: int) -> DispatchKind:
    """What a body over `maps` computes. A contraction sums products of two values that come from different inputs, share a summed
    loop, and of which one has a loop that the other lacks; where an input's index adds two loops it is a convolution."""
    written = {index for text in maps[inputs:] for part in uses(text) for index in part} if loops else set()
    reduced = set(range(loops)) - written
    if not reduced:
        return "elementwise" if len(list(block)) > 1 else "copy"
    factors = _factors(block, inputs)
    if factors is None:
        return "reduction"
    left, right = ({index for i in side for part in uses(maps[i]) for index in part} for side in factors)
    if not (reduced & left & right) or not ((left ^ right) & written):
        return "reduction"
    return "convolution" if any(len(part) > 1 for text in maps[:inputs] for part in uses(text)) else "contraction"


def _factors(block: Any, inputs: int) -> tuple[frozenset[int], frozenset[int]] | None:
    """The inputs that make up either factor of the product which the body adds to its accumulator; None when it does not."""
    sources: dict[Any, frozenset[int]] = {argument: frozenset({i}) for i, argument in enumerate(block.arguments)}
    producers: dict[Any, Any] = {}
    for view in block:
        found = view.operation
        reached = frozenset().union(*(sources.get(operand, frozenset()) for operand in found.operands))
        for result in found.results:
            sources[result], producers[result] = reached, found
    added = _through_casts(view.operation.operands[0], producers)  # of the yield
    if added is None or added.name not in ("arith.addf", "arith.addi"):
        return None
    for accumulator, product in (tuple(added.operands), tuple(added.operands)[::-1]):
        found = _through_casts(product, producers)
        if found is None or found.name not in ("arith.mulf", "arith.muli") or not _only_outputs(sources[accumulator], inputs):
            continue
        left, right = (sources.get(operand, frozenset()) for operand in found.operands)
        if left and right and not left & right and max(left | right) < inputs:
            return left, right
    return None


def _only_outputs(reached: frozenset[int], inputs: int) -> bool:
    return bool(reached) and min(reached) >= inputs


def _through_casts(value: Any, producers: dict[Any, Any]) -> Any:
    """The operation that made `value`, conversions skipped; None for an argument of the block."""
    found = producers.get(value)
    while found is not None and found.name in _CASTS:
        found = producers.get(found.operands[0])
    return found


def _flops(view: Any) -> int:
    found = view.operation
    if found.name == "math.fma":
        return 2
    if found.name not in _ARITHMETIC and not found.name.startswith("math."):
        return 0
    return 0 if str(found.results[0].type) == "index" else 1


def _inputs(operation: Any) -> int:
    return int(operation.attributes["operandSegmentSizes"][0]) if "operandSegmentSizes" in operation.attributes else 0


def _maps(operation: Any) -> tuple[str, ...]:
    from iree.compiler.dialects import linalg
    found = operation.attributes["indexing_maps"] if "indexing_maps" in operation.attributes else linalg.get_indexing_maps(operation)
    return tuple(str(attribute).removeprefix("affine_map<").removesuffix(">") for attribute in found)


def _types(operation: Any) -> tuple[str, ...]:
    return tuple(str(getattr(operand.type, "element_type", operand.type)) for operand in operation.operands)


def _shape(value: Any) -> Iterator[int]:
    kind = value.type
    return (_DYNAMIC if kind.is_dynamic_dim(i) else kind.get_dim_size(i) for i in range(getattr(kind, "rank", 0)))


def _loops(operation: Any, maps: tuple[str, ...]) -> tuple[int, ...]:
    """Sizes of the loops, each from an operand that it alone indexes (a stride does not hinder a loop that another operand has)."""
    count = maps[0].split("->")[0].count("d")
    sizes = [_DYNAMIC] * count
    for operand, text in zip(operation.operands, maps, strict=True):
        results = [part.strip() for part in text.split("->")[1].strip(" ()").split(",") if part.strip()]
        for part, size in zip(results, _shape(operand), strict=False):
            if part[:1] == "d" and part[1:].isdigit():
                sizes[int(part[1:])] = max(sizes[int(part[1:])], size)
    return tuple(sizes)

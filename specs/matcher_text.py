"""Which operation a record is for, as transform-dialect matchers of IREE 3.13 that read `%op`.

IREE's own matchers see contractions, convolutions and attention; a reduction is compared operation by operation with a written one.
dims_equal takes -1 for any size. The order is cheap guards first: the matchers see every operation of every dispatch.
"""

from __future__ import annotations

from collections.abc import Iterator

from ireeperf.errors import ConfigError
from specs.match import Match

OP, VALUE, SIZES = "!transform.any_op", "!transform.any_value", "!transform.param<i64>"
_OPERANDS = {
    "contraction": ("lhs", "rhs", "output"),
    "convolution": ("lhs", "rhs", "output"),
    "attention": ("query", "key", "value", "scale", "output", "max", "sum"),
}
_MATCHERS = {"contraction": "contraction", "convolution": "convolution", "attention": "online_attention"}
# Bodies of reductions that the pipeline's exports have, as torch's lowerings write them; {t} is the accumulator's type, {i} the input's
BODIES = {
    "addf": ("%0 = arith.addf %in, %out : {t}",),
    "mulf addf": ("%0 = arith.mulf %in, %in : {t}", "%1 = arith.addf %0, %out : {t}"),
    "extf addf": ("%0 = arith.extf %in : {i} to {t}", "%1 = arith.addf %0, %out : {t}"),
    "extf mulf addf": ("%0 = arith.extf %in : {i} to {t}", "%1 = arith.mulf %0, %0 : {t}", "%2 = arith.addf %1, %out : {t}"),
    "maximumf": ("%0 = arith.maximumf %in, %out : {t}",),
    "maxnumf": ("%0 = arith.maxnumf %in, %out : {t}",),
    "addi": ("%0 = arith.addi %in, %out : {t}",),
}


def maps(match: Match) -> str:
    """The indexing maps as one attribute, to be shared under an alias."""
    return f"[{', '.join(f'affine_map<{text}>' for text in match.maps)}]"


def lines(match: Match, alias: str) -> list[str]:
    """Operations that succeed on what `match` describes; `alias` is the attribute alias of its maps. ConfigError: no matcher can."""
    found = ["transform.iree.match.has_no_lowering_config %op : !transform.any_op"]
    found += _reduction(match) if match.kind == "reduction" else _structured(match, alias)
    return found + list(_multiples(match))


def _structured(match: Match, alias: str) -> Iterator[str]:
    names = _OPERANDS[match.kind]
    if len(match.types) != len(names):
        raise ConfigError(f"a {match.kind} of {len(match.types)} operands: IREE's matcher takes {len(names)} ({', '.join(names)})")
    results = list(match.roles)
    handles = [f"%{name}" for name in results] + (["%strides", "%dilations"] if match.kind == "convolution" else [])
    types = ", ".join(f"{name}_type = {kind}" for name, kind in zip(names, match.types, strict=True))
    yield (f"{', '.join(handles)} = transform.iree.match.{_MATCHERS[match.kind]} %op, {types}, indexing_maps = {alias} "
           f": {OP} -> {SIZES}")
    for role, indices in match.roles.items():
        if any(match.dims[i] >= 0 for i in indices):
            yield f"transform.iree.match.dims_equal %{role}, [{', '.join(str(match.dims[i]) for i in indices)}] : {SIZES}"


def _reduction(match: Match) -> Iterator[str]:
    """One linalg.generic of one input and one output, compared with the payload's attribute by attribute, body included."""
    if match.body not in BODIES or len(match.types) != 2:
        raise ConfigError(f"a reduction of {len(match.types)} operands with the body {match.body!r}: the renderer writes one input, one output "
                          f"and the bodies {', '.join(map(repr, BODIES))}")
    tensors = [f"tensor<{''.join(f'{size}x' for size in _sizes(match, i))}{kind}>" for i, kind in enumerate(match.types)]
    iterators = ", ".join('"reduction"' if i in match.roles["reduced"] else '"parallel"' for i in range(len(match.dims)))
    body = [text.format(i=match.types[0], t=match.types[1]) for text in BODIES[match.body]]
    yield (f"%inputs, %outputs = transform.iree.match.cast_compatible_dag_from_root %op {{ ^bb0(%a: {tensors[0]}, %b: {tensors[1]}): "
           f"%g = linalg.generic {{indexing_maps = {maps(match)}, iterator_types = [{iterators}]}} ins(%a : {tensors[0]}) outs(%b : {tensors[1]}) "
           f"{{ ^bb0(%in: {match.types[0]}, %out: {match.types[1]}): {' '.join(body)} linalg.yield %{len(body) - 1} : {match.types[1]} }} "
           f"-> {tensors[1]} }} : ({OP}) -> ({VALUE}, {VALUE})")


def _results(match: Match, operand: int) -> list[str]:
    return [part.strip() for part in match.maps[operand].split("->")[1].strip(" ()").split(",") if part.strip()]


def _sizes(match: Match, operand: int) -> list[str]:
    """Sizes of an operand's dimensions, each of which one loop indexes; ? where any is meant."""
    found = []
    for part in _results(match, operand):
        if not (part[0] == "d" and part[1:].isdigit()):
            raise ConfigError(f"map {match.maps[operand]!r} of a reduction indexes by {part!r}; the renderer writes single loops only")
        size = match.dims[int(part[1:])]
        found.append("?" if size < 0 else str(size))
    return found


def _multiples(match: Match) -> Iterator[str]:
    """dim_is_multiple_of on an operand's dimension that the loop alone indexes."""
    for loop, multiple in enumerate(match.multiples):
        if match.dims[loop] >= 0 or multiple <= 1:
            continue
        place = next(((operand, dimension) for operand in range(len(match.maps))
                      for dimension, part in enumerate(_results(match, operand)) if part == f"d{loop}"), None)
        if place is None:
            raise ConfigError(f"no operand is indexed by d{loop} alone; it cannot be asked to be a multiple of {multiple}")
        yield f"%d{loop} = transform.get_operand %op[{place[0]}] : ({OP}) -> {VALUE}"
        yield f"transform.iree.match.dim_is_multiple_of %d{loop}[{place[1]}], {multiple} : {VALUE}"

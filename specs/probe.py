"""Probes: the smallest program that holds the operation which a record is for, made from its Match alone.

A compiler that applies a spec to the probe still matches the record; no model, checkpoint or export is needed to ask another version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ireeperf.errors import ConfigError
from specs.match import Match
from specs.matcher_text import BODIES

ANY_SIZE = 128  # at least; what a probe takes for a size that a record leaves open
_TERM = re.compile(r"d(\d+)(?: \* (\d+))?")


def program(matches: Sequence[Match]) -> str:
    """One module with the function @probe<i> for each of `matches`. ConfigError names one that cannot be written."""
    return "\n".join(function(match, f"probe{index}") for index, match in enumerate(matches))


def function(match: Match, name: str) -> str:
    """The function @`name` that takes the operation's inputs and returns its result."""
    try:
        return {"attention": _attention, "reduction": _reduction}.get(match.kind, _contraction)(match, name)
    except ConfigError as error:
        raise ConfigError(f"no probe for {match.name}: {error}") from None


def sizes(match: Match) -> tuple[int, ...]:
    """Loop sizes of the probe: the record's, and for an open one the smallest allowed multiple from ANY_SIZE on."""
    steps = match.multiples or (1,) * len(match.dims)
    return tuple(size if size >= 0 else step * -(-ANY_SIZE // step) for size, step in zip(match.dims, steps, strict=True))


def shape(match: Match, operand: int) -> tuple[int, ...]:
    """Shape of one operand: each result of its map at the loops' last step, and one more (d2 * 2 + d5 slides)."""
    found = []
    results = match.maps[operand].split("->")[1].strip()[1:-1]
    for part in filter(None, (one.strip() for one in results.split(","))):
        last = 0
        for term in part.split(" + "):
            loop = _TERM.fullmatch(term)
            if loop is None:
                raise ConfigError(f"map {match.maps[operand]} indexes by {term!r}; a probe can do sums of d0 and d0 * 2")
            last += (sizes(match)[int(loop[1])] - 1) * int(loop[2] or 1)
        found.append(last + 1)
    return tuple(found)


def _tensor(match: Match, operand: int, kind: str | None = None) -> str:
    return f"tensor<{''.join(f'{size}x' for size in shape(match, operand))}{kind or match.types[operand]}>"


def _maps(match: Match, count: int) -> str:
    return f"[{', '.join(f'affine_map<{text}>' for text in match.maps[:count])}]"


def _contraction(match: Match, name: str) -> str:
    """Contractions and convolutions: a linalg.generic that multiplies and adds in the result's type."""
    if len(match.types) != 3:
        raise ConfigError(f"it has {len(match.types)} operands; two inputs and a result are known")
    left, right, total = match.types
    suffix = "i" if total.startswith("i") else "f"
    widen = [f"    %wide_{side} = arith.ext{'si' if suffix == 'i' else 'f'} %{side} : {kind} to {total}"
             for side, kind in (("left", left), ("right", right)) if kind != total]
    one, other = (f"%wide_{side}" if kind != total else f"%{side}" for side, kind in (("left", left), ("right", right)))
    body = [*widen, f"    %product = arith.mul{suffix} {one}, {other} : {total}", f"    %sum = arith.add{suffix} %total, %product : {total}"]
    return _generic(match, name, ["left", "right"], "total", "sum", body)


def _reduction(match: Match, name: str) -> str:
    """One input, one result, and a body that the renderer knows."""
    if len(match.types) != 2 or match.body not in BODIES:
        raise ConfigError(f"{len(match.types)} operands and the body {match.body!r}; one input, one result and {', '.join(map(repr, BODIES))} are known")
    body = [f"    {line.format(i=match.types[0], t=match.types[1])}" for line in BODIES[match.body]]
    return _generic(match, name, ["in"], "out", str(len(body) - 1), body)


def _generic(match: Match, name: str, inputs: Sequence[str], out: str, result: str, body: Sequence[str]) -> str:
    last, kind = len(match.types) - 1, match.types[-1]
    tensors, total = [_tensor(match, index) for index in range(last)], _tensor(match, last)
    reduced = {index for role in ("k", "filter", "input_channel", "reduced") for index in match.roles.get(role, ())}
    iterators = ", ".join('"reduction"' if index in reduced else '"parallel"' for index in range(len(match.dims)))
    return "\n".join([
        f"func.func @{name}({', '.join(f'%{one}s: {tensor}' for one, tensor in zip(inputs, tensors, strict=True))}) -> {total} {{",
        f"  %zero = arith.constant {'0' if kind.startswith('i') else '0.0'} : {kind}",
        f"  %empty = tensor.empty() : {total}",
        f"  %filled = linalg.fill ins(%zero : {kind}) outs(%empty : {total}) -> {total}",
        f"  %made = linalg.generic {{indexing_maps = {_maps(match, last + 1)}, iterator_types = [{iterators}]}}",
        f"      ins({', '.join(f'%{one}s' for one in inputs)} : {', '.join(tensors)}) outs(%filled : {total}) {{",
        f"  ^bb0({', '.join(f'%{one}: {kind}' for one, kind in zip([*inputs, out], match.types, strict=True))}):",
        *body, f"    linalg.yield %{result} : {kind}", f"  }} -> {total}", f"  return %made : {total}", "}", ""])


def _attention(match: Match, name: str) -> str:
    """Fused attention, which the compiler turns into the online_attention that records match: five operands, no maximum and sum.
    In MLIR's generic form: the operation's own syntax differs between IREE 3.12 and 3.13."""
    if len(match.types) != 7:
        raise ConfigError(f"it has {len(match.types)} operands; query, key, value, scale, output, maximum and sum are known")
    scale, kind = match.types[3], match.types[0] if match.types[0] in ("f16", "bf16", "f32") else match.types[4]
    parts = {one: _tensor(match, index) for index, one in enumerate(("query", "key", "value"))}
    out = _tensor(match, 4, kind)
    given, returned = out, [f"  return %made : {out}"]
    if len(match.roles["batch"]) == 2:  # neighbours become one loop, unless the result's heads go behind its rows, as in every model
        swapped = [0, 2, 1, *range(3, len(shape(match, 4)))]
        given = f"tensor<{''.join(f'{shape(match, 4)[i]}x' for i in swapped)}{kind}>"
        returned = [f"  %place = tensor.empty() : {given}",
                    f"  %turned = linalg.transpose ins(%made : {out}) outs(%place : {given}) permutation = {swapped}", f"  return %turned : {given}"]
    return "\n".join([
        f"func.func @{name}({', '.join(f'%{one}: {tensor}' for one, tensor in parts.items())}) -> {given} {{",
        f"  %scale = arith.constant 0.125 : {scale}",
        f"  %empty = tensor.empty() : {out}",
        '  %made = "iree_linalg_ext.attention"(%query, %key, %value, %scale, %empty)',
        f"      <{{indexing_maps = {_maps(match, 5)}}}> ({{",
        "  ^bb0(%score: f32):", '    "iree_linalg_ext.yield"(%score) : (f32) -> ()',
        f"  }}) : ({', '.join(parts.values())}, {scale}, {out}) -> {out}", *returned, "}", ""])

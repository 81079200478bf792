"""linalg.generic and attention for the reference: loops over the asked elements, contractions as matrix products of float64."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from compile import reference_scalar, reference_types
from ireeperf.errors import CompileError

_MAP = re.compile(r"affine_map<\(([^)]*)\)(?:\[\])? -> \((.*)\)>")
_PLAIN = re.compile(r"d(\d+)")
_POINTS = 1 << 23  # of a loop nest evaluated at once: 64 MB of float64
_REDUCERS = {"arith.addf": np.add, "arith.addi": np.add, "arith.mulf": np.multiply, "arith.maximumf": np.maximum, "arith.minimumf": np.minimum,
             "arith.maxnumf": np.fmax, "arith.minnumf": np.fmin, "arith.maxsi": np.maximum, "arith.minsi": np.minimum,
             "arith.ori": np.bitwise_or, "arith.andi": np.bitwise_and}


class Loops:
    """The loop nest of one operation, with the indices at which each loop is evaluated."""

    def __init__(self, operation: Any, value: Any, indices: tuple[np.ndarray, ...]) -> None:
        self.maps = [expressions(str(text)) for text in operation.attributes["indexing_maps"]]
        operands = list(operation.operands)
        self.inputs, self.outputs = operands[:len(operands) - len(operation.results)], operands[len(operands) - len(operation.results):]
        self.result = list(operation.results).index(value)
        self.count = str(operation.attributes["indexing_maps"][0]).split("->")[0].count("d")
        output = self.maps[len(self.inputs) + self.result]
        self.parallel = loop_numbers(output)
        if len(set(self.parallel)) != len(output):
            raise CompileError(f"no reference for a result that is not indexed by loops alone: {output}")
        sizes = self._sizes(operands)
        self.index = {dim: np.arange(size) for dim, size in sizes.items()}
        self.index |= dict(zip(self.parallel, indices, strict=True))
        self.reduced = [dim for dim in range(self.count) if dim not in self.parallel]

    def _sizes(self, operands: list[Any]) -> dict[int, int]:
        found = {}
        for results, operand in zip(self.maps, operands, strict=True):
            for position, text in enumerate(results):
                if (dim := plain(text)) is not None:
                    found[dim] = operand.type.shape[position]
        if len(found) != self.count:
            raise CompileError("no reference for a loop whose size no operand gives")
        return found

    def extent(self, dims: list[int]) -> list[int]:
        return [len(self.index[dim]) for dim in dims]

    def operand(self, reference: Any, position: int, operands: list[Any]) -> np.ndarray:
        """An operand over the loop nest: one axis per loop, of length 1 where the operand does not depend on it."""
        value = operands[position]
        if not hasattr(value.type, "shape"):
            return reference.scalar(value).reshape([1] * self.count)
        wanted, picks = [], []
        for text in self.maps[position]:
            dim = plain(text)
            if dim is not None:
                wanted.append(self.index[dim])
                picks.append(self.axis(np.arange(len(self.index[dim])), dim))
            else:
                every = np.asarray(evaluate_expression(text, [self.axis(self.index[d], d) for d in range(self.count)]))
                unique, inverse = np.unique(every, return_inverse=True)
                wanted.append(unique)
                picks.append(inverse.reshape(every.shape if every.ndim else [1] * self.count))
        found = reference.values(value, tuple(wanted))
        return found[tuple(picks)] if picks else found.reshape([1] * self.count)

    def axis(self, array: np.ndarray, dim: int) -> np.ndarray:
        return array.reshape([-1 if d == dim else 1 for d in range(self.count)])


def evaluate(reference: Any, operation: Any, value: Any, indices: tuple[np.ndarray, ...]) -> np.ndarray:
    """One result of a structured operation at the product of `indices`."""
    loops = Loops(operation, value, indices)
    block = operation.regions[0].blocks[0]
    yielded = list(block)[-1].operands[loops.result]
    operands = loops.inputs + loops.outputs
    accumulator = block.arguments[len(loops.inputs) + loops.result]
    if not loops.reduced:
        body = Body(reference, loops, block, operands)
        found = np.broadcast_to(body.value(yielded), loops.extent(list(range(loops.count))))
        return np.ascontiguousarray(found.transpose(loops.parallel))
    combine = reference_scalar.producer(yielded)
    sides = list(combine.operands)
    if combine.name not in _REDUCERS or accumulator not in sides:
        raise CompileError(f"no reference for a reduction by {combine.name}")
    contribution = sides[1] if sides[0] == accumulator else sides[0]
    kind = reference_scalar.element(str(value.type))
    length = math.prod(loops.extent(loops.reduced))
    reference.sums.append((length, reference_types.ROUNDOFF.get(kind, 0.0)))
    start = loops.operand(reference, len(loops.inputs) + loops.result, operands)
    start = np.broadcast_to(start, [1 if d in loops.reduced else len(loops.index[d]) for d in range(loops.count)])
    reduced = _contract(reference, loops, block, operands, contribution) if _REDUCERS[combine.name] is np.add else None
    if reduced is None:
        reduced = _reduce(reference, loops, block, operands, contribution, _REDUCERS[combine.name])
    total = reference_types.rounded(_REDUCERS[combine.name](start, reduced), kind)
    return np.ascontiguousarray(total.squeeze(tuple(loops.reduced)).transpose(np.argsort(np.argsort(loops.parallel))))


def _contract(reference: Any, loops: Loops, block: Any, operands: list[Any], product: Any) -> np.ndarray | None:
    """A sum of products of two operands, as a batched matrix product; None when the body is none. Loops of length 1 stay as axes."""
    if product in set(block.arguments) or reference_scalar.producer(product).name not in ("arith.mulf", "arith.muli"):
        return None
    body = Body(reference, loops, block, operands)
    left, right = (body.value(side) for side in reference_scalar.producer(product).operands)
    if left.ndim != loops.count or right.ndim != loops.count:
        return None
    full = loops.extent(list(range(loops.count)))
    in_left, in_right = ([side.shape[d] == full[d] for d in range(loops.count)] for side in (left, right))
    reduced = [d in loops.reduced for d in range(loops.count)]
    if any(full[d] > 1 and reduced[d] and not (in_left[d] and in_right[d]) for d in range(loops.count)):
        return None
    dims = [d for d in range(loops.count) if full[d] > 1]
    batch = [d for d in dims if not reduced[d] and in_left[d] and in_right[d]]
    rows = [d for d in dims if not reduced[d] and in_left[d] and not in_right[d]]
    columns = [d for d in dims if not reduced[d] and in_right[d] and not in_left[d]]
    summed = [d for d in dims if reduced[d]]
    ones = [d for d in range(loops.count) if full[d] == 1]
    size = [math.prod(full[d] for d in part) for part in (batch, rows, columns, summed)]
    first = left.transpose(batch + rows + summed + columns + ones).reshape(size[0], size[1], size[3]).astype(np.float64)
    second = right.transpose(batch + summed + columns + rows + ones).reshape(size[0], size[3], size[2]).astype(np.float64)
    order = batch + rows + columns + summed + ones
    found = (first @ second).reshape([full[d] for d in batch + rows + columns] + [1] * (len(summed) + len(ones)))
    found = found.transpose(np.argsort(order))
    return found if left.dtype == np.float64 else np.rint(found).astype(np.int64)  # integers stay exact below 2**53


def _reduce(reference: Any, loops: Loops, block: Any, operands: list[Any], contribution: Any, reducer: np.ufunc) -> np.ndarray:
    """Any other reduction: the body over the whole nest, in parts along the longest reduced loop."""
    longest = max(loops.reduced, key=lambda dim: len(loops.index[dim]))
    every = loops.index[longest]
    others = math.prod(loops.extent([dim for dim in range(loops.count) if dim != longest]))
    step = max(1, _POINTS // max(1, others))
    total = None
    for start in range(0, len(every), step):
        loops.index[longest] = every[start:start + step]
        full = loops.extent(list(range(loops.count)))
        part = np.broadcast_to(Body(reference, loops, block, operands).value(contribution), full)
        part = reducer.reduce(part, axis=tuple(loops.reduced), keepdims=True)
        total = part if total is None else reducer(total, part)
    loops.index[longest] = every
    assert total is not None
    return total


class Body:
    """The region of a structured operation, evaluated for the whole loop nest at once."""

    def __init__(self, reference: Any, loops: Loops, block: Any, operands: list[Any]) -> None:
        self._reference, self._loops, self._operands = reference, loops, operands
        self._arguments = {argument: number for number, argument in enumerate(block.arguments)}
        self._block = block
        self.known: dict[Any, np.ndarray] = {}

    def value(self, value: Any) -> np.ndarray:
        """A value of the region, broadcastable over the nest."""
        if value not in self.known:
            self.known[value] = self._compute(value)
        return self.known[value]

    def _compute(self, value: Any) -> np.ndarray:
        if value in self._arguments:
            return self._loops.operand(self._reference, self._arguments[value], self._operands)
        operation = reference_scalar.producer(value)
        if operation.block != self._block:
            return self._reference.scalar(value)
        if operation.name == "linalg.index":
            dim = int(operation.attributes["dim"])
            return self._loops.axis(self._loops.index[dim], dim)
        if operation.name == "arith.constant":
            return reference_scalar.constant(operation)
        if operation.name == "tensor.extract":
            return self._extract(operation)
        arguments = [self.value(operand) for operand in operation.operands]
        kind = reference_scalar.element(str(value.type))
        if kind in reference_types.NARROW and operation.name not in ("arith.select", "arith.bitcast", "arith.extf", "arith.negf"):
            self._reference.roundings.append(reference_types.ROUNDOFF[kind])
        self._reference.quantizes |= operation.name in ("arith.fptosi", "arith.fptoui", "arith.cmpf") or kind.startswith("f8")
        return reference_scalar.apply(operation, arguments)

    def _extract(self, operation: Any) -> np.ndarray:
        """A gather: the box of the indices that occur is computed, and they are picked."""
        source, *where = operation.operands
        wanted, picks = [], []
        for position in where:
            every = np.asarray(self.value(position))
            unique, inverse = np.unique(every, return_inverse=True)
            wanted.append(unique.astype(np.int64))
            picks.append(inverse.reshape(every.shape))
        if math.prod(len(part) for part in wanted) > _POINTS:
            raise CompileError("no reference for a gather from that many places")
        return self._reference.values(source, tuple(wanted))[tuple(picks)]


def attention(reference: Any, operation: Any, value: Any, indices: tuple[np.ndarray, ...]) -> np.ndarray:
    """softmax(query key^T scale + mask) value; online_attention gives it undivided, with the row maxima subtracted, and the row sums."""
    loops = Loops(operation, value, indices)
    if loops.result == 1:
        raise CompileError("no reference for the running maximum of attention: its base is the compiler's choice")
    dims = [loop_numbers(results) for results in loops.maps]
    if [len(part) for part in dims] != [len(results) for results in loops.maps]:
        raise CompileError("no reference for attention that is not indexed by loops alone")
    query_dims, key_dims, value_dims = dims[:3]
    summed = [d for d in key_dims if d in value_dims and d not in query_dims]  # k2: keys
    score_dims = [d for d in range(loops.count) if d in query_dims and d not in _inner(dims)] + summed

    def take(position: int) -> Any:
        operand = loops.inputs[position]
        if not hasattr(operand.type, "shape"):
            return reference.scalar(operand)
        return reference.values(operand, tuple(loops.index[dim] for dim in dims[position]))

    scores = np.einsum(take(0), query_dims, take(1), key_dims, score_dims, optimize=True) * take(3)
    scores = _score_body(reference, loops, operation, scores)
    if len(loops.inputs) > 4:
        mask = take(4)
        added = np.where(mask != 0, 0, -np.inf) if mask.dtype == np.int64 else mask
        scores = scores + np.einsum(added, dims[4], np.ones(scores.shape), score_dims, score_dims)
    axes = tuple(score_dims.index(dim) for dim in summed)
    weights = np.exp(scores - scores.max(axis=axes, keepdims=True))
    kinds = [reference_scalar.element(str(operand.type)) for operand in loops.inputs[:3]]
    reference.sums.append((math.prod(loops.extent(summed)), reference_types.ROUNDOFF["f32"]))
    if kinds[2].startswith("f8"):  # the weights become 8-bit floats; the scale goes onto the scores, not onto the query
        reference.averaged.append(reference_types.ROUNDOFF[kinds[2]])
    else:  # the weights become the type of the value, the scaled query that of the query
        reference.roundings += [reference_types.ROUNDOFF[kinds[2]], reference_types.ROUNDOFF[kinds[0]]]
    if loops.result == 2:
        return np.einsum(weights, score_dims, loops.parallel)
    if not operation.name.endswith("online_attention"):
        weights = weights / weights.sum(axis=axes, keepdims=True)
    return np.einsum(weights, score_dims, take(2), value_dims, loops.parallel, optimize=True)


def _inner(dims: list[list[int]]) -> list[int]:
    """Loops summed in the scores: of query and key, not of value and not of the output."""
    return [d for d in dims[0] if d in dims[1] and d not in dims[2]]


def _score_body(reference: Any, loops: Loops, operation: Any, scores: np.ndarray) -> np.ndarray:
    """The region that attention applies to each score; mostly the identity."""
    block = operation.regions[0].blocks[0]
    body = Body(reference, loops, block, [])
    body.known[block.arguments[0]] = scores
    return body.value(list(block)[-1].operands[0])


def expressions(text: str) -> list[str]:
    """Results of an affine map as text."""
    found = _MAP.fullmatch(text)
    if found is None:
        raise CompileError(f"no reference for the indexing map {text}")
    return [part.strip() for part in found[2].split(",") if part.strip()]


def plain(text: str) -> int | None:
    """Number of the loop when an expression is a loop and nothing else."""
    found = _PLAIN.fullmatch(text)
    return int(found[1]) if found else None


def loop_numbers(results: list[str]) -> list[int]:
    """Loops of those results of a map that are a loop and nothing else."""
    return [dim for text in results if (dim := plain(text)) is not None]


def evaluate_expression(text: str, dims: list[np.ndarray]) -> Any:
    """An affine expression at the given loop indices."""
    allowed = text.replace("floordiv", "//").replace("mod", "%")
    if not re.fullmatch(r"[d\d+*/%() -]*", allowed):
        raise CompileError(f"no reference for the index {text}")
    return eval(allowed, {"__builtins__": {}}, {f"d{number}": array for number, array in enumerate(dims)})

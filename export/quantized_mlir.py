"""From the operators of `export.quantized_ops` to linalg, in the text of an exported module.

IREE 3.13 keeps int8 and FP8 matrix instructions (gfx942, gfx950) where the narrow operands are widened inside the body of one
linalg operation. torch's own forms do not survive: `_scaled_mm` does not legalize, a cast before a matmul becomes a float32 one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from export.quantized_ops import NAMESPACE
from ireeperf.errors import ExportError

_OPERATOR = re.compile(rf'^(\s*)(%\S+) = torch\.operator "torch\.{NAMESPACE}\.(\w+)"\(([^)]*)\) : \((.*)\) -> (!torch\.vtensor<\S+>)\s*$')
_CONSTANT = re.compile(r"^\s*(%\S+) = torch\.constant\.int (-?\d+)$")
_TENSOR = re.compile(r"!torch\.vtensor<\[([\d,]*)\],(\w+)>")
_ELEMENT = {"si8": "i8", "si32": "i32"}  # torch's signed integers are builtin's signless ones


class Value:
    """A tensor operand or result: its name as a builtin tensor, its sides and its element type."""

    def __init__(self, name: str, torch_type: str) -> None:
        found = _TENSOR.fullmatch(torch_type)
        if found is None:
            raise ExportError(f"a quantized operator has an operand of type {torch_type}; only static shapes are exported")
        self.name, self.torch_type = name, torch_type
        self.sides = [int(side) for side in found[1].split(",") if side]
        self.element = _ELEMENT.get(found[2], found[2])

    @property
    def type(self) -> str:
        return f"tensor<{''.join(f'{side}x' for side in self.sides)}{self.element}>"


def has_operators(text: str) -> bool:
    """Whether the module's text has operators of ours."""
    return f"torch.{NAMESPACE}." in text


def lower(text: str) -> str:
    """The module's text with every operator of ours replaced; ExportError when one has no lowering."""
    constants: dict[str, int] = {}
    lines: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if found := _CONSTANT.match(line):
            constants[found[1]] = int(found[2])
        operator = _OPERATOR.match(line)
        lines += _expanded(operator, constants, f"%q{number}") if operator else [line]
    lowered = "\n".join(lines) + "\n"
    if has_operators(lowered):
        raise ExportError(f"an operator torch.{NAMESPACE} is in the exported module in a form that has no lowering; this is a bug in ireeperf")
    return lowered


def _expanded(operator: re.Match[str], constants: dict[str, int], prefix: str) -> list[str]:
    indent, result, name, operands, types, result_type = operator.groups()
    values, numbers, lines = [], [], []
    for index, (operand, kind) in enumerate(zip(operands.split(", "), re.findall(r"!torch\.(?:vtensor<[^>]*>|int)", types), strict=True)):
        if kind == "!torch.int":
            numbers.append(constants[operand])
            continue
        value = Value(f"{prefix}_{index}", kind)
        lines.append(f"{value.name} = torch_c.to_builtin_tensor {operand} : {value.torch_type} -> {value.type}")
        values.append(value)
    out = Value(f"{prefix}_out", result_type)
    lines += _LOWERINGS[name](prefix, values, numbers, out)
    lines.append(f"{result} = torch_c.from_builtin_tensor {out.name} : {out.type} -> {out.torch_type}")
    return [indent + line for line in lines]


def _zeros(prefix: str, out: Value) -> list[str]:
    zero = "0 : i32" if out.element == "i32" else "0.0 : f32"
    return [f"{prefix}_zero = arith.constant {zero}", f"{prefix}_empty = tensor.empty() : {out.type}",
            f"{prefix}_sum = linalg.fill ins({prefix}_zero : {out.element}) outs({prefix}_empty : {out.type}) -> {out.type}"]


def _as_fp8(prefix: str, weight: Value, element: str) -> list[str]:
    """Weight codes, kept as int8 in the archive, in the type of what they are multiplied with."""
    old, weight.name, old_type, weight.element = weight.name, f"{prefix}_weight", weight.type, element
    return [f"{weight.name} = flow.tensor.bitcast {old} : {old_type} -> {weight.type}"]


def _contraction(prefix: str, first: Value, second: Value, out: Value, maps: tuple[str, str, str], loops: str) -> list[str]:
    """Sum of products over the loops of `loops` that are r (reduction); p is parallel. Widened in the body."""
    kinds = ", ".join({"p": '"parallel"', "r": '"reduction"'}[kind] for kind in loops)
    wide, extend, multiply, add = (("i32", "extsi", "muli", "addi") if out.element == "i32" else ("f32", "extf", "mulf", "addf"))
    maps_text = ", ".join(f"affine_map<{one}>" for one in maps)
    return [
        *_zeros(prefix, out),
        f"{out.name} = linalg.generic {{indexing_maps = [{maps_text}], iterator_types = [{kinds}]}} "
        f"ins({first.name}, {second.name} : {first.type}, {second.type}) outs({prefix}_sum : {out.type}) {{",
        f"^bb0(%a: {first.element}, %b: {second.element}, %c: {wide}):",
        f"  %aw = arith.{extend} %a : {first.element} to {wide}",
        f"  %bw = arith.{extend} %b : {second.element} to {wide}",
        f"  %ab = arith.{multiply} %aw, %bw : {wide}",
        f"  %s = arith.{add} %c, %ab : {wide}",
        f"  linalg.yield %s : {wide}",
        f"}} -> {out.type}",
    ]


def _matmul(prefix: str, values: list[Value], numbers: list[int], out: Value) -> list[str]:
    rows, weight = values
    lines = _as_fp8(prefix, weight, rows.element) if out.element == "f32" else []
    maps = ("(m, n, k) -> (m, k)", "(m, n, k) -> (n, k)", "(m, n, k) -> (m, n)")
    return lines + _contraction(prefix, rows, weight, out, maps, "ppr")


def _batch_matmul(prefix: str, values: list[Value], numbers: list[int], out: Value) -> list[str]:
    maps = ("(b, m, n, k) -> (b, m, k)", "(b, m, n, k) -> (b, n, k)", "(b, m, n, k) -> (b, m, n)")
    return _contraction(prefix, values[0], values[1], out, maps, "pppr")


def _convolution(prefix: str, values: list[Value], numbers: list[int], out: Value) -> list[str]:
    image, weight = values
    stride, padding, *edge = numbers
    lines = _as_fp8(prefix, weight, image.element) if out.element == "f32" else []
    if padding:
        lines += _padded(prefix, image, padding, *edge)
    step = "" if stride == 1 else f" * {stride}"
    loops = "(b, f, y, x, c, r, s)"
    maps = (f"{loops} -> (b, c, y{step} + r, x{step} + s)", f"{loops} -> (f, c, r, s)", f"{loops} -> (b, f, y, x)")
    return lines + _contraction(prefix, image, weight, out, maps, "pppprrr")


def _padded(prefix: str, image: Value, padding: int, edge: int = 0) -> list[str]:
    """The code of zero around each picture: `edge` for int8, and code 0 is the value 0 in every FP8."""
    zero = f"{edge} : i8" if image.element == "i8" else f"0.0 : {image.element}"
    old, old_type = image.name, image.type
    image.name, image.sides = f"{prefix}_padded", [*image.sides[:2], *(side + 2 * padding for side in image.sides[2:])]
    sides = f"[0, 0, {padding}, {padding}]"
    return [f"{prefix}_edge = arith.constant {zero}",
            f"{image.name} = tensor.pad {old} low{sides} high{sides} {{",
            "^bb0(%i: index, %j: index, %k: index, %l: index):",
            f"  tensor.yield {prefix}_edge : {image.element}",
            f"}} : {old_type} to {image.type}"]


def _attention(prefix: str, values: list[Value], numbers: list[int], out: Value) -> list[str]:
    query, key, value, scale = values
    loops = "(b, h, m, n, k, l)"
    maps = ", ".join(f"affine_map<{loops} -> ({one})>" for one in ("b, h, m, k", "b, h, l, k", "b, h, l, n", "", "b, h, m, n"))
    return [
        # a parameter: the extraction is cloned into the dispatch, so that nothing is read back to the host
        f"{prefix}_scale = tensor.extract {scale.name}[] : {scale.type}",
        f"{prefix}_empty = tensor.empty() : {out.type}",
        f"{out.name} = iree_linalg_ext.attention <indexing_maps = [{maps}]> ins({query.name}, {key.name}, {value.name}, {prefix}_scale : "
        f"{query.type}, {key.type}, {value.type}, f32) outs({prefix}_empty : {out.type}) {{",
        "^bb0(%score: f32):",
        "  iree_linalg_ext.yield %score : f32",
        f"}} -> {out.type}",
    ]


_LOWERINGS: dict[str, Callable[[str, list[Value], list[int], Value], list[str]]] = {
    "int8_matmul": _matmul, "fp8_matmul": _matmul, "wide_batch_matmul": _batch_matmul, "int8_convolution": _convolution,
    "fp8_convolution": _convolution, "fp8_attention": _attention,
}

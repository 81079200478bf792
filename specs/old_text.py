"""Reads tuning specs as IREE took them in 2025 (MLPerf Inference v5.1), which IREE 3.13 no longer parses.

A small reader of their regular structure, not of MLIR: named sequences, the one operation that each matches, and the attributes it sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ireeperf.errors import ConfigError

_SEQUENCE = re.compile(r"transform\.named_sequence @([\w$.-]+)\s*\(")
_CHOICE = re.compile(r"@([\w$.-]+)\s*->\s*@[\w$.-]+")
_TENSOR = re.compile(r"tensor<((?:(?:\d+|\?)x)*)([a-zA-Z]\w*)>")
_MAP = re.compile(r"affine_map<(\([^()]*\) -> \([^()]*\))>")
_ALIAS = re.compile(r"^(#\w+) = (affine_map<[^>]*-> \([^()]*\)>|#iree_\w+\.\w+<.*>)$", re.MULTILINE)
_OPERATION = re.compile(r"%\w+(?::(\d+))? = (linalg\.\w+)")
_NAMED = re.compile(r'transform\.match\.operation_name %\w+ \["([\w.]+)"\]')
_COMMENT = re.compile(r"//[^\n]*")
_WORD = re.compile(r"[A-Za-z_][\w.$-]*")
_NUMBER = re.compile(r"-?\d+(?:\s*:\s*i\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class OldMatcher:
    """One named sequence that yields a configuration. Attributes are nested dicts; the name of a #dialect.attribute<...> is under "#"."""

    name: str
    line: int
    listed: bool  # whether __kernel_config tries it
    operation: str  # linalg.generic, linalg.conv_2d_nhwc_hwcf, iree_linalg_ext.attention; empty: none was found
    results: int
    maps: tuple[str, ...]
    tensors: tuple[tuple[tuple[int, ...], str], ...]  # sizes (-1: any) and element type of each operand, inputs first
    strides: int
    info: dict[str, Any]
    decomposition: dict[str, Any]


def matchers(text: str) -> tuple[OldMatcher, ...]:
    """Matchers in the order in which they are tried, then those that are not. ConfigError with the line where the text ends too early."""
    text = _COMMENT.sub(lambda found: " " * len(found[0]), text)  # columns and lines stay
    for name, meaning in _ALIAS.findall(text):
        text = re.sub(rf"{name}\b(?! =)", meaning.replace("\\", r"\\"), text)
    tried = list(_CHOICE.findall(text))
    found = [_matcher(name, line, body, name in tried) for name, line, body in _sequences(text) if "param.constant" in body]
    return tuple(sorted(found, key=lambda one: tried.index(one.name) if one.listed else len(tried)))


def _sequences(text: str) -> Iterator[tuple[str, int, str]]:
    """Name, line and body of each named sequence."""
    for found in _SEQUENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        closing = _closing(text, found.end() - 1, "(", ")", line)
        start = text.find("{", text.find("attributes {", closing) + len("attributes {") if re.match(
            r"[^{]*attributes \{", text[closing:]) else closing)
        yield found[1], line, text[start:_closing(text, start, "{", "}", line)]


def _closing(text: str, start: int, opens: str, closes: str, line: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == opens) - (text[at] == closes)
        if not depth:
            return at + 1
    raise ConfigError(f"the {opens!r} of the sequence at line {line} is never closed")


def _matcher(name: str, line: int, body: str, listed: bool) -> OldMatcher:
    operation, attention = _OPERATION.search(body), _NAMED.search(body)
    tensors = tuple((tuple(-1 if size == "?" else int(size) for size in sizes.split("x")[:-1]), kind)
                    for sizes, kind in _TENSOR.findall(_operands(body, bool(operation))))
    strides = re.search(r"strides = dense<(\d+)>", body)
    constants = [_attribute(body, found.end(), line)[0] for found in re.finditer(r"transform\.param\.constant\s*", body)]
    infos = [one for one in constants if isinstance(one, dict) and "lowering_config" in one]
    return OldMatcher(
        name=name, line=line, listed=listed, operation=operation[2] if operation else attention[1] if attention else "",
        results=int((operation and operation[1]) or 1), maps=tuple(_MAP.findall(body)) if operation else (), tensors=tensors,
        strides=int(strides[1]) if strides else 1, info=infos[0] if infos else {},
        decomposition=next((one for one in constants if isinstance(one, dict) and "qk_attrs" in one), {}))


def _operands(body: str, block: bool) -> str:
    """The text that holds one tensor type an operand: the arguments of the written operation's block, or the casts of an attention."""
    if not block:
        return " ".join(re.findall(r"cast_compatible_type %\w+ = (tensor<[^>]*>)", body))
    found = re.search(r"\^bb0\(([^()]*)\)", body)
    return found[1] if found else ""


def _attribute(text: str, at: int, line: int) -> tuple[Any, int]:
    """The attribute that starts at `at`, and where it ends."""
    at = _space(text, at)
    sign = text[at:at + 1]
    if sign == "#":
        word = _WORD.match(text, at + 1)
        if word is None:
            raise ConfigError(f"no attribute follows the # in the sequence at line {line}")
        inside, at = _attribute(text, word.end(), line) if text[word.end():word.end() + 1] == "<" else ({}, word.end())
        return {"#": word[0], **inside}, at
    if sign in "{[<" and sign:
        return _several(text, at + 1, {"{": "}", "[": "]", "<": ">"}[sign], line)
    if sign == '"':
        end = text.index('"', at + 1)
        return text[at + 1:end], end + 1
    if number := _NUMBER.match(text, at):
        return int(number[0].split(":")[0]), number.end()
    if word := _WORD.match(text, at):
        return {"true": True, "false": False}.get(word[0], word[0]), word.end()
    raise ConfigError(f"cannot read {text[at:at + 30]!r} in the sequence at line {line}")


def _several(text: str, at: int, end: str, line: int) -> tuple[Any, int]:
    """What stands between brackets: a list, or a dict. A word alone is true; a dict inside angle brackets is merged."""
    values: list[Any] = []
    pairs: dict[str, Any] = {}
    while True:
        at = _space(text, at)
        if at >= len(text):
            raise ConfigError(f"no {end!r} closes an attribute of the sequence at line {line}")
        if text[at] == end:
            return (values if end == "]" else pairs), at + 1
        value, at = _attribute(text, at, line)
        equals = _space(text, at)
        if end == "]":
            values.append(value)
        elif text[equals:equals + 1] == "=":
            pairs[str(value)], at = _attribute(text, equals + 1, line)
        else:
            pairs |= value if isinstance(value, dict) else {str(value): True}


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \n\t,":
        at += 1
    return at

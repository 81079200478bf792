"""Reads IREE's flow-level MLIR: dispatches, entry points, parameters; writes one probe function per distinct dispatch.

A flow-level module holds each dispatch as `flow.executable` and each use of one as a `flow.dispatch` line with static tensor
types, and names the device in one line. So the same dispatches can be compiled for another device by replacing that line,
and each can be called alone through a function of our own (IREE 3.13; text, because the Python bindings of the compiler
lack the flow dialect).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ireeperf.errors import CompileError

UNREAD = "tensor<1xf32>"  # type given to an argument that the function never reads: any view will do
DEVICE = re.compile(r"^  util\.global private @__device_0 = .*$", re.MULTILINE)
_DISPATCH = re.compile(r"flow\.dispatch @(?P<executable>[^:\s(\[]+)::@(?P<export>[^\s(\[]+)(?P<workload>\[[^\]]*\])?"
                       r"\((?P<operands>[^)]*)\)(?P<dynamic>\{[^}]*\})?(?P<rest>.*)$")
_TYPES = re.compile(r" : \((?P<operands>[^)]*)\) -> (?P<results>.*)$")
_TENSOR = re.compile(r"tensor<(?:\d+x)*[a-zA-Z]\w*>")
_PARAMETER = re.compile(r"#flow\.parameter\.named<\"(?P<scope>[^\"]*)\"::\"(?P<name>[^\"]*)\"> : (?P<type>tensor<[^>]*>)")
_FUNCTION = re.compile(r"^  util\.func public @(?P<name>[\w$.-]+)\(", re.MULTILINE)
_FUNCTION_LINE = re.compile(r"^  util\.func (?:public|private) @(?P<name>[\w$.-]+)\(")
_IMPORT = re.compile(r"hal\.tensor\.import (?:.*? => )?%(?P<argument>\w+)[^:]*: !hal\.buffer_view -> (?P<type>tensor<[^>]*>)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """One distinct dispatch: an exported function of a flow.executable, with static tensor operands and results."""

    executable: str
    export: str
    operands: tuple[str, ...]  # tensor<4x96xf32>
    results: tuple[str, ...]
    tied: tuple[int | None, ...]  # per result: the operand that it overwrites

    @property
    def label(self) -> str:
        """How IREE's dispatch tracing calls it."""
        return f"{self.executable}::{self.export}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The dispatches of a module in order of first use, how often each is called, and those no probe can be made for."""

    dispatches: tuple[Dispatch, ...]
    calls: dict[str, dict[str, int]]  # label -> function ("initializer" for all of them) -> launches in one call
    unprobed: dict[str, str]  # label -> why


def dispatches(text: str) -> Found:
    """Every distinct dispatch of a flow-level module."""
    found: dict[str, Dispatch] = {}
    calls: dict[str, dict[str, int]] = {}
    unprobed: dict[str, str] = {}
    function = ""
    for line in text.splitlines():
        if line.startswith("  util."):
            named = _FUNCTION_LINE.match(line)
            function = named["name"].removesuffix("$async") if named else "initializer"
        match = _DISPATCH.search(line)
        if match is None:
            if " = flow.dispatch @" in line:
                raise CompileError(f"a flow.dispatch that first_contact cannot read: {line.strip()[:200]}; "
                                   "iree-base-compiler 3.13.0 is what it was written for")
            continue
        label = f"{match['executable']}::{match['export']}"
        own = calls.setdefault(label, {})
        own[function] = own.get(function, 0) + 1
        if label in found or label in unprobed:
            continue
        one = _dispatch(match)
        if isinstance(one, str):
            unprobed[label] = one
        else:
            found[label] = one
    return Found(dispatches=tuple(found.values()), calls=calls, unprobed=unprobed)


def _dispatch(match: re.Match[str]) -> Dispatch | str:
    """The dispatch of one line, or why no probe can call it."""
    types = _TYPES.search(match["rest"])
    if types is None or match["workload"] or match["dynamic"]:
        return "its workload or shapes are dynamic"
    operands = tuple(split(types["operands"]))
    names = tuple(split(match["operands"]))
    results, tied = [], []
    for result in split(types["results"].strip().removeprefix("(").removesuffix(")")):
        name, _, stated = result.partition(" as ")
        position = names.index(name) if name in names else None
        tied.append(position)
        results.append(stated or (name if position is None else operands[position]))
    unread = [kind for kind in (*operands, *results) if not _TENSOR.fullmatch(kind)]
    if unread:
        return f"an operand or result is {unread[0]}"
    return Dispatch(executable=match["executable"], export=match["export"], operands=operands, results=tuple(results), tied=tuple(tied))


def split(text: str) -> list[str]:
    """Parts between commas that stand outside <>."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character in "<(") - (character in ">)")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [part for part in (*parts, current.strip()) if part]


def parameters(text: str) -> list[tuple[str, str, str]]:
    """(scope, name, tensor type) of every parameter that the module loads."""
    return sorted({(match["scope"], match["name"], match["type"]) for match in _PARAMETER.finditer(text)})


def entry_points(text: str) -> dict[str, list[str]]:
    """Exported functions with the tensor types of their arguments; the synchronous form, as the harness calls it."""
    found: dict[str, list[str]] = {}
    bodies = {match["name"]: text[match.start():text.find("\n  }", match.start())] for match in _FUNCTION.finditer(text)}
    for name, body in bodies.items():
        if name.endswith("$async"):
            continue
        own = bodies.get(f"{name}$async", body)
        types = {match["argument"]: match["type"] for match in _IMPORT.finditer(own)}
        count = sum("!hal.buffer_view" in part for part in split(own[own.index("(") + 1:own.index(") ->")]))
        found[name] = [types.get(f"arg{index}", UNREAD) for index in range(count)]
    return found


def fenced(text: str, name: str) -> bool:
    """Whether the exported function `name` takes fences (--iree-execution-model=async-external)."""
    start = text.find(f"  util.func public @{name}(")
    return "!hal.fence" in text[start:text.find("\n", start)]


def device_line(text: str) -> str:
    """The line of a flow-level module that says what it is compiled for."""
    match = DEVICE.search(text)
    if match is None:
        raise CompileError("the flow-level module names no device; iree-base-compiler 3.13.0 is what first_contact was written for")
    return match.group()


def with_device(text: str, line: str) -> str:
    """The module for another device: same graph, same dispatches, other code."""
    return text.replace(device_line(text), line, 1)


def probes(text: str, found: Found) -> str:
    """A module with only the dispatches, each behind a function `probe_<i>` that takes and returns buffer views."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("module "))
    kept, inside = lines[:start + 1], False
    for line in lines[start + 1:]:
        inside = inside or line.startswith("  flow.executable ")
        if inside or DEVICE.match(line):
            kept.append(line)
        inside = inside and line != "  }"
    for index, dispatch in enumerate(found.dispatches):
        kept += _probe(index, dispatch)
    resources = text[text.index("\n{-#"):] if "\n{-#" in text else "\n"  # large constants stand behind the module
    return "\n".join([*kept, "}"]) + resources


def _probe(index: int, dispatch: Dispatch) -> list[str]:
    """The function `probe_<index>`."""
    arguments = ", ".join(f"%arg{i}: !hal.buffer_view" for i in range(len(dispatch.operands)))
    views = ", ".join(["!hal.buffer_view"] * len(dispatch.results))
    several = len(dispatch.results) > 1
    stated = [kind if tied is None else f"%i{tied}" if kind == dispatch.operands[tied] else f"%i{tied} as {kind}"
              for kind, tied in zip(dispatch.results, dispatch.tied, strict=True)]
    returned = f"({', '.join(stated)})" if several else stated[0]
    body = [f'    %i{i} = hal.tensor.import %arg{i} "input{i}" : !hal.buffer_view -> {kind}' for i, kind in enumerate(dispatch.operands)]
    body.append(f"    %r{f':{len(dispatch.results)}' if several else ''} = flow.dispatch @{dispatch.executable}::@{dispatch.export}"
                f"({', '.join(f'%i{i}' for i in range(len(dispatch.operands)))}) : ({', '.join(dispatch.operands)}) -> {returned}")
    body += [f'    %o{i} = hal.tensor.export %r{f"#{i}" if several else ""} "output{i}" : {kind} -> !hal.buffer_view'
             for i, kind in enumerate(dispatch.results)]
    outputs = ", ".join(f"%o{i}" for i in range(len(dispatch.results)))
    return [f"  util.func public @probe_{index}({arguments}) -> ({views}) attributes {{iree.abi.stub}} {{", *body,
            f"    util.return {outputs} : {views}", "  }"]

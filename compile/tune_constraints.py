"""IREE's own constraints of a dispatch's configuration: what its pipelines can take, as formulas over tile sizes, solved with z3.

iree-compile --iree-codegen-emit-pipeline-constraints writes an `iree_codegen.smt.constraints` beside an operation for every pipeline that could
take it: a template of the configuration whose unknowns are named knobs, and assertions over these. IREE 3.13 emits them for matrix operations
on HIP and CUDA (TileAndFuse and VectorDistribute for contractions, these and the implicit-GEMM form for convolutions, VectorDistribute for
attention), none for reductions, elementwise operations and matrix-vector products, and none on llvm-cpu at all.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile import compiler, dispatch_ops
from ireeperf.errors import CompileError
from specs import lowering_keys
from specs.record import Setting

_ONE_AT_A_TIME = threading.Lock()  # formulas share one z3 context: two candidates judged at once end the process
_FLAGS = ("--iree-codegen-emit-pipeline-constraints", "--compile-to=executable-configurations")
# "prefetch_num_stages == 2", and for implicit-GEMM convolutions "== 0": the template's habit, which IREE's own choice for these does not keep;
# other numbers of stages compile, and were right on an H100
_PINNED = "prefetch_num_stages"
_PIPELINE = re.compile(r"pipeline<(\w+)>")
_INTRINSIC = re.compile(r"<(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Of one operation in one pipeline. `template`: the configuration's keys as the compiler has them, lists nested, each entry a number,
    the name of a knob, or (knob, choices)."""

    pipeline: str
    template: dict[str, Any]
    knobs: dict[str, Any]  # name to z3 variable
    assertions: tuple[tuple[str, Any], ...]  # the compiler's words, and the formula

    def values(self, setting: Setting) -> dict[str, int] | str:
        """Knobs as `setting` has them, or why it is not of the template's form."""
        if setting.pipeline != self.pipeline:
            return f"pipeline {setting.pipeline}, and these constraints are of {self.pipeline}"
        workgroup = (*setting.workgroup_size, 1, 1, 1)[:3]
        given = setting.lowering_config | {"subgroup_size": setting.subgroup_size, "workgroup_size": workgroup, "gpu_pipeline_options": setting.options}
        found: dict[str, int] = {}
        for key, shape in self.template.items():
            if key in ("promote_operands", "promotion_types"):  # how operands are copied; nothing is asserted of it
                continue
            if key not in given:
                return f"{key} is not set"
            if (why := _bind(key, shape, given[key], found)) is not None:
                return why
        return found

    def refused(self, setting: Setting) -> str | None:
        """The first assertion that `setting` breaks, in the compiler's words; None also where it is not of the template's form, such as with
        an instruction that the template does not offer: nothing is asserted of those."""
        values = self.values(setting)
        if isinstance(values, str):
            return None
        with _ONE_AT_A_TIME:
            return self._broken(values)  # a call: its formulas are freed while the lock is held

    def _broken(self, values: Mapping[str, int]) -> str | None:
        import z3

        solver = z3.Solver()
        for name, value in values.items():
            solver.add(self.knobs[name] == value)
        for words, formula in self.assertions:  # one by one: the solver would name some core of several
            solver.add(formula)
            if solver.check() == z3.unsat:
                return f"IREE's constraint: {words}" + (f" ({told})" if (told := _told(words, values)) else "")
        return None

    def solutions(self, count: int) -> Iterator[dict[str, int]]:
        """Up to `count` different values of the knobs that keep all assertions, in z3's order."""
        import z3

        solver = z3.Solver()
        solver.add(*(formula for _, formula in self.assertions))
        for _ in range(count):
            if solver.check() != z3.sat:
                return
            model = solver.model()
            found = {name: model.eval(knob, model_completion=True).as_long() for name, knob in self.knobs.items()}
            yield found
            solver.add(z3.Or([knob != found[name] for name, knob in self.knobs.items()]))


def emitted(text: str, flags: Sequence[str]) -> tuple[Constraints, ...]:
    """What iree-compile emits for the program `text` (a stripped benchmark). CompileError when it does not compile so far."""
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name, "program.mlir"), Path(name, "constraints.mlir")
        source.write_text(text)
        done = subprocess.run([str(compiler.compiler_path()), str(source), *flags, *_FLAGS, "-o", str(output)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileError(f"iree-compile exited with code {done.returncode} emitting constraints: {compiler.diagnose(done.stderr)}")
        return read(output.read_text())


def read(text: str) -> tuple[Constraints, ...]:
    """All constraints in a module. CompileError for an operation that none of IREE 3.13's use."""
    from iree.compiler import ir
    with ir.Context():
        return tuple(_constraints(found) for found in dispatch_ops.walk(ir.Module.parse(text).operation) if found.name == "iree_codegen.smt.constraints")


def of(found: Sequence[Constraints], setting: Setting) -> Constraints | None:
    """Those that `setting`, the compiler's own choice, is of the form of and keeps; None without: then they say nothing of other choices."""
    return next((one for one in found if not isinstance(one.values(setting), str) and one.refused(setting) is None), None)


def _constraints(operation: Any) -> Constraints:
    import z3

    block = operation.regions[0].blocks[0]
    values: dict[Any, Any] = {}
    knobs: dict[str, Any] = {}
    assertions: list[tuple[str, Any]] = []
    for index, argument in enumerate(block.arguments):
        values[argument] = z3.Int(f"dim_{index}")
    for one in block.operations:
        name, operands = one.operation.name, [values.get(operand) for operand in one.operation.operands]
        attributes = one.operation.attributes
        if name == "iree_codegen.smt.assert":
            if not attributes["msg"].value.startswith(_PINNED):
                assertions.append((attributes["msg"].value, operands[0]))
            continue
        if name == "iree_codegen.smt.knob":
            found = knobs.setdefault(attributes["name"].value, z3.Int(attributes["name"].value))
        elif name == "smt.declare_fun":  # an unknown of the formula, not of the configuration
            found = z3.Int(f"{attributes['namePrefix'].value}_{len(values)}")
        elif name.startswith("smt.") or name == "iree_codegen.smt.lookup":
            found = _value(name, attributes, operands)
        else:
            continue
        values[one.operation.results[0]] = found
    return Constraints(pipeline=_PIPELINE.search(str(operation.attributes["pipeline"]))[1], template=_template(operation.attributes["knobs"]),  # type: ignore[index]
                       knobs=knobs, assertions=tuple(assertions))


def _value(name: str, attributes: Any, operands: list[Any]) -> Any:
    """The result of one operation of the smt dialect as a z3 expression."""
    import z3

    if name == "smt.int.constant":
        return z3.IntVal(int(str(attributes["value"]).split(":")[0]))
    if name == "smt.int.cmp":
        left, right = operands
        return (left < right, left <= right, left > right, left >= right)[int(str(attributes["pred"]).split(":")[0])]
    if name == "iree_codegen.smt.lookup":
        found, *others = [z3.IntVal(int(value)) for value in attributes["values"]][::-1]
        for key, value in zip(list(attributes["keys"])[-2::-1], others, strict=True):
            found = z3.If(operands[0] == int(key), value, found)
        return found
    handlers: dict[str, Any] = {
        "smt.int.add": z3.Sum, "smt.int.mul": z3.Product, "smt.int.sub": lambda a, b: a - b, "smt.int.div": lambda a, b: a / b,
        "smt.int.mod": lambda a, b: a % b, "smt.eq": lambda a, b: a == b, "smt.or": z3.Or, "smt.and": z3.And, "smt.not": z3.Not,
        "smt.ite": z3.If, "smt.implies": z3.Implies}
    if name not in handlers:
        raise CompileError(f"a constraint uses {name}, which IREE 3.13's do not; was it made by another compiler?")
    return handlers[name](*operands)


def _template(attribute: Any) -> Any:
    """An attribute as numbers, names of knobs, lists and tables; (knob, choices) where one of several is meant, None where it says no number."""
    from iree.compiler import ir
    if isinstance(attribute, ir.DictAttr):
        return {attribute[index].name: _template(attribute[index].attr) for index in range(len(attribute))}
    if isinstance(attribute, ir.ArrayAttr):
        return [_template(part) for part in attribute]
    text = str(attribute)
    if found := re.search(r'smt\.int_knob<"(\w+)">', text):
        return found[1]
    if found := re.search(r'smt\.one_of_knob<"(\w+)", \[(.*)\]>', text):
        return found[1], tuple(_INTRINSIC.findall(found[2]))
    number = re.match(r"(-?\d+) : ", text)
    return int(number[1]) if number else None


def _bind(key: str, shape: Any, given: Any, found: dict[str, int]) -> str | None:
    """Match one entry with the template; knobs go into `found`. Why it does not match, or None."""
    if isinstance(shape, dict):
        return next((why for name, part in shape.items() if isinstance(part, str) and (why := _bind(name, part, given.get(name, 0), found))), None)
    if isinstance(shape, list):
        if not isinstance(given, Sequence) or len(shape) != len(given):
            return f"{key} is {given}, {len(shape)} entries expected"
        return next((why for one, value in zip(shape, given, strict=True) if (why := _bind(key, one, value, found))), None)
    if isinstance(shape, tuple):
        name = lowering_keys.mma_name(given)
        if name not in shape[1]:
            return f"{key} {name} is none of {', '.join(shape[1])}"
        found[shape[0]] = shape[1].index(name)
    elif isinstance(shape, str):
        found[shape] = int(given)
    elif shape is not None and shape != given:
        return f"{key} has {given} where {shape} is expected"
    return None


def _told(words: str, values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items() if re.search(rf"\b{name}\b", words))

"""What two dispatches must share to be the same work: their operations and shapes, not their names, addresses or configuration."""

from __future__ import annotations

import hashlib
from typing import Any

from compile.dispatch_ops import walk

_LOADS = ("iree_codegen.load_from_buffer", "iree_tensor_ext.dispatch.tensor.load", "hal.interface.binding.subspan")
_STORES = ("iree_codegen.store_to_buffer", "iree_tensor_ext.dispatch.tensor.store")
# What tuning sets or stamps, and what only repeats another attribute
_LEFT_OUT = frozenset({"lowering_config", "decomposition_config", "compilation_info", "translation_info", "tuned_by", "root_op",
                       "__tuning_spec_applied__", "linalg.memoized_indexing_maps"})


def sha256(function: Any) -> str:
    """Digest of the computation of a configured func.func (iree.compiler.ir.Operation).

    Taken over everything that its stores depend on, operands first and values numbered as they come. A load is a leaf with
    its type: where a buffer lies depends on the rest of the program.
    """
    lines = _Lines()
    stores = [found for found in walk(function) if found.name in _STORES or  # or a plain copy, on buffers
              (found.name.startswith("linalg.") and not found.results and found.name != "linalg.yield")]
    for found in stores or [found for found in walk(function) if found.operation != function]:
        lines.add(found)
    return hashlib.sha256("\n".join(lines.text).encode()).hexdigest()


class _Lines:
    """Canonical text, built operands first."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._numbers: dict[Any, int] = {}
        self._done: set[Any] = set()

    def add(self, operation: Any) -> None:
        """Write `operation` after all that it depends on; once."""
        if operation in self._done:
            return
        self._done.add(operation)
        if operation.name in _LOADS:
            self._write("load", (), operation, ())
            return
        for value in operation.operands:
            self._depend(value)
        for inner in walk(operation):  # what its regions use from outside
            for value in inner.operands:
                if not _inside(value, operation):
                    self._depend(value)
        operands = operation.operands[:1] if operation.name in _STORES else operation.operands
        self._write("store" if operation.name in _STORES else operation.name, operands, operation, _attributes(operation))
        for region in operation.regions:
            for block in region.blocks:
                self.text.append("{" + " ".join(self._name(argument) + ":" + str(argument.type) for argument in block.arguments))
                for inner in block:
                    self.add(inner.operation)
                self.text.append("}")

    def _depend(self, value: Any) -> None:
        owner = value.owner
        if hasattr(owner, "arguments"):  # a block: its argument
            return
        self.add(owner.operation if hasattr(owner, "operation") else owner)

    def _write(self, name: str, operands: Any, operation: Any, attributes: Any) -> None:
        results = " ".join(f"{self._name(result)}:{result.type}" for result in operation.results)
        self.text.append(f"{results} = {name} {' '.join(self._name(value) for value in operands)} {' '.join(attributes)}")

    def _name(self, value: Any) -> str:
        return f"%{self._numbers.setdefault(value, len(self._numbers))}"


def _attributes(operation: Any) -> list[str]:
    return sorted(f"{attribute.name}={attribute.attr}" if hasattr(attribute, "attr") else f"{attribute}={operation.attributes[attribute]}"
                  for attribute in operation.attributes if str(getattr(attribute, "name", attribute)) not in _LEFT_OUT)


def _inside(value: Any, operation: Any) -> bool:
    """Whether `value` is made within a region of `operation`."""
    owner = value.owner
    around = owner.owner if hasattr(owner, "arguments") else owner.parent if hasattr(owner, "parent") else owner.operation.parent
    while around is not None:
        if around.operation == operation:
            return True
        around = around.operation.parent
    return False

"""One IREE device, opened: loads executables, calls functions, moves tensors. Only iree.runtime and numpy."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import iree.runtime as rt
import numpy as np
from iree.runtime import HalBufferView, HalElementType, HalFence, _binding

from scripts.first_contact_parts import tensors
from scripts.first_contact_parts.contents import Unit

LOCAL = "local-task"
ELEMENTS = {
    "f64": HalElementType.FLOAT_64, "f32": HalElementType.FLOAT_32, "f16": HalElementType.FLOAT_16, "bf16": HalElementType.BFLOAT_16,
    "f8E4M3FN": HalElementType.FLOAT_8_E4M3_FN, "f8E4M3FNUZ": HalElementType.FLOAT_8_E4M3_FNUZ,
    "f8E5M2": HalElementType.FLOAT_8_E5M2, "f8E5M2FNUZ": HalElementType.FLOAT_8_E5M2_FNUZ, "i64": HalElementType.SINT_64,
    "i32": HalElementType.SINT_32, "i16": HalElementType.SINT_16, "i8": HalElementType.SINT_8, "i1": HalElementType.BOOL_8,
}
# a function's results come back as INT_*; traced ones likewise
NAMES = {int(value): name for name, value in ELEMENTS.items()} | {
    int(HalElementType.INT_64): "i64", int(HalElementType.INT_32): "i32", int(HalElementType.INT_16): "i16", int(HalElementType.INT_8): "i8",
    int(HalElementType.UINT_8): "i8"}


# Devices and executables of a stage: never dropped, its process ends by os._exit. On one host a CPU stage that had done all its
# work ended in SIGSEGV when they were.
_KEPT: list[Any] = []


class Opened:
    """A device with its own driver. `sink`: called with a label and buffer views for every traced dispatch."""

    def __init__(self, uri: str, sink: Callable[[str, Sequence[HalBufferView]], None] | None = None) -> None:
        name, _, _ = uri.partition("://")
        if name == LOCAL:
            rt.flags.parse_flags(f"--task_topology_group_count={len(os.sched_getaffinity(0))}")
        # a driver of its own for each CPU device: one driver's devices share their threads. GPUs: 64 drivers would not fit a process
        driver = _binding.create_hal_driver(name) if name.startswith("local") else rt.get_driver(name)
        self.device = driver.create_default_device() if name.startswith("local") else driver.create_device_by_uri(uri)
        self.instance = rt.VmInstance()
        self._timeline = Timeline(self.device)
        _KEPT.append(self)
        self._sink = rt.HalModuleDebugSink(sink) if sink else None
        self._hal = (rt.create_hal_module(self.instance, self.device, debug_sink=self._sink) if sink
                     else rt.create_hal_module(self.instance, self.device))

    def parameters(self, scope: str, path: Path) -> Any:
        """The module that gives an executable its parameters from an archive."""
        index = rt.ParameterIndex()
        index.load(str(path))
        return rt.create_io_parameters_module(self.instance, index.create_provider(scope=scope))

    def load(self, path: Path, parameters: Any = None, *, fenced: bool = False) -> Loaded:
        """An executable with its context; its initializers run here. `fenced`: its functions take fences."""
        module = rt.VmModule.mmap(self.instance, str(path))
        modules = [self._hal, module] if parameters is None else [self._hal, parameters, module]
        return Loaded(rt.VmContext(self.instance, modules), module, self._timeline if fenced else None)

    def to_device(self, array: np.ndarray, element: str) -> HalBufferView:
        """A copy of a carrier array in the device's memory."""
        carrier = np.require(array, requirements="C")  # keeps rank 0
        return self.device.allocator.allocate_buffer_copy(
            memory_type=rt.MemoryType.DEVICE_LOCAL, allowed_usage=rt.BufferUsage.DEFAULT, device=self.device, buffer=carrier,
            element_type=ELEMENTS[element])

    def to_host(self, view: HalBufferView) -> tuple[np.ndarray, str]:
        """A copy of a view as a carrier array, with its element type."""
        element = NAMES.get(int(view.element_type))
        if element is None:
            raise ValueError(f"element type {int(view.element_type):#x} is none of {', '.join(ELEMENTS)}")
        shape = tuple(view.shape)
        carrier = np.dtype(tensors.CARRIERS[element])
        count = int(np.prod(shape)) * carrier.itemsize
        flat = HalBufferView(view.get_buffer(), [count], HalElementType.SINT_8)
        return rt.DeviceArray(self.device, flat).to_host().view(carrier).reshape(shape).copy(), element


class Timeline:
    """One row of work on a device: each call waits for the one before it, on the device."""

    def __init__(self, device: Any) -> None:
        self._semaphore = device.create_semaphore(0)
        self._value = 0

    def next(self) -> tuple[HalFence, HalFence]:
        """Fences of the next call: what it waits for, and what it signals."""
        before = HalFence.create_at(self._semaphore, self._value)
        self._value += 1
        return before, HalFence.create_at(self._semaphore, self._value)

    def wait(self) -> None:
        """Until all of it is done; RuntimeError for work that failed. A hang is the parent's to end."""
        HalFence.create_at(self._semaphore, self._value).wait()


class Loaded:
    """An executable in a context. With a `timeline` its functions take fences and return before the device is done."""

    def __init__(self, context: Any, module: Any, timeline: Timeline | None) -> None:
        self._context = context
        self._module = module
        self._timeline = timeline
        self._functions: dict[str, Any] = {}
        _KEPT.append(self)

    def call(self, name: str, arguments: Sequence[HalBufferView]) -> list[HalBufferView]:
        """Call a function and wait for it."""
        if name not in self._functions:
            self._functions[name] = self._module.lookup_function(name)
            if self._functions[name] is None:
                raise ValueError(f"{self._module.name} has no function {name}")
        fences = self._timeline.next() if self._timeline else ()
        inputs, outputs = rt.VmVariantList(len(arguments) + len(fences)), rt.VmVariantList(2)
        for argument in (*arguments, *fences):
            inputs.push_ref(argument)
        self._context.invoke(self._functions[name], inputs, outputs)
        if self._timeline:
            self._timeline.wait()
        return [outputs.get_as_object(index, HalBufferView) for index in range(outputs.size)]


def parameter_file(unit: Unit, archive: Path, scratch: Path) -> Path | None:
    """The unit's parameters: of the archive, or random ones made once; None when it has none."""
    if unit.parameters is not None:
        return archive / unit.parameters
    if not unit.random_parameters:
        return None
    path = scratch / f"{unit.name}.random.irpa"
    if not path.is_file():
        index = rt.ParameterIndex()
        for name, kind in unit.random_parameters:
            index.add_buffer(name, tensors.parameter(name, kind))
        partial = path.with_suffix(".partial")
        index.create_archive_file(str(partial))
        partial.rename(path)
    return path

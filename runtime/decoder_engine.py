"""An IREE device with a compiled decoder: runs the steps of continuous batching. The KV cache lives in the module, on the device."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import iree.runtime as rt
import numpy as np
from iree.runtime import HalBufferView, HalElementType

from ireeperf.errors import DeviceError, ManifestError
from runtime import iree_driver
from runtime.continuous_batching import Step
from runtime.iree_driver import COMPILE_AGAIN, first_line
from runtime.iree_fences import Timeline
from runtime.sdxl_loop import FENCED, MODEL


class DecoderEngine:
    """One device with one decoder. Called from one thread only; an error of a step leaves it to be closed and opened anew."""

    def __init__(self, uri: str, executable: Path, archive: Path, *, scope: str = "model", threads: int = 1) -> None:
        self.uri = uri
        self.cpu_ns = 0  # this thread's CPU time inside executables
        self._executable, self._archive, self._scope, self._threads = executable, archive, scope, threads
        self._device: Any = None
        self._context: Any = None
        self._module: Any = None
        self._timeline: Any = None
        self._functions: dict[str, tuple[Any, bool]] = {}
        self._given_up = threading.Event()

    def open(self) -> None:
        """Create the device, load executable and weights; DeviceError or ManifestError."""
        self._device, _ = iree_driver.create_device(self.uri, self._threads)
        instance = rt.VmInstance()
        try:
            index = rt.ParameterIndex()
            index.load(str(self._archive))
            parameters = rt.create_io_parameters_module(instance, index.create_provider(scope=self._scope))
        except (RuntimeError, ValueError) as error:
            raise ManifestError(f"{self._archive} is not a parameter archive ({first_line(error)}); {COMPILE_AGAIN}") from error
        with iree_driver.creating:
            try:
                self._module = rt.VmModule.mmap(instance, str(self._executable))
                self._context = rt.VmContext(instance, [rt.create_hal_module(instance, self._device), parameters, self._module])
            except (RuntimeError, ValueError) as error:
                raise iree_driver.load_error(self.uri, self._executable, error) from error
        self._timeline = Timeline(self._device, self._given_up)

    def run(self, step: Step) -> np.ndarray:
        """The step's tokens [size] int64, ends as -1 - token. DeviceError when the device fails."""
        try:
            return self._invoke(step.entry_point, step.tokens, step.positions, step.page_table)
        except (RuntimeError, ValueError) as error:
            raise DeviceError(first_line(error)) from error

    def close(self) -> None:
        """Drop executable, weights, cache and device."""
        self._functions, self._timeline, self._context, self._module, self._device = {}, None, None, None, None

    def park(self) -> None:
        """Given up while it hangs, by another thread: a wait for one of its fences ends."""
        self._given_up.set()

    def _invoke(self, name: str, *arrays: np.ndarray) -> np.ndarray:
        function, fenced = self._function(name)
        inputs, outputs = rt.VmVariantList(len(arrays) + 2), rt.VmVariantList(1)
        for array in arrays:
            inputs.push_ref(self._device.allocator.allocate_buffer_copy(
                memory_type=rt.MemoryType.DEVICE_LOCAL, allowed_usage=rt.BufferUsage.DEFAULT, device=self._device,
                buffer=np.ascontiguousarray(array, np.int64), element_type=HalElementType.SINT_64))
        if fenced:
            for fence in self._timeline.next():
                inputs.push_ref(fence)
        started = time.thread_time_ns()
        self._context.invoke(function, inputs, outputs)  # releases the GIL
        self.cpu_ns += time.thread_time_ns() - started
        self._timeline.wait()
        view = outputs.get_as_object(0, HalBufferView)
        return rt.DeviceArray(self._device, view).to_host().copy()

    def _function(self, name: str) -> tuple[Any, bool]:
        if name not in self._functions:
            function = self._module.lookup_function(name)
            if function is None:
                raise ManifestError(f"executable {self._module.name} has no entry point {name}; it has {self._module.function_names}; {COMPILE_AGAIN}")
            self._functions[name] = function, function.reflection.get(MODEL) == FENCED
        return self._functions[name]

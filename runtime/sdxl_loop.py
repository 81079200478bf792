"""One prompt to one image: encode -> initialize -> N x forward -> decode, all on device buffers.

Token ids go in, uint8 images come out; nothing else crosses to the host. Every batch gathers its rows from the sample
set anew, the negative prompt's too: the MLPerf rules forbid caching across queries and anything keyed by sample index.

Executables compiled with --iree-execution-model=async-external (hip, cuda) take two fences more, and the host waits in turns that it
can end. It waits after every invocation although the device could: a view that is queued behind work that failed is never allocated,
and dropping it waits for that for ever, with the GIL (IREE 3.13's HIP driver; docs/HIP_POOL.md).
"""

from __future__ import annotations

import mmap
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import iree.runtime as rt
import numpy as np
from iree.runtime import HalBufferView, HalDevice, HalElementType

from export.model_config import ModelConfig
from ireeperf.errors import ManifestError
from ireeperf.samples import ARRAYS, SampleSet
from runtime.iree_fences import Timeline

ENCODE, INITIALIZE, FORWARD, DECODE = "encode_prompts", "run_initialize", "run_forward", "decode"
HOST_MEMORY = rt.MemoryType.HOST_LOCAL | rt.MemoryType.DEVICE_VISIBLE
HOST_USAGE = rt.BufferUsage.TRANSFER_TARGET | rt.BufferUsage.MAPPING_PERSISTENT
MODEL, FENCED = "iree.abi.model", "coarse-fences"  # reflection that the compiler leaves on an entry point


class SdxlLoop:
    """The executables of one batch size on one device. `contexts`: module -> (VmContext, VmModule).

    Once `given_up` is set, a wait for the device ends with DeviceError.
    """

    def __init__(self, device: HalDevice, contexts: Mapping[str, tuple[Any, Any]], model: ModelConfig, size: int,
                 given_up: threading.Event) -> None:
        self.cpu_ns = 0  # this thread's CPU time inside executables
        self._device = device
        self._size = size
        self._slots = model.vae_batch_size(size)
        self._timeline = Timeline(device, given_up)
        self.in_flight: list[Any] = []  # not dropped when drawing fails: that may wait for the device, and holds the GIL meanwhile
        self._functions = {name: self._lookup(*contexts[module], name) for module, name in (
            ("clip", ENCODE), ("scheduled_unet", INITIALIZE), ("scheduled_unet", FORWARD), ("vae", DECODE))}
        self._guidance = self._to_device(np.array([model.guidance_scale], np.float32))
        self._steps = [self._to_device(np.array([step], np.int64)) for step in range(model.num_inference_steps)]

    def draw(self, samples: SampleSet, rows: Sequence[int]) -> list[np.ndarray]:
        """Images of sample-set rows `rows` (as many as the batch size): each [H, W, 3] uint8."""
        ids = [self._to_device(np.take(getattr(samples, name), rows, axis=0).astype(np.int64, copy=False)) for name in ARRAYS[:4]]
        shared = np.broadcast_to(samples.latents, (self._size, *samples.latents.shape[1:]))
        prompt_embeds, text_embeds = self._invoke(ENCODE, *ids)
        latents, time_ids = self._invoke(INITIALIZE, self._to_device(np.ascontiguousarray(shared)))
        for step in self._steps:
            latents, = self._invoke(FORWARD, latents, prompt_embeds, text_embeds, time_ids, self._guidance, step)
        decoded: list[HalBufferView] = []
        for first in range(0, self._size, self._slots):
            part = latents if self._slots == self._size else self._rows(latents, first)
            decoded += self._invoke(DECODE, part)
        answers = [view if is_mappable(view) else self._to_host(view) for view in decoded]
        self._timeline.wait()
        self.in_flight.clear()
        return [image for answer in answers for image in (answer if isinstance(answer, np.ndarray) else mapped(self._device, answer))]

    def _invoke(self, name: str, *arguments: HalBufferView) -> list[HalBufferView]:
        context, function, fenced = self._functions[name]
        inputs, outputs = rt.VmVariantList(len(arguments) + 2), rt.VmVariantList(2)
        for argument in arguments:
            inputs.push_ref(argument)
        if fenced:
            for fence in self._timeline.next():
                inputs.push_ref(fence)
        started = time.thread_time_ns()
        context.invoke(function, inputs, outputs)  # releases the GIL
        self.cpu_ns += time.thread_time_ns() - started
        views = [outputs.get_as_object(i, HalBufferView) for i in range(outputs.size)]
        self.in_flight += views
        self._timeline.wait()
        return views

    def _rows(self, view: HalBufferView, first: int) -> HalBufferView:
        """Rows `first`..`first + slots` of `view`, copied on the device (the bindings have no subspan)."""
        row_bytes = view.byte_length // view.shape[0]
        target = self._device.allocator.allocate_buffer(
            memory_type=rt.MemoryType.DEVICE_LOCAL, allowed_usage=rt.BufferUsage.DEFAULT, allocation_size=self._slots * row_bytes)
        commands = rt.HalCommandBuffer(self._device)
        commands.copy(view.get_buffer(), target, source_offset=first * row_bytes, target_offset=0, length=self._slots * row_bytes, end=True)
        self._device.queue_execute(commands, *self._timeline.next())
        part = HalBufferView(target, [self._slots, *view.shape[1:]], view.element_type)
        self.in_flight += [commands, part]
        self._timeline.wait()  # an executable that blocks reads its arguments at once
        return part

    def _to_host(self, view: HalBufferView) -> np.ndarray:
        """A uint8 array that will hold `view` once the timeline got there. It keeps nothing of the device alive.

        On pages of its own: HIP and CUDA register the pages that they write to, and refuse one that is registered already.
        """
        host = np.frombuffer(mmap.mmap(-1, view.byte_length), np.uint8).reshape(view.shape)
        buffer = self._device.allocator.import_host_allocation(host, memory_type=HOST_MEMORY, allowed_usage=HOST_USAGE)
        self._device.queue_copy(view.get_buffer(), buffer, *self._timeline.next())
        self.in_flight.append(buffer)
        return host

    def _lookup(self, context: Any, module: Any, name: str) -> tuple[Any, Any, bool]:
        """Context, function, and whether it takes fences: what it waits for and what it signals."""
        function = module.lookup_function(name)
        if function is None:
            raise ManifestError(f"executable {module.name} has no entry point {name}; it has {module.function_names}; "
                                "export and compile again with ./compile/precompile.py")
        return context, function, function.reflection.get(MODEL) == FENCED

    def _to_device(self, array: np.ndarray) -> HalBufferView:
        kind = HalElementType.SINT_64 if array.dtype == np.int64 else HalElementType.FLOAT_32
        view: HalBufferView = self._device.allocator.allocate_buffer_copy(
            memory_type=rt.MemoryType.DEVICE_LOCAL, allowed_usage=rt.BufferUsage.DEFAULT, device=self._device, buffer=array,
            element_type=kind)
        self.in_flight.append(view)
        return view


def is_mappable(view: HalBufferView) -> bool:
    """Whether the host sees the memory: a CPU device's."""
    buffer = view.get_buffer()
    return bool(buffer.memory_type() & int(rt.MemoryType.HOST_VISIBLE) and buffer.allowed_usage() & int(rt.BufferUsage.MAPPING_SCOPED))


class Mapped:
    """Memory of a mapped view for numpy: an array made from it keeps it mapped.

    The array that the bindings give does not (3.13): once its DeviceArray is gone, it shows whatever comes next.
    """

    def __init__(self, device: HalDevice, view: HalBufferView) -> None:
        self._device = device
        self._array = rt.DeviceArray(device, view)  # holds the mapping
        self.__array_interface__ = self._array.to_host().view(np.uint8).__array_interface__  # IREE calls uint8 int8

    def __del__(self) -> None:
        del self._array  # first: a buffer that outlives its device crashes, and DeviceArray drops its device first


def mapped(device: HalDevice, view: HalBufferView) -> list[np.ndarray]:
    """The rows of a uint8 view, in the device's own memory."""
    return list(np.asarray(Mapped(device, view)))

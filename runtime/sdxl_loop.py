"""One prompt to one image: encode -> initialize -> N x forward -> decode, all on device buffers.

Token ids go in, uint8 images come out; nothing else crosses to the host. Every batch gathers its rows from the sample
set anew, the negative prompt's too: the MLPerf rules forbid caching across queries and anything keyed by sample index.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import iree.runtime as rt
import numpy as np
from iree.runtime import HalBufferView, HalDevice, HalElementType, HalFence

from export.model_config import ModelConfig
from ireeperf.errors import ManifestError
from ireeperf.samples import ARRAYS, SampleSet

ENCODE, INITIALIZE, FORWARD, DECODE = "encode_prompts", "run_initialize", "run_forward", "decode"


class SdxlLoop:
    """The executables of one batch size on one device. `contexts`: module -> (VmContext, VmModule)."""

    def __init__(self, device: HalDevice, contexts: Mapping[str, tuple[Any, Any]], model: ModelConfig, size: int) -> None:
        self.cpu_ns = 0  # this thread's CPU time inside executables
        self._device = device
        self._size = size
        self._slots = model.vae_batch_size(size)
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
        images: list[np.ndarray] = []
        for first in range(0, self._size, self._slots):
            part = latents if self._slots == self._size else rows_of(self._device, latents, first, self._slots)
            decoded, = self._invoke(DECODE, part)
            images += to_host(self._device, decoded)
        return images

    def _invoke(self, name: str, *arguments: HalBufferView) -> list[HalBufferView]:
        context, function = self._functions[name]
        inputs, outputs = rt.VmVariantList(len(arguments)), rt.VmVariantList(2)
        for argument in arguments:
            inputs.push_ref(argument)
        started = time.thread_time_ns()
        context.invoke(function, inputs, outputs)  # releases the GIL
        self.cpu_ns += time.thread_time_ns() - started
        return [outputs.get_as_object(i, HalBufferView) for i in range(outputs.size)]

    def _lookup(self, context: Any, module: Any, name: str) -> tuple[Any, Any]:
        function = module.lookup_function(name)
        if function is None:
            raise ManifestError(f"executable {module.name} has no entry point {name}; it has {module.function_names}; "
                                "export and compile again with ./compile/precompile.py")
        return context, function

    def _to_device(self, array: np.ndarray) -> HalBufferView:
        kind = HalElementType.SINT_64 if array.dtype == np.int64 else HalElementType.FLOAT_32
        view: HalBufferView = self._device.allocator.allocate_buffer_copy(
            memory_type=rt.MemoryType.DEVICE_LOCAL, allowed_usage=rt.BufferUsage.DEFAULT, device=self._device, buffer=array,
            element_type=kind)
        return view


def rows_of(device: HalDevice, view: HalBufferView, first: int, count: int) -> HalBufferView:
    """Rows `first`..`first + count` of `view`, copied on the device (the bindings have no subspan)."""
    row_bytes = view.byte_length // view.shape[0]
    target = device.allocator.allocate_buffer(memory_type=rt.MemoryType.DEVICE_LOCAL, allowed_usage=rt.BufferUsage.DEFAULT,
                                              allocation_size=count * row_bytes)
    commands = rt.HalCommandBuffer(device)
    commands.copy(view.get_buffer(), target, source_offset=first * row_bytes, target_offset=0, length=count * row_bytes, end=True)
    semaphore = device.create_semaphore(0)
    device.queue_execute(commands, HalFence.create_at(semaphore, 0), HalFence.create_at(semaphore, 1))
    HalFence.create_at(semaphore, 1).wait()
    return HalBufferView(target, [count, *view.shape[1:]], view.element_type)


class Held:
    """Memory of a device array for numpy: an array made from it keeps the device's buffer mapped.

    The array that the bindings give does not (3.13): once its DeviceArray is gone, it shows whatever comes next.
    """

    def __init__(self, array: rt.DeviceArray) -> None:
        self._array = array  # holds the mapping, where there is one
        self._host = array.to_host().view(np.uint8)  # holds the copy otherwise; IREE calls uint8 int8
        self.__array_interface__ = self._host.__array_interface__


def to_host(device: HalDevice, view: HalBufferView) -> list[np.ndarray]:
    """The rows of a uint8 view: mapped where the host sees the device's memory, copied elsewhere."""
    return list(np.asarray(Held(rt.DeviceArray(device, view))))

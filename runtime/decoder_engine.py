"""An IREE device with a compiled decoder: runs the calls of continuous batching. The KV cache lives in the module, on the device."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import iree.runtime as rt
import numpy as np
from iree.runtime import HalBufferView, HalElementType

from compile import manifest as manifests
from compile.manifest import Manifest
from export.decoder_config import DecoderConfig
from ireeperf.errors import DeviceError, ManifestError
from runtime import iree_driver
from runtime.batch import Call, shape_of
from runtime.iree_device import check_compiler
from runtime.iree_driver import COMPILE_AGAIN, first_line, thread_cpu_seconds
from runtime.iree_fences import Timeline
from runtime.sdxl_loop import FENCED, MODEL

MODULE = "decoder"
_parked: list[Any] = []  # given up while they hang: dropping them would wait for the device


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderBuild:
    """The files of a decoder's build, checked."""

    model: DecoderConfig
    entry_points: tuple[str, ...]
    executable: Path
    archive: Path
    scope: str

    @property
    def weight_bytes(self) -> int:
        """Of the parameter archive."""
        return self.archive.stat().st_size

    @property
    def cache_bytes(self) -> int:
        """Of the KV cache, which each device has for itself."""
        return self.model.pages * self.model.page_values * (4 if self.model.dtype == "float32" else 2)


def check_build(folder: Path, manifest: Manifest) -> DecoderBuild:
    """The files, compared with their digests; ManifestError when another compiler made them, one is corrupt, or there are no weights."""
    check_compiler(manifest)
    model, archive = manifest.decoder, manifest.archive(MODULE)
    if archive is None:
        raise ManifestError(f"the build has no weights (checkpoint {manifest.checkpoint!r}); compile with --checkpoint FOLDER or FILE.gguf")
    executable = manifest.executable(MODULE, model.decode_batch_sizes[-1])
    return DecoderBuild(model=model, entry_points=executable.entry_points, executable=manifests.check_file(folder, executable.path, executable.sha256),
                        archive=manifests.check_file(folder, archive.path, archive.sha256), scope=archive.scope)


class DecoderEngine:
    """One device with one decoder. Called from one thread only; an error of a call leaves it to be closed and opened anew."""

    image_shape = None

    def __init__(self, uri: str, build: DecoderBuild, threads: int = 1) -> None:
        self.uri = uri
        self.sizes = build.entry_points
        self._build = build
        self._threads = threads
        self._cpu_ns = 0  # this thread's CPU time inside executables
        self._device: Any = None
        self._module: Any = None
        self._context: Any = None
        self._timeline: Any = None
        self._functions: dict[str, tuple[Any, bool]] = {}
        self._workers: set[str] = set()
        self._past_cpu_seconds = 0.0  # of workers that were dropped
        self._given_up = threading.Event()

    def open(self) -> None:
        """Create the device, load executable and weights; DeviceError or ManifestError."""
        build = self._build
        self._device, self._workers = iree_driver.create_device(self.uri, self._threads)
        instance = rt.VmInstance()
        parameters = iree_driver.parameters(instance, build.scope, build.archive)
        with iree_driver.creating:
            try:
                self._module = rt.VmModule.mmap(instance, str(build.executable))
                self._context = rt.VmContext(instance, [rt.create_hal_module(instance, self._device), parameters, self._module])
            except (RuntimeError, ValueError) as error:
                raise iree_driver.load_error(self.uri, build.executable, error) from error
        self._timeline = Timeline(self._device, self._given_up)
        self._functions = {name: self._function(name) for name in build.entry_points}

    def warm_up(self, size: str) -> None:
        """Call the entry point `size` once, all rows padding."""
        model, (rows, length) = self._build.model, shape_of(size)
        tokens = np.zeros((rows, length) if length else rows, np.int64)
        pages = (length or model.max_seq_len) // model.page_tokens
        self._invoke(size, tokens, np.ones(rows, np.int64) if length else np.zeros(rows, np.int64), np.zeros((rows, pages), np.int64))

    def run(self, work: Call) -> list[np.ndarray]:
        """One array: the tokens [size] int64, ends as -1 - token. DeviceError when the device fails."""
        try:
            return [self._invoke(work.entry_point, work.tokens, work.positions, work.page_table)]
        except (RuntimeError, ValueError) as error:
            raise DeviceError(first_line(error)) from error

    def close(self) -> None:
        """Drop executable, weights, cache and device."""
        self._past_cpu_seconds += sum(map(thread_cpu_seconds, self._workers))
        self._functions, self._timeline, self._context, self._module, self._device, self._workers = {}, None, None, None, None, set()

    def park(self) -> None:
        """Given up while it hangs, by another thread: keep all of it for ever. A wait for one of its fences ends."""
        _parked.append(self)
        self._given_up.set()

    def executable_cpu_seconds(self) -> float:
        """CPU time of this engine's calls and of its driver's worker threads."""
        return self._past_cpu_seconds + self._cpu_ns / 1e9 + sum(map(thread_cpu_seconds, self._workers))

    def _invoke(self, name: str, *arrays: np.ndarray) -> np.ndarray:
        function, fenced = self._functions[name]
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
        self._cpu_ns += time.thread_time_ns() - started
        if fenced:
            self._timeline.wait()
        view = outputs.get_as_object(0, HalBufferView)
        return rt.DeviceArray(self._device, view).to_host().copy()

    def _function(self, name: str) -> tuple[Any, bool]:
        function = self._module.lookup_function(name)
        if function is None:
            raise ManifestError(f"executable {self._module.name} has no entry point {name}; it has {self._module.function_names}; {COMPILE_AGAIN}")
        return function, function.reflection.get(MODEL) == FENCED

"""A device that runs IREE executables: local-task and local-sync (CPU), hip, cuda."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import iree.runtime as rt
import numpy as np

from compile import manifest as manifests
from compile.manifest import Manifest
from export.model_config import MODULES, ModelConfig
from ireeperf.errors import DeviceError, ManifestError
from ireeperf.samples import SampleSet
from runtime import iree_driver
from runtime.batch import Batch
from runtime.iree_driver import COMPILE_AGAIN, first_line, thread_cpu_seconds
from runtime.sdxl_loop import SdxlLoop

RUNTIME_PACKAGE = "iree-base-runtime"
_parked: list[object] = []  # what hangs or may: dropping it stalls every thread until the device answers, maybe for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The files of a build that a run needs, digests checked."""

    model: ModelConfig
    sizes: tuple[int, ...]  # batch sizes that the run may use, ascending
    executables: dict[tuple[str, int], Path]  # (module, batch size) -> .vmfb
    archives: dict[str, tuple[str, Path]]  # module -> (scope, .irpa)

    @property
    def weight_bytes(self) -> int:
        """Weights in the memory of one device, at least: every executable loads a copy of its own, and may keep a packed one besides."""
        return sum(self.archives[module][1].stat().st_size for module, _ in self.executables)


def check_compiler(manifest: Manifest) -> None:
    """ManifestError when a compiler of another release than this runtime made the build."""
    runtime = metadata.version(RUNTIME_PACKAGE)
    if manifest.compiler_version.split(".")[:2] != runtime.split(".")[:2]:
        raise ManifestError(f"the build was made by iree-compile {manifest.compiler_version}, this environment has "
                            f"{RUNTIME_PACKAGE} {runtime}; {COMPILE_AGAIN}, or install {RUNTIME_PACKAGE} of that version")


def check_build(folder: Path, manifest: Manifest, sizes: Sequence[int]) -> Build:
    """The files for batch sizes `sizes`, compared with their digests; ManifestError when another compiler made them or one is corrupt."""
    check_compiler(manifest)
    model = manifest.images
    executables, archives = {}, {}
    for module in MODULES:
        for size in {model.vae_batch_size(size) for size in sizes} if module == "vae" else sizes:
            executable = manifest.executable(module, size)
            executables[module, size] = manifests.check_file(folder, executable.path, executable.sha256)
        archive = manifest.archive(module)
        if archive is None:
            raise ManifestError(f"the build has no weights for {module} (checkpoint {manifest.checkpoint!r}); "
                                "compile with --checkpoint FOLDER")
        archives[module] = archive.scope, manifests.check_file(folder, archive.path, archive.sha256)
    return Build(model=model, sizes=tuple(sorted(sizes)), executables=executables, archives=archives)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBudget:
    """What devices take of the host before the first batch."""

    pinned_bytes: int
    threads: int


def host_budget(driver: str, devices: int) -> HostBudget | None:
    """What `devices` of `driver` take of the host; None where it was not measured.

    hip: a staging buffer of 128 MiB, pinned by hipHostMalloc, and 4 threads a device (IREE 3.13, docs/HIP_POOL.md).
    """
    if driver == "hip":
        return HostBudget(pinned_bytes=devices * 128 * 2**20, threads=devices * 4)
    return HostBudget(pinned_bytes=0, threads=0) if driver == "local-sync" else None


class IreeEngine:
    """One IREE device with its executables and weights.

    An error from an invocation or a fence kills a GPU's HalDevice for good (its queue keeps the first failure), and its memory
    comes back only when all of it is dropped: `close` and `open` build it anew.
    """

    def __init__(self, uri: str, build: Build, samples: SampleSet, threads: int) -> None:
        self.uri = uri
        self.image_shape = build.model.image_shape
        self.sizes = build.sizes
        self._build = build
        self._samples = samples
        self._threads = threads
        self._device: Any = None
        self._loops: dict[int, SdxlLoop] = {}
        self._workers: set[str] = set()
        self._past_cpu_seconds = 0.0  # of what was dropped
        self._given_up = threading.Event()
        self._choked = False  # memory ran out, maybe in the device's queue

    def open(self) -> None:
        """Create the device, load executables and weights; DeviceError or ManifestError."""
        device, workers = iree_driver.create_device(self.uri, self._threads)
        try:
            self._loops = self._loaded(device)
        except (DeviceError, ManifestError) as error:
            if iree_driver.is_exhausted(error):
                _parked.append(device)  # as in `close`
            raise
        self._device, self._workers = device, workers

    def warm_up(self, size: int) -> None:
        """Draw the first sample in every slot of a batch of `size` and discard it."""
        self._draw(size, [0] * size)

    def run(self, batch: Batch) -> Sequence[np.ndarray]:
        """An image per sample: [H, W, 3] uint8, in memory of the device's own when the host can see it."""
        return self._draw(batch.size, batch.rows)[:len(batch.samples)]

    def close(self) -> None:
        """Drop executables, weights and device, so that the device's memory comes back; `open` may be called again."""
        self._past_cpu_seconds = self.executable_cpu_seconds()
        if self._choked:
            # An allocation that was queued behind one that failed is awaited for ever by whoever drops it, and by the driver's thread
            # that holds it, for which dropping the HalDevice waits (IREE 3.13). The weights do come back
            _parked.append((self._device, [loop.in_flight for loop in self._loops.values()]))
            self._choked = False
        self._loops, self._device, self._workers = {}, None, set()

    def park(self) -> None:
        """Given up while it hangs, by another thread: keep all of it for ever. A wait for one of its fences ends; a blocked call does not."""
        _parked.append(self)
        self._given_up.set()

    def executable_cpu_seconds(self) -> float:
        """CPU time of this engine's invocations and of its driver's worker threads."""
        invoked_ns = sum(loop.cpu_ns for loop in self._loops.values())
        return self._past_cpu_seconds + invoked_ns / 1e9 + sum(map(thread_cpu_seconds, self._workers))

    def _draw(self, size: int, rows: Sequence[int]) -> list[np.ndarray]:
        """Draw; when memory runs out, once more after a trim, and where that killed the device, once more on a new one."""
        if size not in self._loops:
            raise DeviceError(f"has no batch size {size}; {list(self.sizes)} are loaded")
        cause = ""
        remedies = [self._trim, self._rebuild]
        while True:
            try:
                images = self._loops[size].draw(self._samples, rows)
                self._choked = False  # a trim helped
                return images
            except (RuntimeError, ValueError) as error:
                self._choked = iree_driver.is_exhausted(error)
                cause = cause or first_line(error)  # a dead device repeats what killed it, or not
                if not remedies or not iree_driver.is_exhausted(cause):
                    raise DeviceError(cause) from error
            remedies.pop(0)()

    def _trim(self) -> None:
        self._device.allocator.trim()  # it keeps freed buffers by size, and gives up none of them when memory runs out

    def _rebuild(self) -> None:
        self.close()
        self.open()

    def _loaded(self, device: Any) -> dict[int, SdxlLoop]:
        with iree_driver.creating:
            contexts = self._contexts(device)
        loops, vae = {}, self._build.model.vae_batch_size
        try:
            for size in self.sizes:
                own = {"clip": contexts["clip", size], "scheduled_unet": contexts["scheduled_unet", size], "vae": contexts["vae", vae(size)]}
                loops[size] = SdxlLoop(device, own, self._build.model, size, self._given_up)
        except RuntimeError as error:
            raise DeviceError(f"cannot open {self.uri}: {first_line(error)}; {iree_driver.LOWER}") from error
        return loops

    def _contexts(self, device: Any) -> dict[tuple[str, int], tuple[Any, Any]]:
        """(module, batch size) -> (context, module). Each context loads weights of its own."""
        instance = rt.VmInstance()
        hal = rt.create_hal_module(instance, device)
        parameters = {module: iree_driver.parameters(instance, *self._build.archives[module]) for module in MODULES}
        contexts = {}  # not a comprehension: that drops modules while an exception is on its way, which breaks their deallocation (3.13)
        for (module, size), path in self._build.executables.items():
            contexts[module, size] = self._context(instance, hal, parameters[module], path)
        return contexts

    def _context(self, instance: Any, hal: Any, parameters: Any, path: Path) -> tuple[Any, Any]:
        try:
            module = rt.VmModule.mmap(instance, str(path))
            return rt.VmContext(instance, [hal, parameters, module]), module
        except (RuntimeError, ValueError) as error:
            raise iree_driver.load_error(self.uri, path, error) from error

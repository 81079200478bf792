"""A device that runs IREE executables: local-task and local-sync (CPU), hip, cuda."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import iree.runtime as rt
import numpy as np
from iree.runtime import _binding

from compile import manifest as manifests
from compile.manifest import Manifest
from export.model_config import MODULES, ModelConfig
from ireeperf.errors import DeviceError, ManifestError
from ireeperf.samples import SampleSet
from runtime.batch import Batch
from runtime.sdxl_loop import SdxlLoop

RUNTIME_PACKAGE = "iree-base-runtime"
TASKS = Path("/proc/self/task")
COMPILE_AGAIN = "compile again with ./compile/precompile.py"
_parked: list[object] = []  # what hung devices hold; the process ends by os._exit
_creating = threading.Lock()  # a new driver's threads are told from others' by listing threads before and after


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The files of a build that a run needs, digests checked."""

    model: ModelConfig
    batch_size: int  # largest that the run uses
    executables: dict[tuple[str, int], Path]  # (module, batch size) -> .vmfb
    archives: dict[str, tuple[str, Path]]  # module -> (scope, .irpa)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes that the run may use; a tail takes a smaller one."""
        return tuple(size for size in self.model.sample_batch_sizes if size <= self.batch_size)


def check_build(folder: Path, manifest: Manifest, batch_size: int) -> Build:
    """The build's files, compared with their digests; ManifestError when another compiler made them or one is corrupt."""
    runtime = metadata.version(RUNTIME_PACKAGE)
    if manifest.compiler_version.split(".")[:2] != runtime.split(".")[:2]:
        raise ManifestError(f"the build was made by iree-compile {manifest.compiler_version}, this environment has "
                            f"{RUNTIME_PACKAGE} {runtime}; {COMPILE_AGAIN}, or install {RUNTIME_PACKAGE} of that version")
    model = manifest.model
    sizes = [size for size in model.sample_batch_sizes if size <= batch_size]
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
    return Build(model=model, batch_size=batch_size, executables=executables, archives=archives)


class IreeEngine:
    """One IREE device with its own driver instance, executables and weights."""

    def __init__(self, uri: str, build: Build, samples: SampleSet, threads: int) -> None:
        self.uri = uri
        self.image_shape = build.model.image_shape
        self.sizes = build.sizes
        self._build = build
        self._samples = samples
        self._threads = threads
        self._loops: dict[int, SdxlLoop] = {}
        self._workers: set[str] = set()

    def open(self) -> None:
        """Create driver and device, load executables and weights; DeviceError or ManifestError."""
        instance = rt.VmInstance()
        device = self._create_device()
        hal = rt.create_hal_module(instance, device)
        parameters = {module: self._parameters(instance, module) for module in MODULES}
        model = self._build.model
        for size in self._build.sizes:
            vae = model.vae_batch_size(size)
            contexts = {}
            for module, own in (("clip", size), ("scheduled_unet", size), ("vae", vae)):
                contexts[module] = self._context(instance, hal, parameters[module], self._build.executables[module, own])
            self._loops[size] = SdxlLoop(device, contexts, model, size)

    def warm_up(self, size: int) -> None:
        """Draw the first sample in every slot of a batch of `size` and discard it."""
        self._loops[size].draw(self._samples, [0] * size)

    def close(self) -> None:
        """Drop executables, weights and device; `open` may be called again."""
        self._loops.clear()

    def park(self) -> None:
        """Keep everything for ever: dropping a hung device stalls every thread until the driver answers."""
        _parked.append(self._loops.copy())

    def run(self, batch: Batch) -> Sequence[np.ndarray]:
        """An image per sample: [H, W, 3] uint8, in memory of the device's own when the host can see it."""
        return self._loops[batch.size].draw(self._samples, batch.rows)[:len(batch.samples)]

    def executable_cpu_seconds(self) -> float:
        """CPU time of this engine's invocations and of its driver's worker threads."""
        return sum(loop.cpu_ns for loop in self._loops.values()) / 1e9 + sum(map(_thread_cpu_seconds, self._workers))

    def _create_device(self) -> Any:
        name, _, _ = self.uri.partition("://")
        with _creating:
            before = _threads()
            if name == "local-task":
                # process-wide, read when a driver is created
                rt.flags.parse_flags(f"--task_topology_group_count={self._threads}")
            try:
                # not get_driver: that one is cached, and all devices would share its executor
                driver = _binding.create_hal_driver(name)
                device = driver.create_default_device() if name.startswith("local") else driver.create_device_by_uri(self.uri)
            except (RuntimeError, ValueError) as error:
                raise DeviceError(f"cannot open {self.uri}: {_first(error)}; "
                                  "see ./scripts/doctor for the drivers and devices of this machine") from error
            self._workers = _threads() - before
        return device

    def _parameters(self, instance: Any, module: str) -> Any:
        scope, path = self._build.archives[module]
        try:
            index = rt.ParameterIndex()
            index.load(str(path))
            return rt.create_io_parameters_module(instance, index.create_provider(scope=scope))
        except (RuntimeError, ValueError) as error:
            raise ManifestError(f"{path} is not a parameter archive ({_first(error)}); {COMPILE_AGAIN}") from error

    def _context(self, instance: Any, hal: Any, parameters: Any, path: Path) -> tuple[Any, Any]:
        try:
            module = rt.VmModule.mmap(instance, str(path))
            return rt.VmContext(instance, [hal, parameters, module]), module
        except (RuntimeError, ValueError) as error:
            raise ManifestError(f"{self.uri} cannot load {path} ({_first(error)}); {COMPILE_AGAIN}") from error


def _first(error: BaseException) -> str:
    """The first line of an IREE message, without the path of the C++ source in it."""
    return re.sub(r"\s*\S+/runtime/src/iree/\S+\.c:\d+:", "", str(error).split("\n")[0])[:300].rstrip(": ")


def _threads() -> set[str]:
    return set(os.listdir(TASKS)) if TASKS.exists() else set()


def _thread_cpu_seconds(thread: str) -> float:
    """CPU time of one of IREE's threads, from the scheduler's nanoseconds; 0 for another thread or one that ended."""
    try:
        if not (TASKS / thread / "comm").read_text().startswith("iree"):  # named by the thread itself, after it started
            return 0.0
        return int((TASKS / thread / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        return 0.0

"""The devices of a run: IREE devices by URI, or null devices with a table of service times; in threads or child processes."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from compile.manifest import Manifest
from harness.inputs import Inputs
from harness.settings import RunSettings
from ireeperf.errors import ConfigError
from ireeperf.prompts import PromptSet
from runtime import null_device, service_times, topology
from runtime.device import EngineMaker
from runtime.partition import Partition
from runtime.pool import MakeDevices, thread_devices
from runtime.service_times import ServiceTimes

if TYPE_CHECKING:
    from runtime.decoder_engine import DecoderBuild
    from runtime.iree_device import Build

    AnyBuild = Build | DecoderBuild | None

CPU_DRIVERS = ("local-task", "local-sync")
NULL_TIMES = Path(__file__).parent / "service_times" / "null.toml"


def uris(settings: RunSettings, inputs: Inputs, machine: Partition | None = None) -> tuple[str, ...]:
    """The devices by name: scheme and index, never a UUID (equal UUIDs open the first match silently)."""
    count = settings.devices or (machine.devices if machine else _default_count(settings, inputs))
    if machine is not None and count > machine.devices:
        raise ConfigError(f"--devices {count}, but {machine.name} shows {machine.devices}; lower it, or see ./scripts/doctor")
    return tuple(f"{_driver(settings, inputs.manifest, count)}://{index}" for index in range(count))


def _default_count(settings: RunSettings, inputs: Inputs) -> int:
    """One CPU device per core, no more than there are full batches; 1 of anything else.

    Measured on 2 shared cores (sdxl-nano FP32, batch size 2, 20 interleaved rounds): two local-sync devices took 0.95 of the
    time and of the CPU seconds of one local-task device with two threads.
    """
    driver = settings.driver or inputs.manifest.driver
    if settings.device == "null" or driver not in CPU_DRIVERS:
        return 1
    return max(1, min(_cores(), len(inputs.samples) // inputs.batch_size))


def null_times(settings: RunSettings) -> ServiceTimes:
    """The null device's table: the one given, or the preset."""
    return service_times.read(settings.service_times or NULL_TIMES)


def checked_build(settings: RunSettings, inputs: Inputs) -> AnyBuild:
    """The files of the build for the run's batch sizes; None for null devices. ManifestError when it cannot run here."""
    if isinstance(inputs.samples, PromptSet) and settings.isolation == "process":
        raise ConfigError("--isolation process is for image models; a decoder's devices run in threads, leave it out")
    if settings.device == "null":
        return None
    if isinstance(inputs.samples, PromptSet):
        from runtime import decoder_engine

        return decoder_engine.check_build(inputs.folder, inputs.manifest)
    from runtime import iree_device  # here: a null run needs no iree.runtime

    return iree_device.check_build(inputs.folder, inputs.manifest, inputs.sizes)


def makers(settings: RunSettings, inputs: Inputs, names: tuple[str, ...], build: AnyBuild) -> dict[str, EngineMaker]:
    """What makes the engine of each URI; nothing is acquired yet. `build`: what `checked_build` gave."""
    threads = max(1, _cores() // len(names))  # of each local-task device
    if isinstance(inputs.samples, PromptSet):
        return _decoders(settings, inputs, names, build, threads)
    if settings.device == "null":
        times, shape = null_times(settings), inputs.manifest.images.image_shape
        for size in inputs.sizes:
            times.of(size)
        if settings.null_pictures is not None:
            null_device.read_pictures(settings.null_pictures, shape)
        return {uri: partial(null_device.NullEngine, shape, times, inputs.sizes, seed, settings.null_pictures)
                for seed, uri in enumerate(names)}
    from runtime import iree_device  # here: a null run needs no iree.runtime

    assert isinstance(build, iree_device.Build)
    return {uri: partial(iree_device.IreeEngine, uri, build, inputs.pictures, threads) for uri in names}


def _decoders(settings: RunSettings, inputs: Inputs, names: tuple[str, ...], build: AnyBuild, threads: int) -> dict[str, EngineMaker]:
    if settings.device == "null":
        if settings.null_pictures is not None:
            raise ConfigError(f"--null-pictures {settings.null_pictures} is for image models; the build is a decoder's")
        times, executable = null_times(settings), inputs.manifest.executables[0]
        return {uri: partial(null_device.NullDecoder, executable.entry_points, times, seed) for seed, uri in enumerate(names)}
    from runtime import decoder_engine

    assert isinstance(build, decoder_engine.DecoderBuild)
    return {uri: partial(decoder_engine.DecoderEngine, uri, build, threads) for uri in names}


def devices(settings: RunSettings, inputs: Inputs, names: tuple[str, ...], build: AnyBuild,
            machine: Partition | None = None) -> MakeDevices:
    """The run's devices, isolated as asked; a failed one is built anew only where the run would go on without it.

    Each device's host threads are bound to the NUMA node of its GPU, where the machine says which that is.
    """
    made = makers(settings, inputs, names, build)
    reopen = settings.reopen if settings.on_device_loss == "continue" else 0
    binds = {uri: partial(topology.bind_threads, node) for index, uri in enumerate(names)
             if machine is not None and (node := machine.numa_node(index)) is not None}
    if settings.isolation == "thread":
        return thread_devices({uri: maker() for uri, maker in made.items()}, reopen=reopen, on_start=binds)
    from runtime.process_device import process_devices  # here: threads need no multiprocessing

    return lambda post: process_devices(made, post, group_size=settings.group_size, image_shape=inputs.manifest.images.image_shape,
                                        max_batch=inputs.batch_size, reopen=reopen, on_start=binds)


def memory(settings: RunSettings, inputs: Inputs, names: tuple[str, ...], build: AnyBuild) -> str:
    """What the devices take, in words: weights in each one's memory, host memory and threads where that was measured."""
    parts = []
    if build is not None:
        from runtime import iree_device

        parts.append(f"{build.weight_bytes / 1e9:.2f} GB of weights a device")
        if not isinstance(build, iree_device.Build):
            parts.append(f"{build.cache_bytes / 1e9:.2f} GB of KV cache")
        budget = iree_device.host_budget(names[0].partition("://")[0], len(names))
        if budget is not None and budget.threads:
            parts.append(f"{budget.pinned_bytes / 2**30:.1f} GiB pinned and {budget.threads} threads of the host")
    if settings.isolation == "process":
        shared = 2 * inputs.batch_size * math.prod(inputs.manifest.images.image_shape) * len(names)
        parts.append(f"{shared / 2**30:.2f} GiB of shared memory for answers")
    return ", ".join(parts) or "no weights"


def _driver(settings: RunSettings, manifest: Manifest, count: int) -> str:
    if settings.device == "null":
        return null_device.SCHEME
    if settings.driver is not None:
        return settings.driver
    # one device may use all cores; several share them better with one thread each
    return "local-sync" if manifest.driver == "local-task" and count > 1 else manifest.driver


def _cores() -> int:
    return len(os.sched_getaffinity(0))

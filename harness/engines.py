"""Make the engines of a run: IREE devices by URI, or null devices with a table of service times."""

from __future__ import annotations

import os
from pathlib import Path

from compile.manifest import Manifest
from harness.inputs import Inputs
from harness.settings import RunSettings
from runtime import null_device, service_times
from runtime.device import Engine
from runtime.service_times import ServiceTimes

NULL_PRESET = Path(__file__).parent / "presets" / "null.toml"


def uris(settings: RunSettings, manifest: Manifest) -> tuple[str, ...]:
    """The devices by name: scheme and index, never a UUID (equal UUIDs open the first match silently)."""
    return tuple(f"{_driver(settings, manifest)}://{index}" for index in range(settings.devices))


def null_times(settings: RunSettings) -> ServiceTimes:
    """The null device's table: the one given, or the preset."""
    return service_times.read(settings.service_times or NULL_PRESET)


def make(settings: RunSettings, inputs: Inputs) -> dict[str, Engine]:
    """One engine per URI, not yet open. ManifestError when the build cannot run here; nothing is acquired yet."""
    names = uris(settings, inputs.manifest)
    if settings.device == "null":
        times = null_times(settings)
        times.of(inputs.batch_size)
        shape = inputs.manifest.model.image_shape
        return {uri: null_device.NullEngine(shape, times, inputs.batch_size) for uri in names}
    from runtime import iree_device  # here: a null run needs no iree.runtime

    build = iree_device.check_build(inputs.folder, inputs.manifest, inputs.batch_size)
    threads = max(1, len(os.sched_getaffinity(0)) // len(names))  # of each local-task device
    return {uri: iree_device.IreeEngine(uri, build, inputs.samples, threads) for uri in names}


def _driver(settings: RunSettings, manifest: Manifest) -> str:
    if settings.device == "null":
        return null_device.SCHEME
    if settings.driver is not None:
        return settings.driver
    # one device may use all cores; several share them better with one thread each
    return "local-sync" if manifest.driver == "local-task" and settings.devices > 1 else manifest.driver

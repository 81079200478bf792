"""Which partition the machine is in, checked before a device opens against what the build was made for."""

from __future__ import annotations

import os
from pathlib import Path

from harness.inputs import Inputs
from harness.settings import RunSettings
from ireeperf.errors import ConfigError
from runtime import partition as partitions
from runtime import topology
from runtime.partition import PRESETS, Partition

HIDING = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")  # they renumber devices
MACHINE = "machine"  # --partition machine: as sysfs or amd-smi says


def of_run(settings: RunSettings, inputs: Inputs) -> Partition | None:
    """The machine's partition; None when neither build nor command line names one. DeviceError when it is not what is wanted.

    `--partition` names a preset that the machine must be, a file that describes the machine, or `machine`. A build for a
    partition target (mi325x-cpx) wants that one whatever the command line says.
    """
    built_for, asked = PRESETS.get(inputs.manifest.target), settings.partition
    if settings.device == "null" or (built_for is None and asked is None):
        return None
    if asked is not None and asked not in (MACHINE, *PRESETS) and not Path(asked).is_file():
        raise ConfigError(f"--partition {asked} is neither a file, nor `{MACHINE}`, nor one of {', '.join(PRESETS)}")
    if hidden := [name for name in HIDING if os.environ.get(name)]:
        raise ConfigError(f"{hidden[0]} is set: device indices are then not those of the partition, and threads would be bound to "
                          "the wrong NUMA node; unset it, or leave --partition away")
    described = asked is not None and asked not in (MACHINE, *PRESETS)
    machine = partitions.read(Path(str(asked))) if described else topology.read_machine()
    for wanted in (built_for, PRESETS.get(asked or "")):
        if wanted is not None:
            topology.check_mode(machine, wanted, every_gpu=not described)  # a file may describe fewer GPUs on purpose
    return machine

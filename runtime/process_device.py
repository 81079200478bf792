"""Devices in child processes: a crash takes a group of devices and not the run.

A child is a new interpreter (never a fork: a HIP driver hangs after one) that imports what draws and nothing of LoadGen.
It is not started by `multiprocessing`, whose children import the parent's main module, LoadGen with it.

Images come back in one anonymous shared file (memfd), so nothing has to be removed whoever is killed, and no limit of
/dev/shm applies. A device has two slots of max_batch images, used alternately. Two are enough: a device holds one batch at a
time, and DevicePool gives the answer of batch N before it takes in the same device's completion of batch N+1; so batch N+2,
which reuses the slot of N, is submitted after LoadGen has copied N.
"""

from __future__ import annotations

import mmap
import pickle
from collections.abc import Iterable, Mapping

from ireeperf.errors import ConfigError
from runtime.batch import Batch
from runtime.children import Children
from runtime.device import EngineMaker, Post
from runtime.device_child import OnStart, Recipe, Region
from runtime.device_group import Group, Member


class ProcessDevice:
    """A device in a child process, as the pool sees it."""

    def __init__(self, member: Member, group: Group) -> None:
        self.uri = member.uri
        self.group = group
        self._member = member

    def start(self) -> None:
        """Start the group's child if this is its first device; Ready or Failure follows."""
        self.group.start()

    def submit(self, batch: Batch) -> int:
        """Send `batch` to the child; a Completion or a Failure follows."""
        return self.group.submit(self._member, batch)

    def park(self) -> None:
        """Given up: nothing more is heard of it. Its child is killed unless other devices live there."""
        self.group.park(self._member)

    def stop(self, timeout_s: float) -> bool:
        """Let it end; False when it is still busy while other devices keep its child. The last one ends the child."""
        return self.group.stop(self._member, timeout_s)

    def executable_cpu_seconds(self) -> float:
        """CPU time in its executables, as of its last event."""
        return self._member.past_cpu_seconds + self._member.cpu_seconds


def process_devices(makers: Mapping[str, EngineMaker], post: Post, *, group_size: int, image_shape: tuple[int, int, int],
                    max_batch: int, reopen: int = 0,
                    on_start: Mapping[str, OnStart] | None = None) -> dict[str, ProcessDevice]:
    """A device per maker, `group_size` of them in each child process; a child starts with its first device.

    `makers` and `on_start` (run first in a device's thread: binds it to a NUMA node) are pickled; `reopen` is how often each
    device is rebuilt, inside its child or with it. Shared memory: 2 x max_batch images a device, taken when it opens.
    """
    if group_size < 1:
        raise ConfigError(f"--group-size is {group_size}; at least one device in a process")
    uris, recipe = list(makers), pickle.dumps(Recipe(makers=dict(makers), on_start=dict(on_start or {})))
    groups = [tuple(uris[first:first + group_size]) for first in range(0, len(uris), group_size)]
    regions: list[Region] = []
    end = -(-len(recipe) // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY  # of what is laid out in the shared file
    for members in groups:
        regions.append(Region(offset=end, devices=members, max_batch=max_batch, image_shape=image_shape, recipe_offset=0,
                              recipe_bytes=len(recipe)))
        end += regions[-1].bytes
    children = Children(end, len(groups))
    children.memory[:len(recipe)] = recipe
    devices: dict[str, ProcessDevice] = {}
    for region in regions:
        group = Group([Member(uri=uri, slots=region.slots(children.memory, number, region.offset), reopen=reopen)
                       for number, uri in enumerate(region.devices)], region, children, post)
        devices |= {member.uri: ProcessDevice(member, group) for member in group.members.values()}
    return devices


def children_cpu_seconds(devices: Iterable[object]) -> float:
    """CPU time of the child processes of `devices`, executables included, as of their last events; 0 for a thread's."""
    groups = {device.group for device in devices if isinstance(device, ProcessDevice)}
    return sum(group.past_cpu_seconds + group.cpu_seconds for group in groups)

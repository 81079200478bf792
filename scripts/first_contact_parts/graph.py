"""How SDXL's entry points feed each other: arguments of each, and a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from iree.runtime import HalBufferView

from scripts.first_contact_parts import opened, tensors
from scripts.first_contact_parts.contents import DECODE, ENCODE, FORWARD, INITIALIZE, ORDER, Contents, Unit

# argument of run_forward -> (entry point, result) that gives it; the other two are the guidance scale and the step
_FORWARD = {0: (INITIALIZE, 0), 1: (ENCODE, 0), 2: (ENCODE, 1), 3: (INITIALIZE, 1)}
_GUIDANCE, _STEP = 4, 5


def ordered(names: Sequence[str]) -> list[str]:
    """Entry points in the order in which they feed each other; unknown ones last."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


class Values:
    """Arguments and results of entry points at one batch size, as the CPU reference left them: files in a folder."""

    def __init__(self, folder: Path, batch_size: int) -> None:
        self._folder = folder / "values" / f"bs{batch_size}"
        self._folder.mkdir(parents=True, exist_ok=True)

    def save(self, entry: str, what: str, arrays: Sequence[tuple[np.ndarray, str]]) -> None:
        """Keep the arguments ("in") or results ("out") of an entry point: carriers with element types."""
        for index, (array, element) in enumerate(arrays):
            np.save(self._folder / f"{entry}.{what}{index}.{element}.npy", array)

    def read(self, entry: str, what: str) -> list[tuple[np.ndarray, str]]:
        """What was saved; empty when nothing was."""
        files = {int(path.name.split(".")[1].removeprefix(what)): path for path in self._folder.glob(f"{entry}.{what}*.npy")}
        return [(np.load(files[index]), files[index].name.split(".")[2]) for index in sorted(files)]

    def arguments(self, entry: str, kinds: Sequence[str], contents: Contents) -> list[tuple[np.ndarray, str]]:
        """Arguments for `entry`: what the entry points before it gave, else seeded values of the right shape."""
        found = []
        for index, kind in enumerate(kinds):
            shape, element = tensors.of(kind)
            array = tensors.seeded(kind, f"{entry}.{index}")
            if entry == FORWARD and index == _GUIDANCE:
                array = np.full(shape, contents.guidance_scale, array.dtype)
            elif entry == FORWARD and index == _STEP:
                array = np.zeros(shape, array.dtype)  # the step whose noise level run_initialize's latents have
            elif entry == FORWARD and index in _FORWARD:
                source, result = _FORWARD[index]
                given = self.read(source, "out")
                if result < len(given) and given[result][0].shape == shape and given[result][1] == element:
                    array = given[result][0]
            found.append((array, element))
        return found


class Drawing:
    """The executables of one batch size on one device, ready to draw whole batches as the harness does."""

    def __init__(self, device: opened.Opened, contents: Contents, units: Mapping[str, tuple[Unit, opened.Loaded]], size: int) -> None:
        self._calls: dict[str, Callable[[list[HalBufferView]], list[HalBufferView]]] = {}
        self._arguments: dict[str, list[HalBufferView]] = {}
        for unit, loaded in units.values():
            for entry, kinds in unit.entry_points.items():
                self._calls[entry] = lambda arguments, loaded=loaded, entry=entry: loaded.call(entry, arguments)  # type: ignore[misc]
                self._arguments[entry] = [device.to_device(tensors.seeded(kind, f"{entry}.{index}"), tensors.of(kind)[1])
                                          for index, kind in enumerate(kinds)]
        guidance, step = (units["scheduled_unet"][0].entry_points[FORWARD][index] for index in (_GUIDANCE, _STEP))
        self._guidance = device.to_device(np.full(tensors.of(guidance)[0], contents.guidance_scale, np.float32), "f32")
        self._steps = [device.to_device(np.full(tensors.of(step)[0], index, np.int64), "i64") for index in range(contents.num_inference_steps)]
        self._decodes = max(1, size // units["vae"][0].batch_size)
        self._device = device

    def draw(self) -> np.ndarray:
        """One batch: encode, initialize, every step, decode (as often as the batch needs); the last image on the host.

        Waits after every invocation, as runtime/sdxl_loop.py does: the time is the harness's, and nothing is queued behind a failure.
        """
        embeds, text = self._calls[ENCODE](self._arguments[ENCODE])
        latents, time_ids = self._calls[INITIALIZE](self._arguments[INITIALIZE])
        for step in self._steps:
            latents, = self._calls[FORWARD]([latents, embeds, text, time_ids, self._guidance, step])
        # of the VAE's own batch size the latents need no slicing; else seeded ones of its shape take as long
        images = [latents] if self._decodes == 1 else self._arguments[DECODE]
        for _ in range(self._decodes):
            decoded, = self._calls[DECODE](images)
        return self._device.to_host(decoded)[0]

"""What every policy keeps of its devices: which open, idle or are lost, and when a run has failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HANG_FACTOR, HANG_SECONDS = 20.0, 60.0  # a batch that takes this many of the slowest service times, and this long, is hung


def hang_seconds(slowest_s: float) -> float:
    """How long a batch or a call may take where the slowest service time is `slowest_s` seconds."""
    return max(HANG_SECONDS, HANG_FACTOR * slowest_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """`device` is past its deadline: it may answer late or never, and nobody waits for it any more."""

    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The run cannot go on."""

    cause: str


class DevicePolicy:
    """The devices of one run. `open_seconds` bounds opening and warm-up; `on_loss` "fail" ends the run, "continue" goes on without the device."""

    def __init__(self, devices: Sequence[str], *, open_seconds: float, on_loss: Literal["fail", "continue"], now_ns: int) -> None:
        self.on_loss = on_loss
        self._open_seconds = open_seconds
        self._opening = {device: self._open_by(now_ns) for device in devices}  # device -> deadline
        self._idle: deque[str] = deque()  # the one idle for longest first
        self.lost: dict[str, str] = {}  # device -> cause
        self.rebuilt: list[str] = []  # device and cause of each time that one was built anew

    @property
    def opening(self) -> int:
        """Devices that are neither ready nor lost."""
        return len(self._opening)

    def _ready(self, device: str) -> bool:
        """`device` opened: it idles from now on. False for one that was lost to its deadline: it stays lost."""
        if self._opening.pop(device, None) is None:
            return False
        self._idle.append(device)
        return True

    def _late(self, now_ns: int) -> list[tuple[str, str]]:
        """Devices that did not open in time, with the cause."""
        return [(device, f"did not become ready in {self._open_seconds:g} s") for device, deadline in self._opening.items() if deadline <= now_ns]

    def _remove(self, device: str) -> bool:
        """Neither opening nor idle any more; False when it is lost already."""
        if device in self.lost:
            return False
        self._opening.pop(device, None)
        if device in self._idle:
            self._idle.remove(device)
        return True

    def _failed(self, device: str, cause: str, held: list[int], working: int, reopening_since_ns: int | None) -> list[Fail]:
        """A removed `device` is lost, or opens anew. `held`: samples that it worked on; `working`: other devices that work."""
        what = f"{device} failed: {cause}" + (f"; it held samples {held[:8]}{' and more' if len(held) > 8 else ''}" if held else "")
        if reopening_since_ns is None or self.on_loss == "fail":
            self.lost[device] = cause
        else:
            self._opening[device] = self._open_by(reopening_since_ns)
            self.rebuilt.append(f"{device}: {cause}")
        if self.on_loss == "fail":
            return [Fail(cause=what)]
        return [] if self._opening or self._idle or working else [Fail(cause=f"{what}; no device is left of {len(self.lost)}")]

    def _open_by(self, now_ns: int) -> int:
        return now_ns + int(self._open_seconds * 1e9)

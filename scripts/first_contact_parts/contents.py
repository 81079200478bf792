"""Contents: what an archive holds. Written by `first_contact pack`, read on the machine; paths are relative to the archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ireeperf import document

NAME = "contents.json"
PAYLOAD = "payload"


ENCODE, INITIALIZE, FORWARD, DECODE = "encode_prompts", "run_initialize", "run_forward", "decode"
ORDER = (ENCODE, INITIALIZE, FORWARD, DECODE)  # in which entry points feed each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """One distinct dispatch of an executable; its probe is the function `probe_<position in Unit.dispatches>`."""

    label: str  # <executable>::<function>, as IREE's dispatch tracing prints it
    operands: tuple[str, ...]  # tensor<4x96xf32>
    results: tuple[str, ...]
    calls: dict[str, int]  # entry point (or "initializer") -> launches of it in one call

    @property
    def name(self) -> str:
        return self.label.split("::")[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One executable at one batch size with everything that its check needs."""

    name: str  # scheduled_unet_bs2
    module: str
    batch_size: int
    entry_points: dict[str, tuple[str, ...]]  # name -> tensor types of its arguments
    executable: str  # as the harness runs it
    probes: str  # the same dispatches behind one function each, for the target
    repeated: str  # likewise, each launched Contents.repeats times: the difference is free of the call's own time
    baseline: str | None  # with a tuning spec: `probes` and `repeated` again without it, which is what the spec must beat
    baseline_repeated: str | None
    reference: str  # the same graph for the CPU, dispatches traced
    reference_probes: str
    parameters: str | None  # archive; None: seeded random parameters of the shapes in `random_parameters`
    scope: str
    random_parameters: tuple[tuple[str, str], ...]  # (name, tensor type)
    dispatches: tuple[Dispatch, ...]
    unprobed: dict[str, str]  # label -> why no probe can be made
    digests: dict[str, str]  # path -> sha256
    fenced: bool = False  # its entry points take two fences: what to wait for, what to signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The archive."""

    schema_version: ClassVar[int] = 1
    created_utc: str
    key: str  # of the build
    model_json: str
    model: str
    checkpoint: str
    target: str
    driver: str
    compiler_version: str
    num_inference_steps: int
    guidance_scale: float
    repeats: int  # launches of a dispatch in one call of a `repeated` probe
    reference_target: str  # what the reference is compiled for
    spec: str | None
    planted: str | None  # rehearsal: the dispatch that was made wrong on purpose
    units: tuple[Unit, ...]


def read(folder: Path) -> Contents:
    """Contents of the unpacked archive in `folder`; ConfigError when malformed or absent."""
    return document.read(Contents, folder / NAME)


def drawable(units: Sequence[Unit], size: int) -> dict[str, Unit] | None:
    """The units that a batch of `size` needs, by module; None when the archive lacks one."""
    chosen = {unit.module: unit for unit in units if unit.batch_size == size and unit.module != "vae"}
    decoders = [unit for unit in units if unit.module == "vae" and size % unit.batch_size == 0]
    if decoders:
        chosen["vae"] = max(decoders, key=lambda unit: unit.batch_size)
    entries = {entry for unit in chosen.values() for entry in unit.entry_points}
    return chosen if set(ORDER) <= entries else None

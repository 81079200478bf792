"""What `bench sdxl-gpu pack` writes and its run reads: executables of one UNet step, their entry point, the network's configs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

NAME = "packed.json"
DEFAULT, TUNED = "default", "tuned"  # names of variants; flags of compile/flags.py without and with a spec
ENTRY = "run_forward"
SCOPE = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One executable of the step."""

    name: str
    executable: str  # path in the archive
    flags: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The archive."""

    schema_version: ClassVar[int] = 1
    model: str  # folder of export/architectures
    target: str
    driver: str
    compiler_version: str
    batch_size: int  # samples a step; the UNet sees twice as many
    unet_dtype: str
    num_inference_steps: int
    image_shape: tuple[int, int]  # pixels
    arguments: tuple[str, ...]  # tensor types of run_forward's arguments
    variants: tuple[Variant, ...]

"""Quantization: what calibration found for the layers of one UNet, in a strict document, with tensors beside it where there are any.

A folder holds quantization.json and, when the document names digests, the two safetensors files below. Ranges are largest magnitudes,
so one document serves int8, float8_e4m3fn and float8_e4m3fnuz. Weights are symmetric; so are inputs, but for int8 layers in `zeros`.

    input scale    input_amax / 128 (int8, AMD's rule), / 448 (float8_e4m3fn), / 240 (float8_e4m3fnuz); one a layer
    weight scale   largest magnitude of an output channel / 127 (int8), / 448 (FP8); one an output channel

UNET_TENSORS, of ours for int8: <layer>.input_step float32 [in] is what one code of each input channel is worth, instead of the input
scale, and <layer>.output_shift float32 [out] what the rounding adds to the output on average. Of AMD's: <layer>.premul float32 [in]
multiplies the input before it is rounded (SmoothQuant); <layer>.weight int8 and <layer>.weight_scale float32 [out] are their codes.
Anything else is a float parameter that replaces the checkpoint's. Without <layer>.weight codes are made from the checkpoint at export.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError

FOLDER, NAME = "quantization", "quantization.json"
UNET_TENSORS, VAE_TENSORS = "unet.safetensors", "vae.safetensors"
INPUT_STEP, OUTPUT_SHIFT = "input_step", "output_shift"
# AMD's published layout: what their scripts call its folder, beside the checkpoint or in it, and the files in it
AMD_FOLDER, AMD_PARAMS, AMD_QUANT_PARAMS, AMD_VAE = "safetensors_quant", "params.safetensors", "quant_params.json", VAE_TENSORS
INT8_INPUT_STEPS = 128  # calibration.md of SHARK-MLPERF: max_val = 128, and 128 itself is clamped to 127
INT8_WEIGHT_STEPS = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRange:
    """Largest magnitudes of what attention multiplies. Probabilities need none: they are at most 1."""

    query_amax: float
    key_amax: float
    value_amax: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Ranges of one UNet by module name, and where they come from."""

    schema_version: ClassVar[int] = 1
    model: str  # ModelConfig.model
    source: Literal["calibrated", "amd"]
    captions: str = ""  # file and digest of what was drawn, for the calibrated
    samples: int = 0
    steps: int = 0
    guidance_scale: float = 0.0
    early_weight: float = 1.0  # of an input before the last two steps beside one in them
    layers: dict[str, float] = field(default_factory=dict)  # linear layer or convolution -> input_amax
    zeros: dict[str, int] = field(default_factory=dict)  # layer -> the int8 code of 0.0, where it is not 0
    attentions: dict[str, AttentionRange] = field(default_factory=dict)
    tensors_sha256: dict[str, str] = field(default_factory=dict)  # file beside the document -> digest

    def __post_init__(self) -> None:
        ranges = {**self.layers, **{f"{name}.{part}": getattr(found, part) for name, found in self.attentions.items()
                                    for part in ("query_amax", "key_amax", "value_amax")}}
        wrong = [name for name, amax in ranges.items() if not 0 < amax < float("inf")]
        if wrong:
            raise ConfigError(f"the range of {wrong[0]} is {ranges[wrong[0]]} ({len(wrong)} are not positive numbers); calibrate again")
        outside = [name for name, zero in self.zeros.items() if not -128 <= zero <= 127]
        if outside:
            raise ConfigError(f"the code of zero of {outside[0]} is {self.zeros[outside[0]]}; -128 to 127, calibrate again")

    def input_amax(self, layer: str) -> float:
        """ConfigError when the layer was not calibrated."""
        if layer not in self.layers:
            raise ConfigError(f"the quantization of {self.model} has no range for layer {layer!r}; run python -m export.quantize again")
        return self.layers[layer]

    def attention(self, name: str) -> AttentionRange:
        """ConfigError when the attention was not calibrated."""
        if name not in self.attentions:
            raise ConfigError(f"the quantization of {self.model} has no ranges for attention {name!r}; run python -m export.quantize again")
        return self.attentions[name]


def read(folder: Path) -> Quantization:
    """The document of `folder`, after its tensors' digests were compared; ConfigError."""
    found = document.read(Quantization, folder / NAME)
    for name, sha256 in found.tensors_sha256.items():
        if (digest := document.digest(folder / name)) != sha256:
            raise ConfigError(f"{folder / name} has sha256 {digest[:12]}, {NAME} says {sha256[:12]}; quantize again")
    return found


def find(quantization: str, checkpoint: Path) -> Path:
    """The folder for a ModelConfig.quantization: AMD's for amd and i8 where it is, else ours in the checkpoint's; MissingFileError."""
    if quantization in ("amd", "i8"):
        for place in (checkpoint, checkpoint.resolve().parent):
            if (place / AMD_FOLDER / AMD_QUANT_PARAMS).is_file():
                return place / AMD_FOLDER
    if (checkpoint / FOLDER / NAME).is_file():
        return checkpoint / FOLDER
    raise MissingFileError(f"{checkpoint / FOLDER / NAME} does not exist (nor AMD's {AMD_FOLDER}/{AMD_QUANT_PARAMS} beside the checkpoint); "
                           f"run python -m export.quantize --checkpoint {checkpoint}")


def files(folder: Path) -> list[Path]:
    """What an export reads of a folder that `find` gave; MissingFileError names what is absent."""
    if (folder / AMD_QUANT_PARAMS).is_file():
        return amd_files(folder)
    return [folder / NAME, *(folder / name for name in sorted(document.read(Quantization, folder / NAME).tensors_sha256))]


def amd_files(folder: Path) -> list[Path]:
    """AMD's files in `folder`, the VAE's where it is there; MissingFileError names what is absent."""
    needed = [folder / AMD_PARAMS, folder / AMD_QUANT_PARAMS]
    if absent := [str(path) for path in needed if not path.is_file()]:
        raise MissingFileError(f"{', '.join(absent)} absent; AMD's quantized SDXL has {AMD_PARAMS} and {AMD_QUANT_PARAMS}")
    return needed + [path for path in (folder / AMD_VAE,) if path.is_file()]

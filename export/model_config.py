"""ModelConfig: AMD's SDXL config keys (sdxl_config_fp8_sched_unet_bs32.json), plus ours with defaults that give AMD's meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from ireeperf import document
from ireeperf.errors import ConfigError

Dtype = Literal["float16", "float32"]
Precision = Literal["int8", "fp8", "fp16"]  # of one layer; fp16 is what the layer is without quantization, unet_dtype
MODULES = ("clip", "scheduled_unet", "vae")
# MLPerf Inference rules, text_to_image: the same negative prompt for every sample
NEGATIVE_PROMPT = "normal quality, low quality, worst quality, low res, blurry, nsfw, nude"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One model at given batch sizes. Reads AMD's files unchanged."""

    schema_version: ClassVar[int] = 1
    max_seq_len: int
    num_latents_channels: int
    batch_sizes: dict[str, tuple[int, ...]]  # per module: one executable each
    module_names: dict[str, str]
    function_names: dict[str, tuple[str, ...]]
    unet_dtype: Dtype
    use_scheduled_unet: bool
    dims: tuple[tuple[int, int], ...]  # (width, height) of the image in pixels
    # AMD's: int8 linear layers and convolutions in all three; the word is of the attention: float16, float8_e4m3fnuz, float8_e4m3fn
    unet_quant_dtype: Literal["i8", "fp8", "fp8_ocp"] | None = None  # None: nothing is quantized
    use_fp8_punet: bool | None = None  # the same in AMD's files of round v5.1: true is fp8, false is i8
    # ours
    model: str = "sdxl-base-1.0"  # folder below export/architectures with the diffusers configs, used by --checkpoint none
    clip_dtype: Dtype = "float16"
    vae_dtype: Dtype = "float16"
    unet_precision: Literal["fp16", "amd", "fp8"] | None = None  # amd: as AMD shipped; fp8: linear layers, convolutions and attention
    layer_precisions: dict[str, Precision] = field(default_factory=dict)  # UNet module name pattern -> precision; the last that fits
    attention: Literal["fused", "explicit"] = "fused"  # of the UNet; explicit (matmul, softmax, matmul) is faster on CPUs
    num_inference_steps: int = 20
    guidance_scale: float = 8.0
    negative_prompt: str = NEGATIVE_PROMPT
    loadgen_model: str = "stable-diffusion-xl"  # the key LoadGen looks up in mlperf.conf and user.conf
    target: str | None = None  # compile target when the command line gives none

    def __post_init__(self) -> None:
        for name in MODULES:
            for key, table in (("batch_sizes", self.batch_sizes), ("module_names", self.module_names),
                               ("function_names", self.function_names)):
                if name not in table:
                    raise ConfigError(f"{key} lacks {name!r}; it needs {', '.join(MODULES)}")
            if not self.batch_sizes[name] or min(self.batch_sizes[name]) < 1:
                raise ConfigError(f"batch_sizes.{name} is {list(self.batch_sizes[name])}; at least one size >= 1 is needed")
        missing = set(self.batch_sizes["scheduled_unet"]) - set(self.batch_sizes["clip"])
        if missing:
            raise ConfigError(f"batch_sizes.clip lacks {sorted(missing)}, which batch_sizes.scheduled_unet has")
        for size in self.batch_sizes["scheduled_unet"]:
            if not any(size % part == 0 for part in self.batch_sizes["vae"]):
                raise ConfigError(f"no batch size of vae {list(self.batch_sizes['vae'])} divides scheduled_unet's {size}")
        if self.max_seq_len not in (64, 77):
            raise ConfigError(f"max_seq_len is {self.max_seq_len}; 64 (AMD) or 77 (MLCommons)")
        if len(self.dims) != 1 or any(side < 8 or side % 8 for side in self.dims[0]):
            raise ConfigError(f"dims is {self.dims}; one (width, height), each a multiple of 8 pixels")
        if not self.use_scheduled_unet:
            raise ConfigError("use_scheduled_unet is false; only the UNet with its scheduler step folded in is exported")
        said = {name: value for name, value in (("unet_quant_dtype", self.unet_quant_dtype), ("use_fp8_punet", self.use_fp8_punet),
                                                ("unet_precision", self.unet_precision)) if value is not None}
        if len(said) > 1:
            raise ConfigError(f"{' and '.join(said)} both say how the UNet is quantized ({said}); keep one")
        if self.layer_precisions and self.quantization is None:
            raise ConfigError("layer_precisions is given and nothing is quantized; set unet_precision to amd or fp8")
        if self.num_inference_steps < 1:
            raise ConfigError(f"num_inference_steps is {self.num_inference_steps}; at least 1")

    @property
    def quantization(self) -> Literal["i8", "amd", "fp8"] | None:
        """How the UNet is quantized: i8 (int8 layers, float16 attention), amd (int8 layers, FP8 attention), fp8, or None."""
        if self.unet_precision is not None:
            return None if self.unet_precision == "fp16" else self.unet_precision
        if self.unet_quant_dtype == "i8" or self.use_fp8_punet is False:
            return "i8"
        return "amd" if self.unet_quant_dtype or self.use_fp8_punet else None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, 3) of one uint8 image."""
        width, height = self.dims[0]
        return height, width, 3

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height / 8, width / 8) of one latent."""
        width, height = self.dims[0]
        return self.num_latents_channels, height // 8, width // 8

    @property
    def sample_batch_sizes(self) -> tuple[int, ...]:
        """Batch sizes a device can be given, ascending: those of scheduled_unet."""
        return tuple(sorted(set(self.batch_sizes["scheduled_unet"])))

    def vae_batch_size(self, batch_size: int) -> int:
        """The largest compiled vae batch size that divides `batch_size` samples."""
        return max(size for size in self.batch_sizes["vae"] if batch_size % size == 0)


def read(path: Path) -> ModelConfig:
    """Read a model config; ConfigError names the key and value that is wrong."""
    return document.read(ModelConfig, path)

"""ModelConfig: AMD's SDXL config keys (sdxl_config_fp8_sched_unet_bs32.json), plus ours with defaults that give AMD's meaning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ireeperf import document
from ireeperf.errors import ConfigError

Dtype = Literal["float16", "float32"]
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
    unet_quant_dtype: Literal["fp8", "fp8_ocp", "amd"] | None = None  # None: no quantization
    # ours
    model: str = "sdxl-base-1.0"  # folder below export/architectures with the diffusers configs, used by --checkpoint none
    clip_dtype: Dtype = "float16"
    vae_dtype: Dtype = "float16"
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
        if self.num_inference_steps < 1:
            raise ConfigError(f"num_inference_steps is {self.num_inference_steps}; at least 1")

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

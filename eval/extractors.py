"""The networks that turn images and captions into features. uint8 images [b, H, W, 3] in, float32 rows out."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from eval.scorer import Scorer
from ireeperf import torchvision_schemas
from ireeperf.errors import ScoreError

EFFICIENTNET_BLOCK = 4  # 40 channels at stride 8: calm under harmless changes, sharp on defects (docs/KILL_TABLE.md)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INCEPTION_SIDE = 299


class ImageNetwork(Protocol):
    """Features whose distribution FID compares."""

    name: str

    def activations(self, images: np.ndarray) -> np.ndarray:
        """[b, H, W, 3] uint8 -> [b, features] float32."""


class ClipNetwork:
    """An open_clip model with its own preprocessing and tokenizer."""

    def __init__(self, name: str, model: Any, preprocess: Any, tokenizer: Any, device: str = "cpu") -> None:
        self.name, self._preprocess, self._tokenizer, self._device = name, preprocess, tokenizer, device
        self._model = model.eval().to(device)

    @torch.inference_mode()
    def image_features(self, images: np.ndarray) -> np.ndarray:
        """[b, H, W, 3] uint8 -> [b, embedding] float32, not normalized."""
        pixels = torch.stack([self._preprocess(Image.fromarray(image)) for image in images])
        return self._model.encode_image(pixels.to(self._device)).float().cpu().numpy()

    @torch.inference_mode()
    def text_features(self, captions: Sequence[str]) -> np.ndarray:
        """b captions -> [b, embedding] float32, not normalized."""
        return self._model.encode_text(self._tokenizer(list(captions)).to(self._device)).float().cpu().numpy()


class EfficientNetLite0:
    """ImageNet EfficientNet-Lite0, mean over positions of the output of one middle block."""

    def __init__(self, weights: Path, block: int = EFFICIENTNET_BLOCK, device: str = "cpu") -> None:
        from efficientnet_lite_pytorch import EfficientNet

        self.name, self._block, self._device = f"efficientnet-lite0 block {block}", block, device
        with contextlib.redirect_stdout(io.StringIO()):  # the package prints "Loaded pretrained weights"
            network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)).eval().to(device)
        self._stem = torch.nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self._blocks = network._blocks
        self._mean, self._std = (torch.tensor(x, device=device).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))

    def activations(self, images: np.ndarray) -> np.ndarray:
        """[b, H, W, 3] uint8 -> [b, channels of the block] float32."""
        return self.levels(images, (self._block,))[self._block]

    @torch.inference_mode()
    def levels(self, images: np.ndarray, blocks: Sequence[int]) -> dict[int, np.ndarray]:
        """Pooled output [b, channels] of each of `blocks`."""
        x = self._stem((_unit(images, self._device) - self._mean) / self._std)
        found = {}
        for index, block in enumerate(self._blocks[: max(blocks) + 1]):
            x = block(x)
            if index in blocks:
                found[index] = x.mean(dim=(2, 3)).cpu().numpy()
        return found


class InceptionV3:
    """The FID Inception (TensorFlow's 2015-12-05 weights ported by pytorch-fid), pool3, 2048 features."""

    name = "inception-v3 pool3 (pytorch-fid)"

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        torchvision_schemas.declare(torch)
        from pytorch_fid import inception
        from torchvision.models import inception_v3

        network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
        for name, width in (("Mixed_5b", (192, 32)), ("Mixed_5c", (256, 64)), ("Mixed_5d", (288, 64))):
            setattr(network, name, inception.FIDInceptionA(width[0], pool_features=width[1]))
        for name, channels in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            setattr(network, name, inception.FIDInceptionC(768, channels_7x7=channels))
        network.Mixed_7b, network.Mixed_7c = inception.FIDInceptionE_1(1280), inception.FIDInceptionE_2(2048)
        try:
            network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except RuntimeError as error:
            raise ScoreError(f"{weights} does not hold the FID Inception's weights: {error}") from error
        network.fc = torch.nn.Identity()
        network.dropout = torch.nn.Identity()
        self._network, self._device = network.eval().to(device), device

    @torch.inference_mode()
    def activations(self, images: np.ndarray) -> np.ndarray:
        """[b, H, W, 3] uint8 -> [b, 2048] float32."""
        side = (INCEPTION_SIDE, INCEPTION_SIDE)
        x = functional.interpolate(_unit(images, self._device), size=side, mode="bilinear", align_corners=False)
        return self._network(2 * x - 1).cpu().numpy()


def clip_network(scorer: Scorer, files: dict[str, Path], device: str = "cpu") -> ClipNetwork:
    """The CLIP that `scorer` names, from local files."""
    torchvision_schemas.declare(torch)
    import open_clip

    if scorer.clip == "openai-vit-b-32":
        # QuickGELU comes with this loader; ViT-B-32 of the default registry has GELU and gives other scores
        with warnings.catch_warnings():  # OpenAI's file is a TorchScript archive, which torch deprecates
            warnings.simplefilter("ignore", DeprecationWarning)
            model = open_clip.load_openai_model(str(files["clip"]), precision="fp32", device="cpu")
        preprocess = open_clip.image_transform(model.visual.image_size, is_train=False,
                                               mean=model.visual.image_mean, std=model.visual.image_std)
        return ClipNetwork("open_clip ViT-B-32 openai (QuickGELU)", model, preprocess, open_clip.get_tokenizer("ViT-B-32"), device)
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{files['clip'].parent}")
    return ClipNetwork(f"open_clip {scorer.model}/clip", model, preprocess,
                       _tokenizer(files["clip_vocabulary"].parent, model.context_length), device)


def image_network(scorer: Scorer, files: dict[str, Path], device: str = "cpu") -> ImageNetwork:
    """The FID network that `scorer` names, from local files."""
    if scorer.fid == "efficientnet-lite0":
        return EfficientNetLite0(files["fid"], device=device)
    return InceptionV3(files["fid"], device)


def _tokenizer(folder: Path, context_length: int) -> Callable[[list[str]], torch.Tensor]:
    """The diffusion model's own tokenizer: its CLIP was trained on the same ids."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)

    def tokenize(captions: list[str]) -> torch.Tensor:
        encoded = tokenizer(captions, padding="max_length", max_length=context_length, truncation=True, return_tensors="pt")
        return encoded.input_ids

    return tokenize


def _unit(images: np.ndarray, device: str) -> torch.Tensor:
    """uint8 [b, H, W, 3] -> float32 [b, 3, H, W] in [0, 1], as torchvision's ToTensor."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float().div(255)

"""MLPerf's scoring networks, proved without their weights: python -m pytest tests/test_extractors.py

The same random weights go through our path and through the reference formulation: pytorch-fid's own InceptionV3, and a
ViT-B/32 with QuickGELU written out from OpenAI's description. 64 images must agree to 1e-4.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from eval import clip, extractors, scorer
from eval.extractors import InceptionV3
from eval.scorer import Scorer
from ireeperf import torchvision_schemas
from ireeperf.errors import ScoreError

COUNT = 64
TEXTS = 8  # captions, each beside eight of the images
TOLERANCE = 1e-4
HEADS = {"visual": 12, "text": 8}


def pictures(height: int, width: int) -> np.ndarray:
    """[64, height, width, 3] uint8 with structure at several scales."""
    random = np.random.default_rng(7)
    images = np.zeros((COUNT, height, width, 3))
    for side in (4, 16, 64):
        coarse = random.uniform(0, 85, (COUNT, side, side, 3))
        images += coarse[:, (np.arange(height) * side) // height][:, :, (np.arange(width) * side) // width]
    return images.astype(np.uint8)


def randomize(module: nn.Module) -> None:
    """Weights that keep activations of order one through all layers, so that 1e-4 means something."""
    generator = torch.Generator().manual_seed(3)
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            fan = child.weight[0].numel()
            child.weight.data = torch.randn(child.weight.shape, generator=generator) * math.sqrt(2 / fan)
        elif isinstance(child, nn.BatchNorm2d):
            child.weight.data = 0.8 + 0.4 * torch.rand(child.weight.shape, generator=generator)
            child.bias.data = 0.2 * torch.randn(child.bias.shape, generator=generator)
            child.running_mean = 0.2 * torch.randn(child.running_mean.shape, generator=generator)  # type: ignore[union-attr]


def test_inception_path_agrees_with_pytorch_fid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision_schemas.declare(torch)
    from pytorch_fid import inception
    from torchvision.models import Inception3

    captured: dict[str, torch.Tensor] = {}

    def weights_of(network: Inception3) -> dict[str, torch.Tensor]:
        randomize(network)
        captured.update(network.state_dict())
        return captured

    # pytorch-fid builds its network, then downloads: hand it random weights of that network instead
    original = inception._inception_v3
    built: list[Inception3] = []
    monkeypatch.setattr(inception, "_inception_v3", lambda **k: built.append(original(**k)) or built[-1])
    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *_a, **_k: weights_of(built[-1]))
    reference = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()
    torch.save(captured, tmp_path / "inception.pth")
    ours = InceptionV3(tmp_path / "inception.pth")
    images = pictures(96, 96)
    with torch.inference_mode():
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255  # what ToTensor gives MLCommons' script
        expected = reference(batch)[0].squeeze(3).squeeze(2).numpy()
    found = np.concatenate([ours.activations(images[i:i + 16]) for i in range(0, COUNT, 16)])
    assert found.shape == (COUNT, 2048)
    assert np.abs(expected).mean() > 0.1 and expected.std(axis=0).mean() > 100 * TOLERANCE  # the comparison can fail
    assert np.abs(found - expected).max() <= TOLERANCE * max(1.0, np.abs(expected).max())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "torchvision.pth")
    with pytest.raises(ScoreError, match="does not hold the FID Inception's weights"):
        InceptionV3(tmp_path / "torchvision.pth")


def attention(x: torch.Tensor, weights: dict[str, torch.Tensor], name: str, heads: int, mask: torch.Tensor | None) -> torch.Tensor:
    """Multi-head self attention, [b, t, d]."""
    count, length, width = x.shape
    parts = (x @ weights[f"{name}.in_proj_weight"].T + weights[f"{name}.in_proj_bias"]).chunk(3, dim=-1)
    query, key, value = (part.view(count, length, heads, -1).transpose(1, 2) for part in parts)
    scores = query @ key.transpose(2, 3) / math.sqrt(width // heads)
    mixed = (scores if mask is None else scores + mask).softmax(dim=-1) @ value
    return mixed.transpose(1, 2).reshape(x.shape) @ weights[f"{name}.out_proj.weight"].T + weights[f"{name}.out_proj.bias"]


def norm(x: torch.Tensor, weights: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    centered = x - x.mean(dim=-1, keepdim=True)
    return centered / torch.sqrt((centered**2).mean(dim=-1, keepdim=True) + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def transformer(x: torch.Tensor, weights: dict[str, torch.Tensor], name: str, heads: int, mask: torch.Tensor | None) -> torch.Tensor:
    """12 pre-norm blocks with QuickGELU: x * sigmoid(1.702 x)."""
    for layer in range(12):
        block = f"{name}.resblocks.{layer}"
        x = x + attention(norm(x, weights, f"{block}.ln_1"), weights, f"{block}.attn", heads, mask)
        hidden = norm(x, weights, f"{block}.ln_2") @ weights[f"{block}.mlp.c_fc.weight"].T + weights[f"{block}.mlp.c_fc.bias"]
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        x = x + hidden @ weights[f"{block}.mlp.c_proj.weight"].T + weights[f"{block}.mlp.c_proj.bias"]
    return x


def reference_image_features(images: np.ndarray, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Bicubic resize of the short side to 224, centre crop, normalize, ViT-B/32."""
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = []
    for image in images:
        height, width = image.shape[:2]
        scale = 224 / min(height, width)
        small = Image.fromarray(image).resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
        left, top = (small.width - 224) // 2, (small.height - 224) // 2
        cropped = torch.from_numpy(np.asarray(small.crop((left, top, left + 224, top + 224))).copy()).float() / 255
        pixels.append(((cropped - mean) / std).permute(2, 0, 1))
    patches = torch.stack(pixels).unfold(2, 32, 32).unfold(3, 32, 32).permute(0, 2, 3, 1, 4, 5).reshape(len(images), 49, -1)
    x = patches @ weights["visual.conv1.weight"].reshape(768, -1).T
    x = torch.cat([weights["visual.class_embedding"].expand(len(images), 1, -1), x], dim=1) + weights["visual.positional_embedding"]
    x = transformer(norm(x, weights, "visual.ln_pre"), weights, "visual.transformer", HEADS["visual"], None)
    return norm(x[:, 0], weights, "visual.ln_post") @ weights["visual.proj"]


def reference_text_features(tokens: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Causal text transformer, read where the end token (the largest id) stands."""
    x = weights["token_embedding.weight"][tokens] + weights["positional_embedding"]
    mask = torch.full((77, 77), -math.inf).triu(1)
    x = norm(transformer(x, weights, "transformer", HEADS["text"], mask), weights, "ln_final")
    return x[torch.arange(len(tokens)), tokens.argmax(dim=-1)] @ weights["text_projection"]


def test_clip_path_agrees_with_vit_b_32_written_out(tmp_path: Path) -> None:
    torchvision_schemas.declare(torch)
    import open_clip

    torch.manual_seed(5)
    source = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None)
    # FP16 values, as OpenAI's file holds; ten times the usual spread in the MLP, so that GELU for QuickGELU would show
    weights = {name: (value.float() * (10 if "mlp.c_fc.weight" in name else 1)).half() for name, value in source.state_dict().items()}
    torch.save(weights, tmp_path / "ViT-B-32.pt")
    chosen = scorer.of_model("sdxl-base-1.0")
    network = extractors.clip_network(chosen, {"clip": tmp_path / "ViT-B-32.pt"})
    images, captions = pictures(240, 320), [f"A picture of {i} dogs, near a tree." for i in range(TEXTS)]
    wide = {name: value.float() for name, value in weights.items()}
    with torch.inference_mode():
        image_features = reference_image_features(images, wide)
        text_features = reference_text_features(open_clip.tokenize(captions), wide)
        expected = 100 * torch.nn.functional.cosine_similarity(image_features, text_features.repeat(COUNT // TEXTS, 1))
    found = clip.clip_scores(network.image_features(images), np.tile(network.text_features(captions), (COUNT // TEXTS, 1)))
    assert found.std() > 100 * TOLERANCE  # the scores differ between samples
    assert np.abs(found - expected.numpy()).max() <= TOLERANCE
    assert isinstance(chosen, Scorer) and "QuickGELU" in network.name

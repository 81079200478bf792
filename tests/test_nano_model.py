"""The embedded rehearsal model: loads offline, has the promised architecture and size, and its evidence meets the bar."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from scripts.nano import pictures as sheets
from scripts.nano.captions import HELDOUT_SHARE, MODEL, NEGATIVE_PROMPT, draw_prompts, group_key, read_tsv

MIB = 2**20
REFERENCE = Path(__file__).parent / "data" / "nano_reference.png"


@pytest.fixture(scope="module")
def pipeline():  # type: ignore[no-untyped-def]  # the class is known only after a slow import
    """diffusers' pipeline on models/sdxl-nano, with the network forbidden."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    from scripts.nano.draw import load_pipeline

    return load_pipeline(MODEL)


def parameters(network: object) -> int:
    return sum(p.numel() for p in network.parameters())  # type: ignore[attr-defined]


def test_classes_and_sizes(pipeline) -> None:  # type: ignore[no-untyped-def]
    names = {part: type(getattr(pipeline, part)).__name__ for part in ("unet", "vae", "text_encoder", "text_encoder_2", "scheduler")}
    assert names == {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel",
                     "text_encoder_2": "CLIPTextModelWithProjection", "scheduler": "EulerDiscreteScheduler"}
    assert 6e6 <= parameters(pipeline.unet) <= 10e6, f"{parameters(pipeline.unet)} UNet parameters"
    kinds = {type(block).__name__ for block in (*pipeline.unet.down_blocks, pipeline.unet.mid_block, *pipeline.unet.up_blocks)}
    assert kinds == {"DownBlock2D", "CrossAttnDownBlock2D", "UNetMidBlock2DCrossAttn", "CrossAttnUpBlock2D", "UpBlock2D"}
    assert pipeline.unet.config.addition_embed_type == "text_time" and pipeline.unet.config.use_linear_projection
    assert pipeline.vae_scale_factor == 8 and pipeline.default_sample_size == 16
    assert pipeline.config.force_zeros_for_empty_prompt


def test_scheduler_is_sdxl_base(pipeline) -> None:  # type: ignore[no-untyped-def]
    config = pipeline.scheduler.config
    assert (config.beta_schedule, config.beta_start, config.beta_end) == ("scaled_linear", 0.00085, 0.012)
    assert (config.prediction_type, config.timestep_spacing, config.steps_offset) == ("epsilon", "leading", 1)


def test_weights_are_small_fp16_safetensors() -> None:
    from safetensors import safe_open

    files = sorted(path for path in MODEL.rglob("*.safetensors") if path.parent.name != "quantization")  # ranges are float32
    assert len(files) == 5, f"expected unet, vae, two text encoders and clip, found {files}"
    total = sum(path.stat().st_size for path in files)
    assert total <= 36 * 10**6, f"{total} bytes of weights"
    for path in files:
        with safe_open(path, "pt") as weights:
            kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}
        assert kinds <= {"F16", "I64"}, f"{path} holds {kinds}"


def test_tokenizers_follow_sdxl(pipeline) -> None:  # type: ignore[no-untyped-def]
    first, second = pipeline.tokenizer, pipeline.tokenizer_2
    size = len(first)
    assert (first.bos_token_id, first.eos_token_id) == (size - 2, size - 1), "the specials must have the two highest ids"
    assert first.model_max_length == second.model_max_length == 77
    assert first.pad_token == "<|endoftext|>" and second.pad_token == "!" and second.pad_token_id == 0
    longest = max(len(first(text).input_ids) for text in [NEGATIVE_PROMPT, *(row.caption for row in read_tsv(MODEL / "captions.tsv"))])
    assert longest <= 64, f"{longest} tokens do not fit AMD's max_seq_len"
    assert first("Grinning FACE").input_ids == second("grinning face").input_ids


def test_split_is_disjoint_and_drawn_by_seed() -> None:
    rows = read_tsv(MODEL / "captions.tsv")
    trained, heldout = ([row for row in rows if row.split == split] for split in ("train", "heldout"))
    assert [row.id for row in rows] == list(range(len(rows)))
    assert len({row.caption for row in rows}) == len(rows) >= 1024
    assert abs(len(heldout) / len(rows) - HELDOUT_SHARE) < 0.005
    shared = {group_key(row.source) for row in trained} & {group_key(row.source) for row in heldout}
    assert not shared, f"near-duplicates on both sides: {sorted(shared)}"
    assert read_tsv(MODEL / "prompts.tsv") == draw_prompts(rows)


def test_sheet_holds_distinct_pictures() -> None:
    rows = read_tsv(MODEL / "captions.tsv")
    pictures = sheets.read_sheet(MODEL / "pictures.webp", len(rows))
    assert pictures.shape == (len(rows), 128, 128, 3)
    assert len({picture.tobytes() for picture in pictures}) == len(rows)


def test_evidence_meets_the_bar() -> None:
    evidence = json.loads((MODEL / "evidence.json").read_text())
    trained = evidence["sets"]["trained-77"]
    assert trained["pictures"] == 256 and evidence["conditions"]["guidance"] == 8.0 and evidence["conditions"]["steps"] == 20
    for retrieval in ("clip_top5", "imagenet_top5"):
        counts = trained[retrieval]
        ratio = counts["generated"] / counts["originals"]
        assert ratio >= evidence["bar"] >= 0.8, f"{retrieval}: {counts}"
        assert counts["shuffled"] <= 0.1 * counts["originals"], f"chance should be near 5 of 256: {counts}"
    assert evidence["sets"]["heldout-77"]["pictures"] == sum(row.split == "heldout" for row in read_tsv(MODEL / "captions.tsv"))


def test_card_says_rehearsal_and_numbers_match() -> None:
    card = (MODEL / "README.md").read_text()
    assert "rehearsal model" in card and "Apache-2.0" in card and "MIT" in card
    trained = json.loads((MODEL / "evidence.json").read_text())["sets"]["trained-77"]
    for retrieval in ("clip_top5", "imagenet_top5"):
        assert re.search(rf"\b{trained[retrieval]['generated']} / 256\b", card), f"README.md lacks {retrieval}'s count"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' scheduler with numpy 2
def test_one_picture_equals_the_reference(pipeline) -> None:  # type: ignore[no-untyped-def]
    from PIL import Image

    from scripts.nano.draw import draw

    row = read_tsv(MODEL / "prompts.tsv")[0]
    drawn = draw(pipeline, [row.caption], 77)[0].astype(float)
    with Image.open(REFERENCE) as image:
        reference = np.asarray(image.convert("RGB")).astype(float)
    assert np.abs(drawn - reference).mean() < 1.0, f"mean difference {np.abs(drawn - reference).mean():.2f} of 255 for {row.caption!r}"


def test_clip_loads_through_open_clip() -> None:
    pytest.importorskip("open_clip")
    from scripts.nano.evidence import clip_features, hits

    rows = read_tsv(MODEL / "prompts.tsv")[:32]
    originals = sheets.read_sheet(MODEL / "pictures.webp", len(read_tsv(MODEL / "captions.tsv")))[[row.id for row in rows]]
    features, text = clip_features(MODEL, {"originals": originals}, [row.caption for row in rows])
    assert hits(features["originals"] @ text.T) >= 31
    assert os.environ.get("HF_HUB_OFFLINE") in (None, "1")


def test_text_encoder_of_training_equals_transformers(pipeline) -> None:  # type: ignore[no-untyped-def]
    import torch

    from scripts.nano.train_unet import encode_text

    for encoder, tokenizer in ((pipeline.text_encoder, pipeline.tokenizer), (pipeline.text_encoder_2, pipeline.tokenizer_2)):
        ids = tokenizer(["hot air balloon", NEGATIVE_PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids
        with torch.inference_mode():
            theirs, (hidden, _) = encoder(ids, output_hidden_states=True), encode_text(encoder, ids)
        assert (theirs.hidden_states[-2] - hidden).abs().max() < 1e-5

"""export.decoder against transformers: the same weights choose the same tokens, whatever the layout of pages, rows and lengths."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from export import decoder_config, decoder_files, decoder_weights, model_json, torch_setup
from export.decoder import Decoder, rotary_angles
from export.decoder_config import DecoderConfig, RopeScaling
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError

CONFIGS = Path(__file__).resolve().parents[1] / "export" / "configs"
CONFIG = DecoderConfig(model="nano", hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=8,
                       vocab_size=64, rope_theta=10000.0, rms_norm_eps=1e-5, eos_token_ids=(2,), page_tokens=4, pages=40, max_seq_len=32,
                       prefill_lengths=(8, 16), prefill_batch_sizes=(1, 4), decode_batch_sizes=(1, 4), dtype="float32", attention="explicit",
                       loadgen_model="nano")
MIXTURE = dataclasses.replace(CONFIG, num_local_experts=8, num_experts_per_tok=2)
PROMPTS = [[5, 9, 3], [1, 44, 17, 60, 2, 8, 33, 12, 7], [10] * 16, [63, 1]]


def reference(config: DecoderConfig) -> torch.nn.Module:
    """transformers' own model of this shape, with random weights of a size that makes tokens differ."""
    torch_setup.prepare()
    from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

    torch.manual_seed(3)
    shared = {name: getattr(config, name) for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                                                       "num_key_value_heads", "head_dim", "vocab_size", "rms_norm_eps", "tie_word_embeddings")}
    rope = {"rope_theta": config.rope_theta, "rope_type": "default"}
    if config.rope_scaling is not None:
        rope |= {"rope_type": "llama3"} | dataclasses.asdict(config.rope_scaling)
    shared |= {"rope_parameters": rope, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.2, "max_position_embeddings": 64}
    if config.num_local_experts:
        made = MixtralForCausalLM(MixtralConfig(**shared, num_local_experts=8, num_experts_per_tok=2, sliding_window=None))
    else:
        made = LlamaForCausalLM(LlamaConfig(**shared))
    return made.eval().float()


def saved(config: DecoderConfig, folder, *, shard: str = "40KB"):
    """A Hugging Face folder of the reference, in several files; and the reference."""
    model = reference(config)
    model.save_pretrained(folder, max_shard_size=shard)
    return folder, model


def generate(decoder: Decoder, prompts: list[list[int]], count: int) -> list[list[int]]:
    """Greedy answers of all prompts in one batch, each ended as the decoder says; the rows' pages lie apart and out of order."""
    config = decoder.config
    decoder.add_cache()
    table = torch.randperm(config.pages - 1, generator=torch.Generator().manual_seed(0))[:len(prompts) * 8].view(len(prompts), 8) + 1
    tokens = torch.zeros(len(prompts), 16, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, :len(prompt)] = torch.tensor(prompt)
    positions = torch.tensor([len(prompt) for prompt in prompts])
    chosen = decoder.prefill(tokens, positions, table[:, :4])
    answers = [[int(one)] for one in chosen]
    for _ in range(count - 1):
        chosen = decoder.decode(torch.where(chosen < 0, -1 - chosen, chosen), positions, table)
        positions = positions + 1
        for answer, one in zip(answers, chosen, strict=True):
            if answer[-1] >= 0:
                answer.append(int(one))
    return [[-1 - one if one < 0 else one for one in answer] for answer in answers]


@pytest.mark.parametrize("config", [
    CONFIG, MIXTURE, dataclasses.replace(CONFIG, attention="fused"), dataclasses.replace(CONFIG, tie_word_embeddings=True),
    dataclasses.replace(CONFIG, rope_scaling=RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)),
], ids=["llama", "mixtral", "fused", "tied", "llama3.1"])
def test_the_same_tokens_as_transformers(config: DecoderConfig, tmp_path) -> None:
    folder, model = saved(config, tmp_path)
    with torch.no_grad():
        ours = generate(decoder_weights.load(config, folder), PROMPTS, 12)
        for prompt, answer in zip(PROMPTS, ours, strict=True):
            theirs = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt):].tolist()
            assert answer == theirs, prompt
    assert len({token for answer in ours for token in answer}) > 8, "answers that hardly differ would prove nothing"


@pytest.mark.parametrize("path", sorted(path for path in CONFIGS.glob("*.json") if not path.name.startswith("sdxl_")), ids=lambda path: path.stem)
def test_every_config_of_the_repository(path: Path) -> None:
    config = model_json.read(path)
    assert isinstance(config, DecoderConfig) and decoder_config.read(path) == config and config.target == "cpu"
    assert len(set(decoder_files.entry_points(config))) == len(decoder_files.entry_points(config))


def test_a_wrong_rope_base_or_position_would_show(tmp_path) -> None:
    """What the comparison above is worth: two deliberate defects change the answers."""
    folder, _ = saved(CONFIG, tmp_path)
    with torch.no_grad():
        right = generate(decoder_weights.load(CONFIG, folder), PROMPTS, 12)
        other = decoder_weights.load(CONFIG, folder)
        other.config = dataclasses.replace(CONFIG, rope_theta=500.0)
        assert generate(other, PROMPTS, 12) != right
        shifted = decoder_weights.load(CONFIG, folder)
        shifted._angles = lambda positions: rotary_angles(positions + (positions > 0), CONFIG.head_dim, CONFIG.rope_theta, None)  # type: ignore[method-assign]
        assert generate(shifted, PROMPTS, 12) != right


def test_a_missing_shard_is_named(tmp_path) -> None:
    saved(CONFIG, tmp_path)
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(MissingFileError, match=lost.name):
        decoder_weights.load(CONFIG, tmp_path)


@pytest.mark.parametrize(("field", "value"), [("intermediate_size", 112), ("rope_theta", 500000.0), ("num_key_value_heads", 3)])
def test_a_config_that_does_not_fit_the_weights_is_refused_by_field(field: str, value: float, tmp_path) -> None:
    saved(CONFIG, tmp_path)
    with pytest.raises(ConfigError, match=f"{field} .* the model JSON {value}"):
        decoder_weights.load(dataclasses.replace(CONFIG, **{field: value}), tmp_path)


def test_a_tensor_of_another_shape_is_named(tmp_path) -> None:
    saved(CONFIG, tmp_path)
    stated = tmp_path / "config.json"
    stated.write_text(json.dumps(json.loads(stated.read_text()) | {"vocab_size": 65}))
    with pytest.raises(ConfigError, match=r"model.embed_tokens.weight is \(64, 48\), nano needs \(65, 48\)"):
        decoder_weights.load(dataclasses.replace(CONFIG, vocab_size=65), tmp_path)


@pytest.mark.parametrize(("change", "words"), [
    ({"num_key_value_heads": 4}, "no multiple"), ({"pages": 8}, "one sequence of 32 needs 8"), ({"prefill_lengths": [8, 32]}, "no room for an answer"),
    ({"prefill_lengths": [6]}, "no multiple of page_tokens"), ({"eos_token_ids": []}, "at least one"), ({"num_experts_per_tok": 1}, "from 1 to all"),
    ({"decode_batch_sizes": [4, 1]}, "ascending"), ({"head_dim": 7}, "must be even"), ({"hidden_sise": 4}, "unknown key 'hidden_sise'"),
])
def test_a_wrong_config_names_the_key(change: dict, words: str, tmp_path) -> None:
    path = tmp_path / "nano.json"
    path.write_text(json.dumps(document.to_dict(CONFIG) | change))
    with pytest.raises(ConfigError, match=words):
        decoder_config.read(path)

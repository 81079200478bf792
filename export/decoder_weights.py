"""Weights of a decoder: a Hugging Face folder (config.json, safetensors whole or sharded) or a GGUF file, checked against the config."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export import decoder_files
from export.decoder import Decoder
from export.decoder_config import DecoderConfig, RopeScaling
from ireeperf.errors import ConfigError

_COMPARED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
             "rms_norm_eps", "tie_word_embeddings", "num_local_experts", "num_experts_per_tok")
# GGUF's key for each of ours, after "llama."
_GGUF_KEYS = {"hidden_size": "embedding_length", "intermediate_size": "feed_forward_length", "num_hidden_layers": "block_count",
              "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv", "head_dim": "rope.dimension_count",
              "vocab_size": "vocab_size", "rope_theta": "rope.freq_base", "rms_norm_eps": "attention.layer_norm_rms_epsilon"}
_GGUF_NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
               "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
               "ffn_down": "mlp.down_proj"}


def load(config: DecoderConfig, checkpoint: Path) -> Decoder:
    """The decoder with its weights in config.dtype. ConfigError names the field or tensor that does not fit, MissingFileError a file."""
    from safetensors import SafetensorError

    found = decoder_files.files(checkpoint)
    try:
        tensors = _from_gguf(config, found[0]) if checkpoint.suffix == ".gguf" else _from_folder(config, found)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, SafetensorError) as error:  # of json, gguf and safetensors on a broken file
        raise ConfigError(f"{checkpoint} cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]}); fetch the checkpoint again") from error
    with torch.device("meta"):
        decoder = Decoder(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in decoder.state_dict().items()}
    if config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    for name, shape in wanted.items():
        if name not in tensors:
            raise ConfigError(f"{checkpoint} has no tensor {name}, which {config.model} needs")
        if tuple(tensors[name].shape) != shape:
            raise ConfigError(f"{checkpoint}: {name} is {tuple(tensors[name].shape)}, {config.model} needs {shape}")
    if surplus := sorted(name for name in tensors if name not in wanted and not name.endswith("rotary_emb.inv_freq")):
        raise ConfigError(f"{checkpoint} has {surplus[0]} ({len(surplus)} such tensors), which {config.model} has no place for")
    dtype = getattr(torch, config.dtype)
    decoder.load_state_dict({name: tensors[name].to(dtype) for name in wanted}, assign=True)
    return decoder.eval().requires_grad_(False)


def without_weights(config: DecoderConfig) -> Decoder:
    """The decoder on torch's meta device: shapes only."""
    with torch.device("meta"):
        return Decoder(config).to(getattr(torch, config.dtype)).eval().requires_grad_(False)


def _compare(config: DecoderConfig, found: dict[str, Any], where: Path) -> None:
    for name, value in found.items():
        if value is not None and value != (ours := getattr(config, name)) and not (isinstance(ours, float) and abs(value - ours) <= 1e-6 * abs(ours)):
            raise ConfigError(f"{where} says {name} {value}, the model JSON {ours}; mend the one that is wrong")


def _compare_scaling(config: DecoderConfig, stated: dict[str, Any], where: Path) -> None:
    """Stretched rotary frequencies, which no tensor tells of: rope_parameters of transformers 5, rope_scaling before."""
    found = stated.get("rope_scaling") or stated.get("rope_parameters") or {}
    kind = found.get("rope_type", found.get("type", "default"))
    theirs = {field.name: found.get(field.name) for field in dataclasses.fields(RopeScaling)} if kind == "llama3" else None
    ours = dataclasses.asdict(config.rope_scaling) if config.rope_scaling else None
    if kind not in ("default", "llama3") or theirs != ours:
        raise ConfigError(f"{where} says rope_scaling {theirs or kind}, the model JSON {ours}; mend the one that is wrong")


def _from_folder(config: DecoderConfig, found: list[Path]) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    stated = json.loads(found[0].read_text())
    rotary = stated.get("rope_parameters") or {}
    compared = {name: stated.get(name) for name in _COMPARED} | {"rope_theta": rotary.get("rope_theta", stated.get("rope_theta"))}
    _compare(config, compared, found[0])
    _compare_scaling(config, stated, found[0])
    tensors: dict[str, Tensor] = {}
    for file in found[1:]:
        if file.suffix == ".safetensors":
            tensors |= load_file(file)
    return tensors


def _from_gguf(config: DecoderConfig, file: Path) -> dict[str, Tensor]:
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(file)
    architecture = reader.get_field("general.architecture")
    if architecture is None or (kind := architecture.contents()) != "llama":
        raise ConfigError(f"{file} is of architecture {kind if architecture else 'unknown'}; llama is read")
    fields = {name: reader.get_field(f"llama.{key}") for name, key in _GGUF_KEYS.items()}
    _compare(config, {name: field.contents() if field is not None else None for name, field in fields.items()}, file)
    tensors = {}
    for one in reader.tensors:
        tensor = torch.from_numpy(dequantize(one.data, one.tensor_type).copy()).float()
        name = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}.get(one.name)
        if name is None:
            _, layer, kind, ending = one.name.split(".") if one.name.count(".") == 3 else ("", "", "", "")
            if kind not in _GGUF_NAMES:
                raise ConfigError(f"{file} has {one.name}, which {config.model} has no place for")
            name = f"model.layers.{layer}.{_GGUF_NAMES[kind]}.{ending}"
            if kind in ("attn_q", "attn_k"):
                tensor = _halves(tensor, config.num_attention_heads if kind == "attn_q" else config.num_key_value_heads)
        tensors[name] = tensor
    return tensors


def _halves(weight: Tensor, heads: int) -> Tensor:
    """GGUF stores the rows of a rotated pair next to each other; ours lie half a head apart, as Hugging Face's do."""
    return weight.view(heads, -1, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)

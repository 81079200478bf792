"""DecoderConfig: a Llama- or Mixtral-shaped decoder and what is compiled of it. Architecture keys are Hugging Face's (config.json)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ireeperf import document
from ireeperf.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Llama 3.1's stretched rotary frequencies (transformers' rope_type "llama3")."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """One decoder at given shapes: a module with prefill (one entry point a batch size and length) and decode (one a batch size)."""

    schema_version: ClassVar[int] = 1
    model: str  # the checkpoint's name
    # architecture, by Hugging Face's names
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    rope_theta: float
    rms_norm_eps: float
    eos_token_ids: tuple[int, ...]  # any of these ends a sequence
    tie_word_embeddings: bool = False
    rope_scaling: RopeScaling | None = None
    num_local_experts: int = 0  # 0: a dense feed-forward layer
    num_experts_per_tok: int = 0
    # what is compiled
    page_tokens: int = 16  # positions in one page of the KV cache
    pages: int  # of the cache; page 0 takes what belongs to no sequence
    max_seq_len: int  # prompt and answer together
    prefill_lengths: tuple[int, ...]  # prompts are padded to the next one
    prefill_batch_sizes: tuple[int, ...]
    decode_batch_sizes: tuple[int, ...]
    dtype: Literal["float16", "float32", "bfloat16"] = "float16"
    attention: Literal["fused", "explicit"] = "fused"  # explicit (matmul, softmax, matmul) is faster on CPUs
    loadgen_model: str
    target: str | None = None  # compile target when the command line gives none

    def __post_init__(self) -> None:
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                     "vocab_size", "page_tokens", "max_seq_len"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} is {value}; at least 1")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(f"num_attention_heads {self.num_attention_heads} is no multiple of num_key_value_heads {self.num_key_value_heads}")
        if self.head_dim % 2:
            raise ConfigError(f"head_dim is {self.head_dim}; rotary embedding turns pairs, so it must be even")
        if not 0 <= self.num_experts_per_tok <= self.num_local_experts or (self.num_local_experts and not self.num_experts_per_tok):
            raise ConfigError(f"num_experts_per_tok is {self.num_experts_per_tok} of num_local_experts {self.num_local_experts}; from 1 to all, or 0 of 0")
        for name in ("prefill_lengths", "prefill_batch_sizes", "decode_batch_sizes"):
            sizes = getattr(self, name)
            if not sizes or min(sizes) < 1 or list(sizes) != sorted(set(sizes)):
                raise ConfigError(f"{name} is {list(sizes)}; sizes of at least 1, ascending, none twice")
        for name, length in (("max_seq_len", self.max_seq_len), *(("prefill_lengths", one) for one in self.prefill_lengths)):
            if length % self.page_tokens:
                raise ConfigError(f"{name} has {length}, no multiple of page_tokens {self.page_tokens}")
        if self.prefill_lengths[-1] >= self.max_seq_len:
            raise ConfigError(f"prefill_lengths reach {self.prefill_lengths[-1]} and max_seq_len is {self.max_seq_len}: no room for an answer")
        if self.pages < 1 + self.pages_per_sequence:
            raise ConfigError(f"pages is {self.pages}; one sequence of {self.max_seq_len} needs {self.pages_per_sequence}, and page 0 belongs to none")
        if not self.eos_token_ids or not all(0 <= one < self.vocab_size for one in self.eos_token_ids):
            raise ConfigError(f"eos_token_ids is {list(self.eos_token_ids)}; at least one, each below vocab_size {self.vocab_size}")

    @property
    def pages_per_sequence(self) -> int:
        """Columns of decode's page table: pages of the longest sequence."""
        return self.max_seq_len // self.page_tokens

    @property
    def page_values(self) -> int:
        """Elements of one page: keys and values of every layer for page_tokens positions."""
        return self.num_hidden_layers * 2 * self.page_tokens * self.num_key_value_heads * self.head_dim


def read(path: Path) -> DecoderConfig:
    """Read a decoder config; ConfigError names the key and value that is wrong."""
    return document.read(DecoderConfig, path)

"""A decoder for export: RMSNorm, rotary positions, grouped-query attention, SwiGLU or a mixture of experts, over a paged KV cache.

Modules carry the names of Hugging Face's checkpoints (model.layers.0.self_attn.q_proj.weight), so that weights load and are
stored under them. The cache is one buffer [pages, layers * 2 * page_tokens * key/value heads * head_dim]: a page holds keys and
values of all layers for page_tokens positions, so one page table serves every layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.decoder_config import DecoderConfig, RopeScaling


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, in float32 (arXiv 1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class Attention(nn.Module):
    """Projections of grouped-query attention (arXiv 2305.13245): key/value heads serve num_attention_heads / num_key_value_heads queries each."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)
        self.config = config

    def project(self, x: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [b, t, hidden] -> query [b, t, heads, d], key and value [b, t, kv heads, d], query and key rotated."""
        heads, key_heads, width = self.config.num_attention_heads, self.config.num_key_value_heads, self.config.head_dim
        query, key = self.q_proj(x).unflatten(-1, (heads, width)), self.k_proj(x).unflatten(-1, (key_heads, width))
        return rotated(query, cosine, sine), rotated(key, cosine, sine), self.v_proj(x).unflatten(-1, (key_heads, width))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """query [b, t, heads, d], key, value [b, u, kv heads, d], mask [1 or b, 1, t, u] added to the scores -> [b, t, hidden]."""
        config = self.config
        batch, length, known = query.shape[0], query.shape[1], key.shape[1]
        groups = config.num_attention_heads // config.num_key_value_heads
        if config.attention == "fused":
            shape = (batch, config.num_key_value_heads, groups, known, config.head_dim)
            key, value = (one.transpose(1, 2).unsqueeze(2).expand(shape).flatten(1, 2) for one in (key, value))
            found = functional.scaled_dot_product_attention(query.transpose(1, 2), key, value, attn_mask=mask).transpose(1, 2)
            return self.o_proj(found.flatten(2))
        # a group's queries are rows of one product with their key head
        rows = query.unflatten(2, (config.num_key_value_heads, groups)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        scores = torch.matmul(rows, key.permute(0, 2, 3, 1)).float() / math.sqrt(config.head_dim)
        scores = scores + mask.float().repeat(1, 1, groups, 1)
        exponentials = torch.exp(scores - scores.amax(-1, keepdim=True))
        shares = (exponentials / exponentials.sum(-1, keepdim=True)).to(query.dtype)
        found = torch.matmul(shares, value.transpose(1, 2)).unflatten(2, (groups, length)).permute(0, 3, 1, 2, 4)
        return self.o_proj(found.flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202): down(silu(gate(x)) * up(x))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Expert(nn.Module):
    """One expert, with Mixtral's names: w2(silu(w1(x)) * w3(x))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))


class MixtureOfExperts(nn.Module):
    """Mixtral's layer (arXiv 2401.04088): softmax over the router's logits, the best num_experts_per_tok of them scaled to sum to 1.

    Every expert sees every token and what was not chosen counts zero: right at any size, and the fastest form for few tokens.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.hidden_size, config.num_local_experts, bias=False)
        self.experts = nn.ModuleList(Expert(config) for _ in range(config.num_local_experts))
        self.chosen = config.num_experts_per_tok

    def forward(self, x: Tensor) -> Tensor:
        shares = torch.softmax(self.gate(x).float(), -1)
        best, which = torch.topk(shares, self.chosen, -1)
        best = best / best.sum(-1, keepdim=True)
        experts = torch.arange(len(self.experts), device=x.device)
        weights = (torch.where(which.unsqueeze(-1) == experts, best.unsqueeze(-1), 0.0)).sum(-2).to(x.dtype)
        return sum(weights[..., index:index + 1] * expert(x) for index, expert in enumerate(self.experts))


class Layer(nn.Module):
    """Pre-normalized attention and feed-forward, each added to its input."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if config.num_local_experts:
            self.block_sparse_moe = MixtureOfExperts(config)
        else:
            self.mlp = FeedForward(config)

    def feed_forward(self, x: Tensor) -> Tensor:
        normalized = self.post_attention_layernorm(x)
        return x + (self.block_sparse_moe(normalized) if hasattr(self, "block_sparse_moe") else self.mlp(normalized))


class Trunk(nn.Module):
    """Embedding, layers and last norm: what a checkpoint has under model."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Decoder(nn.Module):
    """The entry points `prefill` and `decode` over a paged cache; both choose greedily and return one int a sequence."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.model = Trunk(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.config = config

    def add_cache(self) -> None:
        """The cache, of zeros, as a buffer; after the parameters were made external, so that it stays inside the module."""
        self.register_buffer("cache", torch.zeros(self.config.pages, self.config.page_values, dtype=self.model.norm.weight.dtype), persistent=False)

    def prefill(self, tokens: Tensor, lengths: Tensor, page_table: Tensor) -> Tensor:
        """tokens [b, s] int64, padded with any token; lengths [b] int64, 1 to s; page_table [b, s / page_tokens] int64 -> [b] int64: see `choose`."""
        config = self.config
        length = tokens.shape[1]
        rows = self.cache.view(-1, config.page_tokens * config.num_key_value_heads * config.head_dim)
        first = page_table.flatten() * (config.num_hidden_layers * 2)
        cosine, sine = self._angles(torch.arange(length, device=tokens.device)[None])
        hidden = self.model.embed_tokens(tokens)
        positions = torch.arange(length, device=tokens.device)
        mask = torch.where(positions[None, :] > positions[:, None], float("-inf"), 0.0)[None, None].to(hidden.dtype)
        for index, layer in enumerate(self.model.layers):
            query, key, value = layer.self_attn.project(layer.input_layernorm(hidden), cosine, sine)
            rows.index_put_((first + 2 * index,), key.reshape(-1, rows.shape[1]))
            rows.index_put_((first + 2 * index + 1,), value.reshape(-1, rows.shape[1]))
            hidden = layer.feed_forward(hidden + layer.self_attn.attend(query, key, value, mask))
        return self.choose(hidden[torch.arange(tokens.shape[0], device=tokens.device), lengths - 1])

    def decode(self, tokens: Tensor, positions: Tensor, page_table: Tensor) -> Tensor:
        """tokens [b] int64 at positions [b] int64 (0: the first), page_table [b, max_seq_len / page_tokens] int64 -> [b] int64: see `choose`."""
        config = self.config
        batch, known = tokens.shape[0], page_table.shape[1] * config.page_tokens
        width = config.num_key_value_heads * config.head_dim
        rows, slots = self.cache.view(-1, config.page_tokens * width), self.cache.view(-1, width)
        page = page_table.gather(1, (positions // config.page_tokens)[:, None])[:, 0]
        slot = page * (config.num_hidden_layers * 2 * config.page_tokens) + positions % config.page_tokens
        first = page_table.flatten() * (config.num_hidden_layers * 2)
        cosine, sine = self._angles(positions[:, None])
        hidden = self.model.embed_tokens(tokens[:, None])
        later = torch.arange(known, device=tokens.device)[None, :] > positions[:, None]
        mask = torch.where(later, float("-inf"), 0.0)[:, None, None, :].to(hidden.dtype)
        for index, layer in enumerate(self.model.layers):
            query, key, value = layer.self_attn.project(layer.input_layernorm(hidden), cosine, sine)
            slots.index_put_((slot + 2 * index * config.page_tokens,), key.reshape(batch, width))
            slots.index_put_((slot + (2 * index + 1) * config.page_tokens,), value.reshape(batch, width))
            keys, values = (torch.index_select(rows, 0, first + 2 * index + part).view(batch, known, -1, config.head_dim) for part in (0, 1))
            hidden = layer.feed_forward(hidden + layer.self_attn.attend(query, keys, values, mask))
        return self.choose(hidden[:, 0])

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [b, hidden] after the last layer -> [b, vocabulary] float32."""
        weight = self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight
        return functional.linear(self.model.norm(hidden), weight).float()

    def choose(self, hidden: Tensor) -> Tensor:
        """The likeliest next token [b] int64; one that ends the sequence comes as -1 - token, so that the host needs no list of them."""
        token = torch.argmax(self.logits(hidden), -1)
        ends = torch.zeros_like(token, dtype=torch.bool)
        for end in self.config.eos_token_ids:
            ends = ends | (token == end)
        return torch.where(ends, -1 - token, token)

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return rotary_angles(positions, self.config.head_dim, self.config.rope_theta, self.config.rope_scaling)


def rotary_angles(positions: Tensor, width: int, theta: float, scaling: RopeScaling | None) -> tuple[Tensor, Tensor]:
    """Cosine and sine [b, t, 1, width / 2] float32 of position * theta^(-2 i / width) (arXiv 2104.09864)."""
    frequencies = theta ** (-torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width)
    if scaling is not None:
        # Llama 3.1: long waves slow down by `factor`, short ones stay, those between go over smoothly (transformers: _compute_llama3_parameters)
        waves = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)  # turns within the original length
        share = ((waves - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)).clamp(0, 1)
        frequencies = frequencies * (share + (1 - share) / scaling.factor)
    angles = positions.float().unsqueeze(-1) * frequencies
    return angles.cos().unsqueeze(2), angles.sin().unsqueeze(2)


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """x [b, t, heads, d] with its halves turned: pair i is (x[i], x[i + d / 2]), as Hugging Face's checkpoints have it."""
    first, second = x.float().chunk(2, -1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1).to(x.dtype)

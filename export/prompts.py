"""Make a prompt set: texts through the checkpoint's tokenizer and chat template, with the FP32 reference's greedy answers.

    python -m export.prompts --model-json export/configs/smollm2_135m_fp32.json --checkpoint SmolLM2-135M-Instruct.Q4_1.gguf \\
        --count 512 --max-new-tokens 32 --output build/samples/smollm2-135m-instruct-160.npz

The texts are paragraphs of the Python manual that every Python ships (pydoc_data.topics, PSF license). The reference is transformers' own
model and `generate`, float32, not this project's decoder: what the compiled build is compared with must not share its mistakes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export import decoder_config, decoder_files, torch_setup
from export.decoder_config import DecoderConfig
from ireeperf import pretrained
from ireeperf.errors import ConfigError, exit_code
from ireeperf.prompts import PromptSet

QUESTION = "Say in one short sentence what this means: "
CHARACTERS = (60, 420)  # of a paragraph: a heading asks for nothing, a page does not fit
BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """The command line."""

    model_json: Path
    checkpoint: Path
    count: int
    max_new_tokens: int
    without_reference: bool
    output: Path


def parse(argv: Sequence[str] | None = None) -> PromptSettings:
    parser = argparse.ArgumentParser(prog="export.prompts", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--model-json", type=Path, required=True, help="decoder config: export/configs/*.json")
    parser.add_argument("--checkpoint", type=Path, required=True, help="Hugging Face folder or GGUF file, with its tokenizer")
    parser.add_argument("--count", type=int, default=512, help="prompts (default %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=32, help="of an answer (default %(default)s)")
    parser.add_argument("--without-reference", action="store_true", help="prompts only: for performance runs")
    parser.add_argument("--output", type=Path, required=True, help=".npz to write")
    settings = PromptSettings(**vars(parser.parse_args(argv)))
    for name in ("count", "max_new_tokens"):
        if (value := getattr(settings, name)) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} is {value}; at least 1")
    return settings


def texts() -> list[str]:
    """Paragraphs of the Python manual, each once, in an order that only their texts decide."""
    from pydoc_data import topics

    paragraphs = {re.sub(r"\s+", " ", part).strip() for topic in topics.topics.values() for part in topic.split("\n\n")}
    chosen = [one for one in paragraphs if CHARACTERS[0] <= len(one) <= CHARACTERS[1] and one.endswith((".", ":"))]
    return sorted(chosen, key=lambda one: hashlib.sha256(one.encode()).digest())


def tokenized(tokenizer: Any, config: DecoderConfig, count: int, longest: int) -> tuple[list[np.ndarray], list[str]]:
    """`count` prompts of at most `longest` tokens, and the texts that they ask about."""
    prompts, chosen = list[np.ndarray](), list[str]()
    for text in texts():
        ids = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION + text}], add_generation_prompt=True, return_dict=False)
        if len(ids) <= longest:
            prompts.append(np.asarray(ids, np.int32))
            chosen.append(text)
        if len(prompts) == count:
            return prompts, chosen
    raise ConfigError(f"--count is {count}, and this Python's manual has {len(prompts)} paragraphs of at most {longest} tokens for {config.model}")


def answers(model: Any, config: DecoderConfig, prompts: Sequence[np.ndarray], limit: int) -> list[np.ndarray]:
    """Greedy answers of transformers' `generate`, the token that ends an answer included; prompts of about one length go together."""
    import torch

    found: dict[int, np.ndarray] = {}
    order, started = sorted(range(len(prompts)), key=lambda index: len(prompts[index])), time.monotonic()
    for first in range(0, len(order), BATCH):
        rows = order[first:first + BATCH]
        width = max(len(prompts[index]) for index in rows)
        ids = torch.full((len(rows), width), config.eos_token_ids[0], dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, index in enumerate(rows):
            ids[row, width - len(prompts[index]):] = torch.from_numpy(prompts[index].astype(np.int64))
            mask[row, width - len(prompts[index]):] = 1
        with torch.no_grad():
            given = model.generate(ids, attention_mask=mask, max_new_tokens=limit, do_sample=False, eos_token_id=list(config.eos_token_ids),
                                   pad_token_id=config.eos_token_ids[0])
        for row, index in enumerate(rows):
            tokens = given[row, width:].tolist()
            end = next((place + 1 for place, token in enumerate(tokens) if token in config.eos_token_ids), len(tokens))
            found[index] = np.asarray(tokens[:end], np.int32)
        print(f"reference answers: {len(found)} of {len(prompts)}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return [found[index] for index in range(len(prompts))]


def make(config: DecoderConfig, checkpoint: Path, count: int, limit: int, *, with_reference: bool) -> PromptSet:
    """The prompt set. ConfigError when a prompt and an answer would not fit the config's max_seq_len, or the checkpoint is none."""
    decoder_files.files(checkpoint)
    torch_setup.prepare()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = pretrained.load(AutoTokenizer, checkpoint)
    prompts, _ = tokenized(tokenizer, config, count, min(config.prefill_lengths[-1], config.max_seq_len - limit))
    given, words = list[np.ndarray](), list[str]()
    if with_reference:
        model = pretrained.load(AutoModelForCausalLM, checkpoint, dtype=torch.float32).eval()
        given = answers(model, config, prompts, limit)
        words = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in given]
    return PromptSet(name=f"python-manual-{count}", model=config.model, max_new_tokens=limit, prompts=tuple(prompts), answers=tuple(given),
                     references=tuple(words))


def main() -> int:
    settings = parse()
    config = decoder_config.read(settings.model_json)
    print(f"prompts of {config.model}: {settings.count}, at most {settings.max_new_tokens} tokens of answer, checkpoint {settings.checkpoint}, "
          f"{'no reference' if settings.without_reference else 'reference by transformers, float32'}", flush=True)
    made = make(config, settings.checkpoint, settings.count, settings.max_new_tokens, with_reference=not settings.without_reference)
    made.write(settings.output)
    print(json.dumps({"prompts": len(made), "name": made.name, "longest": made.longest, "tokens": sum(map(len, made.answers)), "digest": made.digest,
                      "output": str(settings.output)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

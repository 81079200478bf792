"""Prefill and decode of a compiled decoder on a CPU against transformers eager: the same weights, prompts and number of threads, in turns.

    ./compile/precompile.py --model-json export/configs/smollm2_135m_fp32.json --checkpoint FILE.gguf
    ./scripts/bench llm-cpu --build build/smollm2_135m_fp32-cpu

Ours chooses the token in the graph; transformers computes the last position's logits and takes the largest. Both must choose the same token
in every call, or the bench ends. CPU time is beside wall time: what a busy machine distorts least.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compile import manifest as manifests
from compile.tune_search import interval
from export import torch_setup
from ireeperf import pretrained
from ireeperf.errors import ConfigError, RunError
from runtime.batch import Call
from runtime.decoder_engine import DecoderBuild, DecoderEngine, check_build
from scripts.bench_turns import measure

CALLS = {"prefill": 1, "decode": 8}  # a contestant's turn: as many calls, so that a turn is not over in a few milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """The command line."""

    build: Path
    pairs: int
    threads: int


def parse(argv: Sequence[str] | None = None) -> BenchSettings:
    parser = argparse.ArgumentParser(prog="scripts/bench llm-cpu", allow_abbrev=False, description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--build", type=Path, required=True, help="a decoder's build for this CPU")
    parser.add_argument("--pairs", type=int, default=31, help="rounds in which each contestant runs once (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each contestant (default %(default)s)")
    settings = BenchSettings(**vars(parser.parse_args(argv)))
    for name in ("pairs", "threads"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"--{name} is {getattr(settings, name)}; at least 1")
    return settings


class Ours:
    """The compiled decoder with a page table of its own for every row."""

    def __init__(self, build: DecoderBuild, threads: int) -> None:
        model = build.model
        self.length, self.rows = model.prefill_lengths[-1], model.decode_batch_sizes[-1]
        self.pages = 1 + np.arange(self.rows * model.pages_per_sequence).reshape(self.rows, -1)
        if self.pages.max() >= model.pages:
            raise ConfigError(f"{model.model} has {model.pages} pages; {self.rows} sequences of {model.max_seq_len} tokens need {self.pages.max() + 1}")
        self.columns = self.length // model.page_tokens
        self.engine = DecoderEngine("local-task://0" if threads > 1 else "local-sync://0", build, threads)
        self.engine.open()

    def prefill(self, row: int, ids: np.ndarray) -> int:
        """The token after the prompt `ids` [length], whose keys and values go into the pages of `row`."""
        call = Call(ticket=0, entry_point=f"prefill_bs1_len{self.length}", size=1, tokens=ids[None], positions=np.array([self.length]),
                    page_table=self.pages[row:row + 1, :self.columns])
        return int(self.engine.run(call)[0][0])

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """The tokens after `tokens` [b], which come right after the prompts."""
        size = len(tokens)
        call = Call(ticket=0, entry_point=f"decode_bs{size}", size=size, tokens=tokens, positions=np.full(size, self.length), page_table=self.pages[:size])
        return self.engine.run(call)[0]


def eager(checkpoint: Path, ids: np.ndarray, tokens: np.ndarray, sizes: Sequence[int]) -> dict[str, Callable[[], np.ndarray]]:
    """transformers' calls by entry point: the prefill of the first prompt of `ids` [b, length], and decode of `tokens` [b] after the prompts."""
    import torch
    from transformers import AutoModelForCausalLM

    model = pretrained.load(AutoModelForCausalLM, checkpoint, dtype=torch.float32).eval()
    given, following = torch.from_numpy(ids), torch.from_numpy(tokens)[:, None]

    def prefill() -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(model(given[:1], use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1).numpy())

    def decode_of(size: int) -> Callable[[], np.ndarray]:
        with torch.inference_mode():
            cache = model(given[:size], use_cache=True, logits_to_keep=1).past_key_values

        def decode() -> np.ndarray:
            with torch.inference_mode():
                found = model(following[:size], past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1).numpy()
                cache.crop(-1)  # the next call comes at the same position
            return np.asarray(found)
        return decode

    return {"prefill": prefill} | {f"decode_bs{size}": decode_of(size) for size in sizes}


def repeated(call: Callable[[], np.ndarray], times: int) -> Callable[[], None]:
    """`call`, so often."""
    def turn() -> None:
        for _ in range(times):
            call()
    return turn


def compared(times: dict[str, dict[str, list[float]]], calls: int) -> dict[str, Any]:
    """eager over ours, above 1 ours is faster: median and 95 % interval of the paired ratios; milliseconds a call."""
    found: dict[str, Any] = {}
    for kind in ("wall", "cpu"):
        low, middle, high = interval([b / a for a, b in zip(times["iree"][kind], times["eager"][kind], strict=True)])
        found[kind] = {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3),
                       **{f"{name}_ms": round(1e3 * float(np.median(times[name][kind])) / calls, 2) for name in times}}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    torch_setup.prepare()
    import torch

    torch.set_num_threads(settings.threads)
    manifest = manifests.read(settings.build)
    build = check_build(settings.build if settings.build.is_dir() else settings.build.parent, manifest)
    print(f"bench llm-cpu: {settings.build}, {manifest.decoder.model}, {settings.pairs} pairs, {settings.threads} threads each, transformers float32 "
          f"of {manifest.checkpoint}", flush=True)
    ours = Ours(build, settings.threads)
    ids = np.random.default_rng(0).integers(3, min(1000, manifest.decoder.vocab_size), (ours.rows, ours.length))
    tokens = np.abs([ours.prefill(row, ids[row]) for row in range(ours.rows)])
    theirs = eager(Path(manifest.checkpoint), ids, tokens, manifest.decoder.decode_batch_sizes)
    mine: dict[str, Callable[[], np.ndarray]] = {"prefill": lambda: np.array([ours.prefill(0, ids[0])])}
    mine |= {f"decode_bs{size}": lambda size=size: ours.decode(tokens[:size]) for size in manifest.decoder.decode_batch_sizes}  # type: ignore[misc]
    results = {}
    for name, call in mine.items():
        if not np.array_equal(one := call(), other := theirs[name]()):
            raise RunError(f"{name}: ours chose tokens {one.tolist()}, transformers {other.tolist()}; nothing is timed")
        count = CALLS[name.partition("_")[0]]
        results[name] = compared(measure({"iree": repeated(call, count), "eager": repeated(theirs[name], count)}, settings.pairs), count)
        print(f"{name}: {json.dumps(results[name])}", flush=True)
    print(json.dumps({"prefill_ratio_eager": results["prefill"]["wall"]["median"], "prefill_tokens": ours.length,
                      "decode_ratio_eager": {name.removeprefix("decode_bs"): found["wall"]["median"] for name, found in results.items() if name != "prefill"},
                      "pairs": settings.pairs, "threads": settings.threads, "calls": results}))
    return 0

"""A decoder's build without executables, for null devices, and a prompt set for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compile.manifest import NAME, Executable, Manifest
from export import decoder_files
from export.decoder_config import DecoderConfig
from ireeperf import document
from ireeperf.prompts import PromptSet
from runtime.null_device import pretend_token

CONFIG = DecoderConfig(
    model="tiny", hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=4, vocab_size=1024,
    rope_theta=1e4, rms_norm_eps=1e-5, eos_token_ids=(2,), page_tokens=4, pages=65, max_seq_len=48, prefill_lengths=(16, 32), prefill_batch_sizes=(1,),
    decode_batch_sizes=(1, 4, 16), loadgen_model="smollm2-135m", target="cpu")
LIMIT = 12
CONF = "\n".join(f"smollm2-135m{key} = {value}" for key, value in {
    ".*.use_token_latencies": 1, ".*.sample_concatenate_permutation": 1, ".*.performance_sample_count_override": 30,
    ".Offline.target_qps": 20, ".Offline.min_duration": 1000, ".Offline.min_query_count": 1,
    ".Server.target_qps": 20, ".Server.min_duration": 2000, ".Server.min_query_count": 40, ".Server.target_latency": 0,
    ".Server.ttft_latency": 1000, ".Server.tpot_latency": 100, ".Server.target_latency_percentile": 90,
    "-interactive.*.use_token_latencies": 1, "-interactive.*.sample_concatenate_permutation": 1, "-interactive.*.performance_sample_count_override": 30,
    "-interactive.Server.target_qps": 20, "-interactive.Server.min_duration": 2000, "-interactive.Server.min_query_count": 40,
    "-interactive.Server.target_latency": 0, "-interactive.Server.ttft_latency": 500, "-interactive.Server.tpot_latency": 50,
    "-interactive.Server.target_latency_percentile": 90}.items()) + "\n"
TIMES = 'schema_version = 1\ndevice = "null"\nevidence = "assumed"\nsource = "test"\n[seconds]\n1 = 0.002\n4 = 0.003\n16 = 0.004\n'


def answer(prompt: np.ndarray, limit: int = LIMIT) -> list[int]:
    """What a null decoder must say to `prompt`, alone."""
    tokens, position, last = list[int](), len(prompt) - 1, int(prompt[-1])
    while len(tokens) < limit:
        found = int(pretend_token(np.array([last]), np.array([position]))[0])
        tokens.append(-1 - found if found < 0 else found)
        if found < 0:
            break
        position, last = position + 1, tokens[-1]
    return tokens


def prompts(count: int = 30) -> PromptSet:
    """Prompts whose answers have two tokens at least, which LoadGen insists on."""
    draw, found = np.random.default_rng(0), list[np.ndarray]()
    while len(found) < count:
        one = draw.integers(3, 1000, draw.integers(1, 33)).astype(np.int32)
        if len(answer(one)) > 1:
            found.append(one)
    return PromptSet(name="tiny-prompts", model=CONFIG.model, max_new_tokens=LIMIT, prompts=tuple(found))


def write(folder: Path) -> None:
    """build/manifest.json, samples/, user.conf and times.toml in `folder`."""
    executable = Executable(module=decoder_files.MODULE, module_name=decoder_files.MODULE, entry_points=decoder_files.entry_points(CONFIG), batch_size=16,
                            path="decoder_bs16.vmfb", sha256="0" * 64, command="decoder_bs16.command.sh", seconds=0.0)
    manifest = Manifest(key="k" * 64, created_utc="2026-11-25T12:00:00+00:00", model=CONFIG, model_json="tiny.json", checkpoint="none", target="cpu",
                        driver="local-task", compiler_version="3.13.0", executables=(executable,), parameter_archives=(), spec=None, stage_seconds={})
    document.write(manifest, folder / "build/tiny" / NAME)
    prompts().write(folder / f"build/samples/tiny-{CONFIG.max_seq_len}.npz")
    (folder / "user.conf").write_text(CONF)
    (folder / "times.toml").write_text(TIMES)

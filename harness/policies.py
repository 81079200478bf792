"""The policy of a run: FIFO batches of images, or continuous batching of a decoder's sequences."""

from __future__ import annotations

import time
from functools import partial

from harness.inputs import Inputs
from harness.loadgen import LoadGen
from harness.run_result import Scenario
from harness.settings import RunSettings
from ireeperf.errors import ConfigError
from ireeperf.prompts import PromptSet
from runtime import pace as paces
from runtime.batch import Ready
from runtime.batching import Batching, Deadline, Throughput
from runtime.continuous_batching import Shapes
from runtime.decoder_policy import DecoderPolicy, Prompts
from runtime.policy import FifoPolicy


def of_run(settings: RunSettings, found: Inputs, scenario: Scenario, uris: tuple[str, ...], loadgen: LoadGen) -> FifoPolicy | DecoderPolicy:
    """Offline wants throughput, Server and Interactive their limits. ConfigError when LoadGen would not count a decoder's tokens."""
    states = {"open_seconds": settings.ready_timeout, "on_loss": settings.on_device_loss, "now_ns": time.monotonic_ns()}
    if not isinstance(found.samples, PromptSet):
        return FifoPolicy(uris, batching=batching(scenario, found.sizes, loadgen), **states)  # type: ignore[arg-type]
    if not loadgen.counts_tokens:
        raise ConfigError(f"{found.user_conf} has no use_token_latencies for {found.manifest.model.loadgen_model}, and the build is a decoder's; "
                          "set it to 1")
    pace = paces.Throughput if scenario == "Offline" else partial(paces.Latency, loadgen.tpot_s, loadgen.ttft_s)
    return DecoderPolicy(uris, shapes=shapes(found), pace=pace, prompts=Prompts(tokens=found.samples.prompts, limit=found.samples.max_new_tokens),
                         sort=scenario == "Offline", **states)  # type: ignore[arg-type]


def batching(scenario: Scenario, sizes: tuple[int, ...], loadgen: LoadGen) -> Batching:
    """How many images a batch takes."""
    return Throughput(sizes) if scenario == "Offline" else Deadline(sizes, loadgen.target_latency_s)


def shapes(found: Inputs) -> Shapes:
    """What was compiled, less the decode batch sizes that the run leaves out."""
    model = found.manifest.decoder
    return Shapes(page_tokens=model.page_tokens, pages=model.pages, max_seq_len=model.max_seq_len, prefill_lengths=model.prefill_lengths,
                  prefill_batch_sizes=model.prefill_batch_sizes, decode_batch_sizes=found.sizes)


def slowest_seconds(device: Ready, found: Inputs) -> float:
    """The longest thing that a device is asked for: a full batch of images, or any call of a decoder."""
    return max(device.service_seconds.values()) if isinstance(found.samples, PromptSet) else device.service_seconds[found.batch_size]


def sequence_seconds(device: Ready, found: Inputs) -> float:
    """Seconds of a decoder's device for as many sequences as it holds at once, each with a prompt of the longest length and a whole answer."""
    model = found.manifest.decoder
    size, length = model.prefill_batch_sizes[-1], model.prefill_lengths[-1]
    prefills = found.batch_size / size * device.service_seconds[f"prefill_bs{size}_len{length}"]
    return prefills + (found.prompts.max_new_tokens - 1) * device.service_seconds[f"decode_bs{found.batch_size}"]

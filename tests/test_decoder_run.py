"""harness.offline, server and interactive on a decoder's build with null devices: real LoadGen runs, each a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import report
from export import model_config
from harness import against_run, engines, inputs, perfetto, run_result, settings
from ireeperf import prompts
from ireeperf.errors import ConfigError
from runtime.decoder_engine import DecoderBuild
from tests import tiny_decoder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_decoder.write(tmp_path)
    return tmp_path


def run(folder: Path, scenario: str, *argv: str, code: int = 0) -> tuple[dict[str, Any], str]:
    command = [sys.executable, "-m", f"harness.{scenario}", "--user-conf", "user.conf", "--output", "run", "--device", "null", "--service-times", "times.toml",
               *argv]
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    return json.loads(last) if last.startswith("{") else {}, done.stderr


def logged(folder: Path) -> dict[int, dict[str, Any]]:
    """Entries of the accuracy log by sample."""
    return {entry["qsl_idx"]: entry for entry in json.loads((folder / "run/loadgen/mlperf_log_accuracy.json").read_text())}


@pytest.mark.loadgen
@pytest.mark.parametrize("scenario", ["offline", "server", "interactive"])
def test_a_performance_run_is_valid(folder: Path, scenario: str) -> None:
    said, _ = run(folder, scenario, "--devices", "2")
    assert said["valid"], said
    assert said["tokens_per_second"] > 0 and said["null"]
    result = run_result.read(folder / "run")
    assert result.scenario == scenario.capitalize() and not result.loadgen["errors"]
    assert result.decodes and result.loadgen["effective_sample_concatenate_permutation"]
    if scenario != "offline":
        tpot = result.loadgen["result_time_per_output_token_90.00_percentile_ns"]
        assert 0 < tpot <= result.loadgen["requested_server_tpot_latency"] == (5e7 if scenario == "interactive" else 1e8)
    for asked in (lambda: report.gather(report.ReportSettings(run=folder / "run", performance=None, output=None)),
                  lambda: against_run.compare(folder / "run", None, 0, 0.03)):
        with pytest.raises(ConfigError, match="is a decoder's run"):
            asked()
    slices = [event for event in perfetto.trace(run_result.read_timeline(folder / "run").batches, "run")["traceEvents"] if event["ph"] == "X"]
    assert {event["cat"] for event in slices} <= {"wait", "call"} and all("first sample" not in event["args"] for event in slices)


@pytest.mark.loadgen
@pytest.mark.parametrize("scenario", ["offline", "interactive"])
def test_an_accuracy_run_logs_the_tokens_that_every_sequence_alone_would_give(folder: Path, scenario: str) -> None:
    said, _ = run(folder, scenario, "--devices", "2", "--mode", "accuracy")
    assert said["valid"]
    entries, given = logged(folder), tiny_decoder.prompts()
    assert sorted(entries) == list(range(len(given)))
    for index, entry in entries.items():
        tokens = np.frombuffer(bytes.fromhex(entry["data"]), np.int32).tolist()
        assert tokens == tiny_decoder.answer(given.prompts[index]) and entry["token_count"] == len(tokens)
        if scenario != "offline":  # TEST06's first question: the token told first is the answer's first
            assert np.frombuffer(bytes.fromhex(entry["token_data"]), np.int32).tolist() == tokens[:1]


@pytest.mark.loadgen
@pytest.mark.parametrize(("changes", "words"), [
    ({"model": "other"}, "has model other, the build needs tiny"),
    ({"max_new_tokens": 40}, "needs 72 tokens for its longest prompt and an answer, the build's cache holds 48")])
def test_prompts_that_do_not_fit_the_build_are_refused(folder: Path, changes: dict[str, Any], words: str) -> None:
    given = tiny_decoder.prompts()
    longest = (*given.prompts[1:], np.arange(3, 35, dtype=np.int32))
    fields = {"name": "n", "model": given.model, "max_new_tokens": given.max_new_tokens, "prompts": longest} | changes
    prompts.PromptSet(**fields).write(folder / "p.npz")
    _, err = run(folder, "offline", "--samples", "p.npz", code=2)
    assert words in err and "Traceback" not in err


@pytest.mark.loadgen
def test_a_user_conf_that_counts_no_tokens_is_refused(folder: Path) -> None:
    (folder / "user.conf").write_text(tiny_decoder.CONF.replace("use_token_latencies = 1", "use_token_latencies = 0"))
    _, err = run(folder, "offline", code=2)
    assert "user.conf has no use_token_latencies for smollm2-135m" in err and "Traceback" not in err


def resolved(folder: Path, scenario: run_result.Scenario, *argv: str) -> tuple[settings.RunSettings, inputs.Inputs]:
    given = settings.parse(scenario, ["--manifest", str(folder / "build/tiny"), "--device", "null", "--service-times", str(folder / "times.toml"),
                                      "--user-conf", str(folder / "user.conf"), *argv])
    return given, inputs.resolve(given, scenario, datetime.now(UTC))


def test_what_is_for_images_is_refused_and_each_null_decoder_draws_its_own_jitter(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--mode TEST01 judges images, and the build of tiny is a decoder's"):
        resolved(folder, "Offline", "--mode", "TEST01")
    with pytest.raises(ConfigError, match="--isolation process is for image models"):
        engines.checked_build(*resolved(folder, "Offline", "--isolation", "process"))
    given, found = resolved(folder, "Offline")
    images = dataclasses.replace(found.manifest, model=model_config.read(ROOT / "export/configs/sdxl_nano_bs1.json"))
    with pytest.raises(ConfigError, match="Interactive is a scenario of language models, and the build of sdxl-nano draws images"):
        inputs.check_kind(images, "performance", "Interactive")
    made = engines.makers(given, found, ("null://0", "null://1"), None)
    assert len({maker()._random.random() for maker in made.values()}) == 2


def test_memory_tells_of_the_cache(folder: Path) -> None:
    given, found = resolved(folder, "Offline")
    (folder / "x.irpa").write_bytes(b"")
    model = dataclasses.replace(tiny_decoder.CONFIG, pages=10**6)
    build = DecoderBuild(model=model, entry_points=(), executable=folder, archive=folder / "x.irpa", scope="model")
    assert build.cache_bytes == 10**6 * 2 * 4 * 4 * 2  # keys and values of 4 positions and 4 channels, 2 bytes each
    assert engines.memory(given, found, ("local-sync://0",), build) == "0.00 GB of weights a device, 0.06 GB of KV cache"


def test_a_prompt_set_comes_back_as_it_was(tmp_path: Path) -> None:
    made = prompts.PromptSet(name="n", model="m", max_new_tokens=3, prompts=tuple(np.arange(size, dtype=np.int32) for size in (1, 5, 2)),
                             answers=tuple(np.full(size, 9, np.int32) for size in (0, 2, 1)), references=("a", "", "c"))
    made.write(tmp_path / "p.npz")
    found = prompts.read(tmp_path / "p.npz")
    assert found.digest == made.digest and [row.tolist() for row in found.answers] == [[], [9, 9], [9]] and found.references == made.references
    assert found.head(2).digest != made.digest and found.longest == 5 and len(found.head(2)) == 2
    for broken, words in ((b"nothing", "is not a prompt set"), (None, "does not exist")):
        path = tmp_path / ("b.npz" if broken else "absent.npz")
        if broken:
            path.write_bytes(broken)
        with pytest.raises(ConfigError, match=words):
            prompts.read(path)
    with pytest.raises(ConfigError, match="2 references for 3 prompts"):
        prompts.PromptSet(name="n", model="m", max_new_tokens=3, prompts=made.prompts, references=("a", "b"))

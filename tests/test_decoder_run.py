"""harness.offline, server and interactive on a decoder's build with null devices: real LoadGen runs, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import run_result
from ireeperf import prompts
from ireeperf.errors import ConfigError
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
    assert result.loadgen["requested_use_token_latencies"] and result.loadgen["effective_sample_concatenate_permutation"]


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

"""scripts/compiler_bugs: every reproducer compiles, and those that a CPU can judge still show. A new compiler that mends one fails here:
then its workaround (named in docs/compiler_bugs/<name>.md) can go, and its report with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "compiler_bugs"
EXPECTED = {"groupnorm_f16": "there", "truncf_small_float": "there", "gfx950_direct_load": "there", "cuda_conv1x1_f16": "unknown",
            "cuda_conv3x3_k64_f16": "unknown", "attention_wide_cpu": "there", "attention_wide_gfx942": "unknown"}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "scripts" / "compiler_bugs", *arguments], capture_output=True, text=True, check=False)


def stand_in(folder: Path, words: str, code: int) -> Path:
    """An iree-compile that gives its version and then does nothing, or crashes."""
    path = folder / "iree-compile"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "  IREE compiler version 9.9.0 @ 0123456789ab" && exit 0\necho {words} >&2\nexit {code}\n')
    path.chmod(0o755)
    return path


def test_the_bugs_that_a_cpu_can_judge_are_still_there():
    ended = run()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])["verdicts"]
    assert found == EXPECTED


@pytest.mark.parametrize(("words", "verdict"), [("'#4 getXorShuffleParamsForTunedChipset'", "there"), ("'error: unknown target'", "unknown")])
def test_a_crash_and_a_refusal_are_told_apart(tmp_path, words, verdict):
    """A compiler that makes nothing proves nothing of the bugs that must run, and the crash only by its stack."""
    ended = run("--compiler", stand_in(tmp_path, words, 136))
    assert json.loads(ended.stdout.splitlines()[-1]) == {"compiler": "9.9.0 @ 01234567", "verdicts": {
        "groupnorm_f16": "unknown", "truncf_small_float": "unknown", "gfx950_direct_load": verdict, "cuda_conv1x1_f16": "unknown",
        "cuda_conv3x3_k64_f16": "unknown", "attention_wide_cpu": "unknown", "attention_wide_gfx942": "unknown"}}


@pytest.mark.parametrize(("arguments", "words"), [
    (("nothing",), "no reproducer is called nothing; there are groupnorm_f16"),
    (("--compiler", "/nowhere/iree-compile"), "cannot run /nowhere/iree-compile"),
    (("--compiler", "/bin/echo"), "does not say its version"),
])
def test_bad_input_is_said(arguments, words):
    ended = run(*arguments)
    assert ended.returncode == 2 and words in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", EXPECTED)
def test_every_reproducer_has_its_report(name):
    """What an issue needs: versions, the command with the file's name, what is seen, what is expected, where, and our way around."""
    text = (FOLDER / f"{name}.md").read_text()
    assert f"{name}.mlir" in text and (FOLDER / f"{name}.mlir").is_file()
    assert re.findall(r"^\*\*(\w+)", text, re.MULTILINE)[0] == "Versions"
    for part in ("**Versions:**", "**Reproduce**", "**Seen.**", "**Expected.**", "**Where.**", "**Workaround here.**"):
        assert part in text, part


def test_no_file_is_left_without_a_judge():
    assert {path.stem for path in FOLDER.glob("*.mlir")} == {path.stem for path in FOLDER.glob("*.md")} == set(EXPECTED)

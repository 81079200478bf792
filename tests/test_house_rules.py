"""House rules that a machine can hold: sizes, names, and nothing of this workplace in a commit."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULE_LINES, FUNCTION_LINES, TREE_BYTES = 300, 50, 45 * 2**20
BANNED_NAMES = {"core", "fiber", "job", "manager", "helper", "helpers", "utils", "util", "common", "base", "misc"}  # STYLE: field words
# Paths of the machines that this project was written on. Written apart, so that this file passes its own test.
MACHINE_PATHS = re.compile("|".join(rf"(?<![\w.])/{name}/" for name in ("work", "farm", "tmp/bash_jobs", "root", "opt/wheels", "opt/pypi")))
TEXT_BYTES = 1 << 20  # larger files are data


def tracked() -> list[Path]:
    """Files of the repository: what git tracks, and in a checkout at work what it would."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    return sorted(path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file())


TRACKED = tracked()


def is_python(path: Path) -> bool:
    if path.suffix == ".py":
        return True
    with path.open("rb") as file:
        return path.suffix == "" and file.readline().startswith(b"#!") and b"python" in path.read_bytes()[:64]


PYTHON = [path for path in TRACKED if is_python(path)]


def text_of(path: Path) -> str | None:
    """The text of a file, or None for data."""
    if path.stat().st_size > TEXT_BYTES:
        return None
    content = path.read_bytes()
    return None if b"\0" in content else content.decode("utf-8", "replace")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check():
    assert len(PYTHON) > 50 and ROOT / "scripts" / "setup" in PYTHON and Path(__file__) in PYTHON


@pytest.mark.parametrize("path", PYTHON, ids=label)
def test_sizes_and_imports(path):
    source = path.read_text()
    assert source.count("\n") <= MODULE_LINES, f"{label(path)} has {source.count(chr(10))} lines; at most {MODULE_LINES}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{label(path)}:{node.lineno}: {node.name} has {lines} lines; at most {FUNCTION_LINES}"
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"{label(path)}:{node.lineno}: a star import"


def test_names_are_the_field_s_words():
    for path in PYTHON:
        for part in path.relative_to(ROOT).with_suffix("").parts:
            words = set(part.lower().split("_"))
            assert not words & BANNED_NAMES, f"{label(path)}: {words & BANNED_NAMES} says nothing; name what it is"


def test_folders_are_shallow():
    """Code lies one level below the root; scripts and tests may have one folder more."""
    for path in PYTHON:
        depth = len(path.relative_to(ROOT).parts)
        assert depth <= (3 if path.relative_to(ROOT).parts[0] in ("scripts", "tests") else 2), label(path)


def test_no_path_of_this_machine():
    found = [f"{label(path)}: {match.group()}" for path in TRACKED if (text := text_of(path)) is not None and path != Path(__file__)
             for match in MACHINE_PATHS.finditer(text)]
    assert not found, "\n".join(found)


def registry_hosts() -> set[str]:
    """Hosts and folders from which this machine's clients take packages: pip's, apt's and npm's own configuration."""
    texts = [value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "NPM_CONFIG", "npm_config"))]
    pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    texts.append(pip.stdout)
    files = [Path.home() / ".npmrc", Path("/etc/npmrc"), Path("/etc/apt/sources.list"), *Path("/etc/apt").glob("sources.list.d/*"),
             *Path("/etc/apt").glob("apt.conf.d/*")]
    texts += [re.sub(r"^\s*(#|//).*$", "", file.read_text(errors="replace"), flags=re.MULTILINE) for file in files if file.is_file()]
    hosts = {urlsplit(url).hostname for text in texts for url in re.findall(r"https?://[^\s'\"]+", text)}
    return {host for host in hosts if host and host not in ("localhost", "127.0.0.1")}


def test_no_registry_address():
    """A commit names packages, never where this machine or anyone's gets them from."""
    defaults = {".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"), ("deb", "debian", "org"),
                                              ("download", "pytorch", "org"))}
    hosts = registry_hosts() | defaults
    pattern = re.compile("|".join(re.escape(host) for host in sorted(hosts)))
    found = [f"{label(path)}: {match.group()}" for path in TRACKED if (text := text_of(path)) is not None for match in pattern.finditer(text)]
    assert not found, "\n".join(found)


def test_locks_are_hashed_and_have_no_options():
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert {"build.txt", "test.txt", "pip.txt", "torch.txt", "torch-cuda.txt"} <= {lock.name for lock in locks}
    for lock in locks:
        entries = [entry.split("#")[0].strip() for entry in lock.read_text().replace("\\\n", " ").splitlines()]
        for entry in filter(None, entries):
            assert re.fullmatch(r"[a-z0-9-]+==[\w.]+(\s+--hash=sha256:[0-9a-f]{64})+", entry), f"{lock.name}: {entry}"


@pytest.mark.parametrize("name", ["pip", "build", "test"])
def test_locks_hold_what_was_asked(name):
    asked = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower(): line.split("==")[1]
             for line in (ROOT / f"requirements/{name}.in").read_text().splitlines() if "==" in line}
    locks = [name, "torch"] if name == "build" else [name]  # torch has a lock of its own: two builds to choose from
    locked = {package: version for lock in locks
              for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / f"requirements/{lock}.txt").read_text(), re.MULTILINE)}
    assert asked and asked.items() <= locked.items(), "run ./scripts/lock"


def test_no_credentials():
    """The usual shapes of tokens and keys: GitHub's, Hugging Face's, AWS's, private keys, passwords in addresses."""
    shapes = re.compile("|".join([r"gh[pousr]_[A-Za-z0-9]{30,}", r"hf_[A-Za-z0-9]{30,}", r"AKIA[0-9A-Z]{16}", "BEGIN [A-Z ]*PRIVATE" + " KEY",
                                  r"https?://[^\s/:@]+:[^\s/@]+@"]))
    found = [f"{label(path)}: {match.group()[:12]}..." for path in TRACKED if (text := text_of(path)) is not None
             for match in shapes.finditer(text)]
    assert not found, "\n".join(found)


def test_the_tree_is_small():
    sizes = {path: path.stat().st_size for path in TRACKED}
    largest = sorted(sizes, key=sizes.__getitem__)[-5:]
    assert sum(sizes.values()) <= TREE_BYTES, f"{sum(sizes.values()) / 2**20:.1f} MiB; largest: {[label(path) for path in largest]}"


def test_settings_have_one_place():
    """Tools read pyproject.toml."""
    assert not [path for path in TRACKED if path.name in ("setup.cfg", "setup.py", "tox.ini", "pytest.ini", ".flake8", "mypy.ini")]

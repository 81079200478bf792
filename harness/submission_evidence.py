"""Evidence: what a published tree can no longer show, noted from the untruncated logs when the tree is built.

    <division>/<submitter>/documentation/evidence/<system>/<model>/<scenario>.json

An accuracy log of 31 GB is published as its first and last 4,096 characters, so whether every sample was answered, which
pictures were answered, and the digest of the whole log can only be told before. `--check` compares the tree with this.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.submission_limits import ELISION, VIEWABLE
from ireeperf import document
from ireeperf.errors import ConfigError, RunError

FOLDER = Path("documentation") / "evidence"
LISTED = 20  # sample indices that are spelled out
# LoadGen 5.1.1, logging.cc: one answer a line, hexadecimal digits in capitals
HEAD = re.compile(rb'\{ "seq_id" : \d+, "qsl_idx" : (\d+), "data" : "')
TAIL = re.compile(rb'" \},?\n?$')
DIGITS = b"0123456789ABCDEF"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvidence:
    """One untruncated mlperf_log_accuracy.json."""

    sha256: str
    bytes: int
    entries: int  # answers
    distinct: int  # sample indices among them
    absent: tuple[int, ...]  # the first indices without an answer
    repeated: tuple[int, ...]  # the first indices with more than one
    answer_bytes: int  # of every answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One scenario of one system."""

    schema_version: ClassVar[int] = 1
    model: str  # folder name in the tree
    scenario: str
    samples: int  # of the sample set
    image_shape: tuple[int, int, int]
    devices: tuple[str, ...]  # of the performance run
    manifest_key: str
    sample_set_digest: str
    runs: dict[str, str]  # mode -> name of the run folder
    accuracy: LogEvidence
    test01: LogEvidence | None  # None: no TEST01 run
    pictures: dict[str, str]  # sample index -> sha256 of the answered RGB bytes
    captions: dict[str, str]  # sample index -> caption of that picture

    @property
    def is_null(self) -> bool:
        """Whether null devices answered."""
        return any(uri.startswith("null:") for uri in self.devices)


def path_of(submitter: Path, system: str, model: str, scenario: str) -> Path:
    """Where the evidence of a scenario lies; `submitter` is <tree>/<division>/<submitter>."""
    return submitter / FOLDER / system / model / f"{scenario}.json"


def read(path: Path) -> Evidence:
    """ConfigError when absent or malformed."""
    return document.read(Evidence, path)


def answer(line: bytes) -> tuple[int, bytes] | None:
    """Sample index and hexadecimal digits of a log's line, None when it is no answer; without a match over 6 MB of digits."""
    head, tail = HEAD.match(line), TAIL.search(line, max(0, len(line) - 8))
    if head is None or tail is None:
        return None
    digits = line[head.end():tail.start()]
    return None if digits.translate(None, DIGITS) else (int(head[1]), digits)


def scan(path: Path, samples: int, shown: Collection[int] = ()) -> tuple[LogEvidence, dict[str, str]]:
    """Evidence of an untruncated log over `samples` samples, and the digests of the pictures `shown`.

    Reads line by line: one image is in memory at a time. RunError when the log is not LoadGen's whole one.
    """
    state, seen, pictures = hashlib.sha256(), bytearray(samples), {}
    entries, size, lengths, repeated, last = 0, 0, set(), [], b""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                state.update(line)
                size += len(line)
                last = line if line.strip() else last
                if line.strip() in (b"[", b"]", b""):
                    continue
                found = answer(line)
                if found is None or found[0] >= samples:
                    raise RunError(f"{path}:{number} is no answer to one of {samples} samples: {line[:60]!r}; give the "
                                   "folder "
                                   "of a whole run, with the log as LoadGen wrote it")
                index, data = found
                entries += 1
                lengths.add(len(data))
                if seen[index]:
                    repeated.append(index)
                elif index in shown:
                    pictures[str(index)] = hashlib.sha256(bytes.fromhex(data.decode())).hexdigest()
                seen[index] = 1
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; the accuracy log of a run is needed whole") from error
    if last.strip() != b"]" or len(lengths) != 1:
        raise RunError(f"{path} has {entries} answers of {sorted(lengths)} digits and ends with {last[-20:]!r}; a whole log "
                       "has "
                       "answers of one length and ends with ']': repeat the run")
    absent = [index for index, mark in enumerate(seen) if not mark]
    return LogEvidence(sha256=state.hexdigest(), bytes=size, entries=entries, distinct=samples - len(absent),
                       absent=tuple(absent[:LISTED]), repeated=tuple(repeated[:LISTED]),
                       answer_bytes=lengths.pop() // 2), pictures


def truncate(source: Path, target: Path) -> None:
    """Write `source` as MLCommons' truncate_accuracy_log.py leaves it: both ends, with an elision between."""
    size = source.stat().st_size
    try:
        with source.open("rb") as file:
            if size < VIEWABLE:
                content = file.read()
            else:
                head = file.read(VIEWABLE)
                file.seek(size - VIEWABLE)
                content = head + ELISION.encode() + file.read()
        target.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}; free the disk") from error

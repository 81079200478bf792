"""LoadGen's mlperf_log_accuracy.json, one answer at a time: a run of 5,000 SDXL images has a log of 31 GB.

LoadGen writes a JSON list with one object a line: `{ "seq_id" : 0, "qsl_idx" : 2, "data" : "02FF…" },` (upper-case hex).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ireeperf.errors import ScoreError

NAME = "mlperf_log_accuracy.json"
FRAME_BYTES = 4096  # of a line, for everything but the hex data


class AccuracyLog:
    """Iterates (sample index, answer) in log order; holds one line at a time.

    A sample index that comes again is skipped, the first answer counts, as in MLCommons' accuracy script. After the last
    answer `sha256` is the digest of the whole file and `duplicates` the number of lines skipped.
    Raises ScoreError when the log is absent, garbled, cut short, truncated for submission, or does not hold every
    sample from 0 to `samples` - 1 (unless it is `sampled`).

    `token_bytes`: answers are of tokens, at least one of this size each and `answer_bytes` at most; else each is of `answer_bytes`.
    """

    def __init__(self, path: Path, *, samples: int, answer_bytes: int, sampled: bool = False, token_bytes: int | None = None) -> None:
        self.path, self.samples, self.answer_bytes, self.token_bytes = path, samples, answer_bytes, token_bytes
        self.sampled = sampled  # of a TEST01 run: LoadGen logs about 128 answers only
        self.duplicates = 0
        self.sha256 = ""

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        state, seen = hashlib.sha256(), bytearray(self.samples)
        self.duplicates, self.sha256 = 0, ""
        try:
            with self.path.open("rb") as file:
                for number, line in self._lines(file, state):
                    index, data = self._answer(number, line)
                    if seen[index]:
                        self.duplicates += 1
                    else:
                        seen[index] = 1
                        yield index, data
        except OSError as error:
            raise ScoreError(f"cannot read {self.path}: {error.strerror}; give the folder of an accuracy run") from error
        if (absent := seen.count(0)) and not self.sampled:
            raise ScoreError(f"{self.path} lacks {absent} of {self.samples} samples, first index {seen.index(0)}; "
                             "a score needs each of them: repeat the accuracy run")
        self.sha256 = state.hexdigest()

    def _lines(self, file: BinaryIO, state: hashlib._Hash) -> Iterator[tuple[int, bytes]]:
        """Lines that hold an answer, with their number; checks the brackets around them."""
        limit = 2 * self.answer_bytes + FRAME_BYTES
        number, closed = 0, False
        while line := file.readline(limit):
            number += 1
            state.update(line)
            text = line.strip()
            if number == 1:
                if text != b"[":
                    raise self._garbled(number, line, "the log does not open with '['")
            elif closed and text:
                raise self._garbled(number, line, "something follows the closing ']'")
            elif text == b"]":
                closed = True
            elif len(line) == limit:
                raise self._garbled(number, line, f"longer than an answer of {self.answer_bytes} bytes can be")
            elif text:
                yield number, text
        if not closed:
            raise ScoreError(f"{self.path} ends after {number} lines without ']': the run was cut short or the disk was full; "
                             "repeat the accuracy run")

    def _answer(self, number: int, line: bytes) -> tuple[int, bytes]:
        try:
            entry = json.loads(line.removesuffix(b","))
            index, data = entry["qsl_idx"], bytes.fromhex(entry["data"])
        except (ValueError, KeyError, TypeError) as error:
            hint = "; it was truncated for submission: score the log that the truncation backed up" if line == b"..." else ""
            raise self._garbled(number, line, f"not an answer ({error}){hint}") from error
        if type(index) is not int or not 0 <= index < self.samples:
            raise self._garbled(number, line, f"qsl_idx {index!r} is not in the sample set of {self.samples}")
        if self.token_bytes is not None:
            if not 0 < len(data) <= self.answer_bytes or len(data) % self.token_bytes:
                raise self._garbled(number, line, f"the answer has {len(data)} bytes, not 1 to {self.answer_bytes // self.token_bytes} tokens of "
                                    f"{self.token_bytes}")
        elif len(data) != self.answer_bytes:
            raise self._garbled(number, line, f"the answer has {len(data)} bytes, one image has {self.answer_bytes}")
        return index, data

    def _garbled(self, number: int, line: bytes, what: str) -> ScoreError:
        return ScoreError(f"{self.path}:{number}: {what}: {line[:60].decode(errors='replace')!r}")

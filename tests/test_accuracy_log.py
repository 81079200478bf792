"""eval.accuracy_log: python -m pytest tests/test_accuracy_log.py"""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from eval.accuracy_log import AccuracyLog
from ireeperf.errors import ScoreError
from tests import scorable_run

# printed by LoadGen 5.1.1 (Offline, AccuracyOnly, three samples of four bytes)
LOADGEN = """[
{ "seq_id" : 0, "qsl_idx" : 0, "data" : "00000000" },
{ "seq_id" : 1, "qsl_idx" : 2, "data" : "020A02FF" },
{ "seq_id" : 2, "qsl_idx" : 1, "data" : "01010101" }
]
"""


def read(path: Path, text: str, samples: int = 3, answer_bytes: int = 4) -> AccuracyLog:
    path.write_text(text)
    return AccuracyLog(path, samples=samples, answer_bytes=answer_bytes)


def test_reads_what_loadgen_prints(tmp_path: Path) -> None:
    log = read(tmp_path / "log.json", LOADGEN)
    assert list(log) == [(0, bytes(4)), (2, b"\x02\x0a\x02\xff"), (1, b"\x01" * 4)]
    assert log.sha256 == scorable_run.sha256(tmp_path / "log.json") and log.duplicates == 0


def test_the_first_of_two_answers_counts(tmp_path: Path) -> None:
    log = read(tmp_path / "log.json", scorable_run.log_text([(1, b"aaaa"), (0, b"bbbb"), (1, b"cccc"), (2, b"dddd")]))
    assert list(log) == [(1, b"aaaa"), (0, b"bbbb"), (2, b"dddd")]
    assert log.duplicates == 1


@pytest.mark.parametrize("change, message", [
    (lambda t: "", "without ']'"),
    (lambda t: "[\n]\n", "lacks 3 of 3 samples, first index 0"),
    (lambda t: t[:-60], "not an answer|without ']'"),
    (lambda t: t.removesuffix("]\n"), "without ']'"),
    (lambda t: t.replace('"qsl_idx" : 1', '"qsl_idx" : 2'), "lacks 1 of 3 samples, first index 1"),
    (lambda t: t.replace('"qsl_idx" : 1', '"qsl_idx" : 3'), "qsl_idx 3 is not in the sample set of 3"),
    (lambda t: t.replace('"qsl_idx" : 1', '"qsl_idx" : -1'), "qsl_idx -1 is not"),
    (lambda t: t.replace('"qsl_idx" : 1', '"qsl_idx" : true'), "qsl_idx True is not"),
    (lambda t: t.replace("01010101", "0101010"), "not an answer"),
    (lambda t: t.replace("01010101", "010101"), "the answer has 3 bytes, one image has 4"),
    (lambda t: t.replace("01010101", "010101ZZ"), "not an answer"),
    (lambda t: t.replace("01010101", "01" * 3000), "longer than an answer"),
    (lambda t: t[:70] + "\n\n...\n\n" + t[90:], "not an answer"),
    (lambda t: t.replace("\n]", "\n\n...\n\n]"), "truncated for submission"),
    (lambda t: t + '{ "seq_id" : 0 }\n', "follows the closing"),
    (lambda t: t[2:], "does not open with"),
    (lambda t: t.replace("data", "date"), "not an answer"),
])
def test_garbled_logs_are_refused(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ScoreError, match=message):
        list(read(tmp_path / "log.json", change(LOADGEN)))


def test_absent_log(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="No such file"):
        list(AccuracyLog(tmp_path / "none.json", samples=1, answer_bytes=1))


def test_memory_is_that_of_one_answer(tmp_path: Path) -> None:
    answer = bytes(2 * 2**20)
    with (tmp_path / "log.json").open("w") as file:  # 256 MB of hex; held at once it would be as much
        file.write("[\n")
        for index in range(64):
            file.write(f'{{ "seq_id" : {index}, "qsl_idx" : {index}, "data" : "{answer.hex()}" }}{"," if index < 63 else ""}\n')
        file.write("]\n")
    tracemalloc.start()
    for _ in AccuracyLog(tmp_path / "log.json", samples=64, answer_bytes=len(answer)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2 * len(answer), f"peak {peak / 2**20:.0f} MiB"

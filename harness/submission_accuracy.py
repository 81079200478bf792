"""Check the accuracy folder of a scenario: score, truncated log, hash, coverage and the ten pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from harness import submission_evidence, submission_png
from harness import submission_limits as limits
from harness.compliance import ACCURACY_LOG, DETAIL, SUMMARY
from harness.submission_evidence import Evidence, LogEvidence
from harness.submission_files import check_folders, check_list
from harness.submission_finding import Finding, text
from harness.submission_runs import ACCURACY_TXT, CAPTIONS
from ireeperf.bounds import SDXL_MLPERF
from ireeperf.errors import ConfigError

HASH = re.compile(r"^hash=(\w+)$", re.MULTILINE)
FILES = {SUMMARY, DETAIL, ACCURACY_LOG, ACCURACY_TXT}
TRACE = frozenset({"mlperf_log_trace.json"})  # LoadGen leaves an empty one


def check(folder: Path, where: str, division: str, evidence: Evidence) -> Iterator[Finding]:
    """results/<...>/accuracy, without LoadGen's detail and summary logs."""
    yield from check_list(where, folder, FILES, TRACE)
    yield from check_folders(where, folder, {"images"})
    if (folder / ACCURACY_TXT).is_file():
        yield from _scores(text(folder / ACCURACY_TXT), f"{where}/{ACCURACY_TXT}", division)
        yield from check_hash(folder / ACCURACY_TXT, f"{where}/{ACCURACY_TXT}", evidence.accuracy)
    if (folder / ACCURACY_LOG).is_file():
        yield from check_truncated(folder / ACCURACY_LOG, f"{where}/{ACCURACY_LOG}", evidence.accuracy)
    yield from _coverage(f"{where}/{ACCURACY_LOG}", evidence)
    if (folder / "images").is_dir():
        yield from _pictures(folder / "images", f"{where}/images", evidence)


def score(content: str, metric: str) -> float | None:
    """A metric of accuracy.txt; with a sign, which the official pattern lacks: FID of the originals can round to -1e-5."""
    found = re.search(rf"'{metric}':\s+'?(-?[\d.]+(?:e-?\d+)?)", content)
    return float(found[1]) if found else None


def check_hash(path: Path, where: str, log: LogEvidence) -> Iterator[Finding]:
    """accuracy.txt ends with the digest of the whole log."""
    found = HASH.findall(text(path))
    if found != [log.sha256]:
        yield Finding(code="hash", file=where, found=f"hash {found}", wanted=f"hash={log.sha256}, of the untruncated log")


def check_truncated(path: Path, where: str, log: LogEvidence) -> Iterator[Finding]:
    """The log keeps both ends as truncate_accuracy_log.py leaves them, and they are answers of the size that was drawn."""
    size = path.stat().st_size
    if size > limits.LOG_BYTES:
        yield Finding(code="truncation", file=where, found=f"{size} bytes", wanted=f"at most {limits.LOG_BYTES}: truncated")
        return
    content = text(path)
    head, elided, tail = content.partition(limits.ELISION)
    if log.bytes >= limits.VIEWABLE and (not elided or len(head) != limits.VIEWABLE or len(tail) != limits.VIEWABLE):
        yield Finding(code="truncation", file=where, found=f"{len(head)} + {len(tail)} characters around the elision",
                      wanted=f"{limits.VIEWABLE} + {limits.VIEWABLE}")
        return
    first = submission_evidence.answer(head.split("\n", 2)[1].encode()) if head.count("\n") > 1 else None
    digits = len(first[1]) if first else 2 * log.answer_bytes  # a picture of 1024x1024 is longer than what is kept
    start = re.match(r'\[\n\{ "seq_id" : \d+, "qsl_idx" : \d+, "data" : "[0-9A-F]+', head)
    if start is None or digits != 2 * log.answer_bytes or not (tail or head).rstrip().endswith("}\n]"):
        yield Finding(code="truncation", file=where, found=f"{head[:60]!r} to {tail[-12:]!r}",
                      wanted=f"LoadGen's log, from its first answer of {log.answer_bytes} bytes to its last")


def _scores(content: str, where: str, division: str) -> Iterator[Finding]:
    """FID and CLIP score are there, and in the closed division inside the two-sided window."""
    for bound in SDXL_MLPERF.bounds:
        found = score(content, bound.metric)
        if found is None:
            yield Finding(code="score", file=where, found=f"no {bound.metric}",
                          wanted="the line that the accuracy script prints")
        elif division == "closed" and not bound.accepts(found):
            yield Finding(code="score", file=where, found=f"{bound.metric} {found:.5f}",
                          wanted=f"{bound.lower:.5f} to {bound.upper:.5f}")


def _coverage(where: str, evidence: Evidence) -> Iterator[Finding]:
    """Every sample was answered exactly once; the official checker only reads the sample set's size."""
    log = evidence.accuracy
    if log.entries != evidence.samples or log.distinct != evidence.samples or log.absent or log.repeated:
        yield Finding(code="coverage", file=where, wanted=f"{evidence.samples} samples, each once",
                      found=f"{log.entries} answers to {log.distinct} samples; absent {list(log.absent)}, repeated "
                            f"{list(log.repeated)}")
    if evidence.samples < limits.SAMPLES:
        yield Finding(code="sample_set", file=where, found=f"a sample set of {evidence.samples}",
                      wanted=f"all {limits.SAMPLES} samples")
    if log.answer_bytes != math.prod(evidence.image_shape):
        yield Finding(code="picture", file=where, found=f"answers of {log.answer_bytes} bytes",
                      wanted=f"{evidence.image_shape} uint8")


def _pictures(folder: Path, where: str, evidence: Evidence) -> Iterator[Finding]:
    """Ten PNGs, each the picture that the log held, and their captions."""
    official = evidence.model == limits.BENCHMARK and evidence.samples >= limits.SAMPLES
    indices = [str(index) for index in limits.IMAGES] if official else list(evidence.pictures)
    yield from check_list(where, folder, {CAPTIONS, *(f"{index}.png" for index in indices)})
    for index in indices:
        path, file = folder / f"{index}.png", f"{where}/{index}.png"
        if not path.is_file():
            continue
        try:
            pixels = submission_png.read(path)
        except ConfigError as error:
            yield Finding(code="picture", file=file, found=str(error).removeprefix(f"{path} "), wanted="an 8-bit RGB PNG")
            continue
        digest = submission_png.digest(pixels)
        if pixels.shape != evidence.image_shape:
            yield Finding(code="picture", file=file, found=f"shape {pixels.shape}", wanted=f"{evidence.image_shape}")
        elif digest != evidence.pictures.get(index):
            yield Finding(code="picture", file=file, found=f"pixels with sha256 {digest[:12]}",
                          wanted=f"{str(evidence.pictures.get(index))[:12]}: sample {index} of the accuracy log")
    if (folder / CAPTIONS).is_file():
        rows = dict(line.split("  ", 1) for line in text(folder / CAPTIONS).splitlines() if "  " in line)
        for index in indices:
            if rows.get(index) != evidence.captions.get(index):
                yield Finding(code="captions", file=f"{where}/{CAPTIONS}", found=f"{index}: {rows.get(index)!r}",
                              wanted=f"{evidence.captions.get(index)!r}")

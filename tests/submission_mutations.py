"""What can be wrong with a submission tree: changes to the accepted closed fixture, each with the finding that must name it.

`escapes`: MLCommons' checker accepts the changed tree.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from harness import submission_evidence
from harness.compliance import ACCURACY_LOG, DETAIL, SUMMARY
from harness.run_result import LOADGEN
from harness.submission_limits import BENCHMARK
from ireeperf import document
from tests import closed_fixture
from tests.closed_fixture import FID, SUBMITTER, SYSTEM
from tests.record_closed_fixture import SAMPLES

PERFORMANCE, ACCURACY, IMAGES = Path("performance/run_1"), Path("accuracy"), Path("accuracy/images")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change."""

    name: str
    code: str  # of the finding
    change: Callable[[Path], None]  # is given the tree
    escapes: bool = False


def offline(tree: Path) -> Path:
    return closed_fixture.results(tree)


def server(tree: Path) -> Path:
    return closed_fixture.results(tree, "Server")


def compliance(tree: Path, test: str, scenario: str = "Offline") -> Path:
    return tree / SUBMITTER / "compliance" / SYSTEM / BENCHMARK / scenario / test


def measurements(tree: Path) -> Path:
    return tree / SUBMITTER / "measurements" / SYSTEM / BENCHMARK / "Offline"


def system(tree: Path) -> Path:
    return tree / SUBMITTER / "systems" / f"{SYSTEM}.json"


def edit(path: Path, old: str, new: str) -> None:
    """Replace text; the mutation must change something."""
    content = path.read_text()
    assert old in content and old != new, (path, old)
    path.write_text(content.replace(old, new))


def edit_json(path: Path, **values: object) -> None:
    """Set keys; None removes one."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def log_value(folder: Path, key: str, value: object) -> None:
    """Another value for a key of a detail log."""
    content = (folder / DETAIL).read_text()
    changed, count = re.subn(rf'("key": "{re.escape(key)}", "value": )("[^"]*"|[^,]+)', lambda found: found[1] + json.dumps(value), content)
    assert count and changed != content, key
    (folder / DETAIL).write_text(changed)


def score(folder: Path, key: str, name: str, factor: float) -> None:
    """A better score, in both logs."""
    found = re.search(rf'"key": "{key}", "value": ([\d.]+)', (folder / DETAIL).read_text())
    assert found
    log_value(folder, key, round(float(found[1]) * factor, 5))
    content = (folder / SUMMARY).read_text()
    (folder / SUMMARY).write_text(re.sub(rf"^({name}\s*:) [\d.]+$", rf"\g<1> {float(found[1]) * factor:.6g}", content, flags=re.MULTILINE))


def error_line(folder: Path) -> None:
    """LoadGen logged an error."""
    lines = (folder / DETAIL).read_text().splitlines()
    lines.insert(3, re.sub('"is_error": false', '"is_error": true', lines[3]))
    (folder / DETAIL).write_text("\n".join(lines) + "\n")


def answer_lines(tree: Path, change: Callable[[list[str]], None]) -> None:
    """The tree as it would be if the accuracy run's whole log had been another: log, hash and evidence."""
    whole = closed_fixture.shared()[1] / "offline-accuracy" / LOADGEN / ACCURACY_LOG
    lines = whole.read_text().splitlines(keepends=True)
    change(lines)
    other = tree.parent / "other.json"
    other.write_text("".join(lines))
    path = submission_evidence.path_of(tree / SUBMITTER, SYSTEM, BENCHMARK, "Offline")
    evidence, old = submission_evidence.read(path), submission_evidence.read(path).accuracy
    new, _ = submission_evidence.scan(other, SAMPLES)
    document.write(replace(evidence, accuracy=new), path)
    submission_evidence.truncate(other, offline(tree) / ACCURACY / ACCURACY_LOG)
    edit(offline(tree) / ACCURACY / "accuracy.txt", old.sha256, new.sha256)
    said = compliance(tree, "TEST01") / "verify_accuracy.txt"
    said.write_text(said.read_text().replace(f"num_acc_log_entries = {old.entries}", f"num_acc_log_entries = {new.entries}"))


def repeat_one(lines: list[str]) -> None:
    """Sample 1 of the log answers in the place of sample 2 as well."""
    lines[2502] = re.sub(r'"qsl_idx" : \d+', re.search(r'"qsl_idx" : \d+', lines[2501])[0], lines[2502])  # type: ignore[index]


def write_png(path: Path, side: int) -> None:
    Image.new("RGB", (side, side), (1, 2, 3)).save(path)


def big(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(51 * 2**20)


def whole_log(tree: Path, run: str, target: Path) -> None:
    shutil.copyfile(closed_fixture.shared()[1] / run / LOADGEN / ACCURACY_LOG, target / ACCURACY_LOG)


def m(name: str, code: str, change: Callable[[Path], object], escapes: bool = False) -> Mutation:
    """Most changes are one expression, whose value is of no use."""
    return Mutation(name, code, lambda tree: [change(tree), None][1], escapes)


ESCAPES = (
    m("captions.txt missing", "missing", lambda t: (offline(t) / IMAGES / "captions.txt").unlink(), True),
    m("a caption changed", "captions", lambda t: edit(offline(t) / IMAGES / "captions.txt", "sample 2747", "sample 2748"), True),
    m("4,999 of 5,000 samples answered", "coverage", lambda t: answer_lines(t, lambda lines: lines.pop(2500)), True),
    m("a sample answered twice, another never", "coverage", lambda t: answer_lines(t, repeat_one), True),
    m("sample set of 4,999 in the accuracy run", "sample_set", lambda t: log_value(offline(t) / ACCURACY, "qsl_reported_total_count", 4999), True),
    m("Offline samples/s 1 % up", "samples_per_second",
      lambda t: score(offline(t) / PERFORMANCE, "result_samples_per_second", "Samples per second", 1.01), True),
    m("Server samples/s 1 % up", "samples_per_second",
      lambda t: score(server(t) / PERFORMANCE, "result_completed_samples_per_sec", "Completed samples per second", 1.01), True),
    m("latencies that do not rise", "percentiles", lambda t: log_value(server(t) / PERFORMANCE, "result_50.00_percentile_latency_ns", 1), True),
    m("a picture that is no PNG", "picture", lambda t: (offline(t) / IMAGES / "2747.png").write_text("picture"), True),
    m("a picture cut off", "picture", lambda t: big_cut(offline(t) / IMAGES / "2235.png"), True),
    m("a picture of another sample", "picture",
      lambda t: shutil.copyfile(offline(t) / IMAGES / "2747.png", offline(t) / IMAGES / "1515.png"), True),
    m("a picture of another size", "picture", lambda t: write_png(offline(t) / IMAGES / "1515.png", 8), True),
    m("an eleventh picture", "stray_file", lambda t: write_png(offline(t) / IMAGES / "7.png", 16), True),
    m("another hash", "hash", lambda t: edit(offline(t) / ACCURACY / "accuracy.txt", "hash=", "hash=0"), True),
    m("TEST01's hash missing", "hash", lambda t: (compliance(t, "TEST01") / ACCURACY / "accuracy.txt").write_text("\n"), True),
    m("another log, truncated", "truncation", lambda t: (offline(t) / ACCURACY / ACCURACY_LOG).write_text("[\n]\n"), True),
    m("TEST01's log whole", "truncation", lambda t: whole_log(t, "offline-TEST01", compliance(t, "TEST01") / ACCURACY), True),
    m("accuracy log of a performance run", "effective_test_mode",
      lambda t: log_value(offline(t) / ACCURACY, "effective_test_mode", "PerformanceOnly"), True),
    m("accuracy run of the other scenario", "effective_scenario", lambda t: shutil.copyfile(server(t) / ACCURACY / DETAIL,
                                                                                           offline(t) / ACCURACY / DETAIL), True),
    m("the performance run handed in as TEST04", "effective_performance_issue_same", lambda t: shutil.copytree(
        offline(t) / PERFORMANCE, compliance(t, "TEST04") / PERFORMANCE, dirs_exist_ok=True), True),
    m("one run handed in twice", "copied_run", lambda t: shutil.copytree(
        compliance(t, "TEST01") / PERFORMANCE, compliance(t, "TEST04") / PERFORMANCE, dirs_exist_ok=True), True),
    m("TEST01 without sampled answers", "effective_accuracy_log_sampling_target",
      lambda t: log_value(compliance(t, "TEST01") / PERFORMANCE, "effective_accuracy_log_sampling_target", 0), True),
    m("early stopping not met", "early_stopping_met", lambda t: log_value(server(t) / PERFORMANCE, "early_stopping_met", False), True),
    m("90 % of the latencies within the limit", "percentile",
      lambda t: log_value(server(t) / PERFORMANCE, "effective_target_latency_percentile", 0.9), True),
    m("TEST04 under another latency limit", "target_latency",
      lambda t: log_value(compliance(t, "TEST04", "Server") / PERFORMANCE, "effective_target_latency_ns", 10**10), True),
    m("a verdict of other runs", "verdict", lambda t: edit(compliance(t, "TEST01") / "verify_performance.txt", "Reference score = ",
                                                           "Reference score = 1"), True),
    m("a verdict over fewer answers", "verdict", lambda t: edit(compliance(t, "TEST01") / "verify_accuracy.txt",
                                                                "num_perf_log_entries = 1", "num_perf_log_entries = "), True),
    m("user.conf of another run", "user_conf", lambda t: edit(measurements(t) / "user.conf", "5.5", "55"), True),
    m("calibration.md empty", "calibration", lambda t: (t / SUBMITTER / "documentation/calibration.md").write_text(""), True),
    m("a sixth key in the measurements", "measurements", lambda t: edit_json(measurements(t) / f"{SYSTEM}_ireeperf_Offline.json", x="y"), True),
    m("an unknown key in the system", "system", lambda t: edit_json(system(t), accelerator="MI325X"), True),
    m("summary empty", "summary", lambda t: (offline(t) / PERFORMANCE / SUMMARY).write_text(""), True),
    m("summary of another result", "summary", lambda t: edit(offline(t) / PERFORMANCE / SUMMARY, "Result is : VALID", "Result is : INVALID"), True),
    m("a division that does not exist", "division", lambda t: shutil.copytree(t / "closed", t / "close"), True),
    m("evidence missing", "evidence", lambda t: shutil.rmtree(t / SUBMITTER / "documentation/evidence"), True),
    m("LoadGen error that num_errors does not count", "loadgen_errors", lambda t: error_line(offline(t) / PERFORMANCE), True),
    m("LoadGen of another release", "loadgen_version", lambda t: log_value(offline(t) / PERFORMANCE, "loadgen_version", "4.1 @ 0"), True),
)
CAUGHT = (
    m("a picture missing", "missing", lambda t: (offline(t) / IMAGES / "2747.png").unlink()),
    m("hash missing", "hash", lambda t: edit(offline(t) / ACCURACY / "accuracy.txt", "hash=", "# ")),
    m("log whole", "truncation", lambda t: whole_log(t, "offline-accuracy", offline(t) / ACCURACY)),
    m("accuracy.txt missing", "missing", lambda t: (server(t) / ACCURACY / "accuracy.txt").unlink()),
    m("FID too good", "score", lambda t: edit(offline(t) / ACCURACY / "accuracy.txt", str(FID), "22.9")),
    m("CLIP score missing", "score", lambda t: edit(offline(t) / ACCURACY / "accuracy.txt", "CLIP_SCORE", "CLIP")),
    m("CLIP score too low", "score", lambda t: edit(server(t) / ACCURACY / "accuracy.txt", str(closed_fixture.CLIP), "31.5")),
    m("seed of another round", "effective_qsl_rng_seed", lambda t: log_value(offline(t) / PERFORMANCE, "effective_qsl_rng_seed", 1)),
    m("1,024 samples in memory", "effective_performance_sample_count",
      lambda t: log_value(offline(t) / PERFORMANCE, "effective_performance_sample_count", 1024)),
    m("one minute", "effective_min_duration_ms", lambda t: log_value(server(t) / PERFORMANCE, "effective_min_duration_ms", 60000)),
    m("4,999 samples in the query", "effective_samples_per_query",
      lambda t: log_value(offline(t) / PERFORMANCE, "effective_samples_per_query", 4999)),
    m("500 samples in TEST04's query", "effective_samples_per_query",
      lambda t: log_value(compliance(t, "TEST04") / PERFORMANCE, "effective_samples_per_query", 500)),
    m("INVALID", "result_validity", lambda t: log_value(offline(t) / PERFORMANCE, "result_validity", "INVALID")),
    m("LoadGen error in a performance run", "loadgen_errors", lambda t: [error_line(offline(t) / PERFORMANCE),
                                                                       log_value(offline(t) / PERFORMANCE, "num_errors", 1)]),
    m("LoadGen error in an accuracy run", "loadgen_errors", lambda t: error_line(offline(t) / ACCURACY)),
    m("30 s of latency allowed", "target_latency", lambda t: log_value(server(t) / PERFORMANCE, "effective_target_latency_ns", 3 * 10**10)),
    m("a log line cut off", "log", lambda t: edit(offline(t) / PERFORMANCE / DETAIL, '"metadata": {', '"metadata')),
    m("TEST01 fails on performance", "verdict", lambda t: edit(compliance(t, "TEST01") / "verify_performance.txt", "TEST PASS", "TEST FAIL")),
    m("TEST01 differs, no part III", "missing", lambda t: edit(compliance(t, "TEST01") / "verify_accuracy.txt", "TEST PASS", "TEST FAIL")),
    m("TEST04 missing", "missing", lambda t: shutil.rmtree(compliance(t, "TEST04"))),
    m("Server missing", "scenario", lambda t: shutil.rmtree(server(t))),
    m("system missing", "system", lambda t: system(t).unlink()),
    m("system without cooling", "system", lambda t: edit_json(system(t), cooling=None)),
    m("0 accelerators as a number", "system", lambda t: edit_json(system(t), accelerators_per_node=0)),
    m("another submitter", "system", lambda t: edit_json(system(t), submitter="Other")),
    m("another division", "system", lambda t: edit_json(system(t), division="open")),
    m("status sold", "system", lambda t: edit_json(system(t), status="sold")),
    m("a system without results", "no_results", lambda t: shutil.copyfile(system(t), system(t).with_name("spare.json"))),
    m("measurements without data type", "measurements",
      lambda t: edit_json(measurements(t) / f"{SYSTEM}_ireeperf_Offline.json", weight_data_types="")),
    m("README.md missing", "measurements", lambda t: (measurements(t) / "README.md").unlink()),
    m("user.conf empty", "measurements", lambda t: (measurements(t) / "user.conf").write_text("")),
    m("no code", "code", lambda t: shutil.rmtree(t / SUBMITTER / "code")),
    m("calibration.md missing", "calibration", lambda t: (t / SUBMITTER / "documentation/calibration.md").unlink()),
    m("a file at the root", "stray_file", lambda t: (t / "notes.txt").write_text("x")),
    m("a file beside the submitter", "stray_file", lambda t: (t / "closed/notes.txt").write_text("x")),
    m("a file among the logs", "stray_file", lambda t: (offline(t) / PERFORMANCE / "notes.txt").write_text("x")),
    m("a name with a space", "name", lambda t: (t / SUBMITTER / "code/read me.md").write_text("x")),
    m("a hidden file", "name", lambda t: (t / SUBMITTER / "code/.notes").write_text("x")),
    m("Python's cache", "name", lambda t: (t / SUBMITTER / "code/__pycache__").mkdir()),
    m("an empty folder", "empty_folder", lambda t: (t / SUBMITTER / "code/empty").mkdir()),
    m("a file of 51 MB", "size", lambda t: big(t / SUBMITTER / "code/weights.bin")),
    m("a broken link", "link", lambda t: (t / SUBMITTER / "code/link").symlink_to("nowhere")),
    m("a model that is no benchmark", "model", lambda t: [path.rename(path.with_name("sdxl")) for path in
                                                          sorted((t / SUBMITTER).glob(f"*/{SYSTEM}/{BENCHMARK}"))]),
)


def big_cut(path: Path) -> None:
    """Half of a file."""
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


MUTATIONS = ESCAPES + CAUGHT

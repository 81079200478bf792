"""Check compliance/: MLCommons' verdicts, the test runs' logs, and that the verdicts are of these logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness import submission_accuracy, submission_logs
from harness import submission_limits as limits
from harness.compliance import ACCURACY_LOG, DETAIL, SUMMARY
from harness.submission_evidence import Evidence
from harness.submission_files import check_folders, check_list
from harness.submission_finding import Finding, text
from harness.submission_logs import Log
from harness.submission_runs import ACCURACY_TXT, PART_3
from ireeperf.errors import ConfigError

VERDICTS = {"TEST01": {"verify_accuracy.txt", "verify_performance.txt"}, "TEST04": {"verify_performance.txt"}}
PRINTED = 1e-5


def check(folder: Path, where: str, performance: Log | None, evidence: Evidence) -> Iterator[Finding]:
    """compliance/<system>/<model>/<scenario>: TEST01 and TEST04 and nothing else."""
    yield from check_folders(where, folder, set(limits.TESTS))
    for test in limits.TESTS:
        if (folder / test).is_dir():
            yield from _check_test(folder / test, f"{where}/{test}", test, performance, evidence)


def _check_test(folder: Path, where: str, test: str, performance: Log | None, evidence: Evidence) -> Iterator[Finding]:
    run = folder / "performance" / "run_1"
    yield from check_list(where, folder, VERDICTS[test])
    yield from check_folders(where, folder, {"performance"} | ({"accuracy"} if test == "TEST01" else set()))
    yield from check_list(f"{where}/performance/run_1", run, {SUMMARY, DETAIL}, frozenset({"mlperf_log_trace.json"}))
    yield from submission_logs.check(run, f"{where}/performance/run_1", evidence.scenario, test)
    if performance is not None and (run / DETAIL).is_file():
        yield from _check_score(folder, where, test, performance, submission_logs.read(run / DETAIL))
    if test == "TEST01" and (folder / "verify_accuracy.txt").is_file():
        yield from _check_answers(folder, where, evidence)


def _check_score(folder: Path, where: str, test: str, performance: Log, log: Log) -> Iterator[Finding]:
    """The test's rule, applied to the logs; and the verdict file speaks of the same figures."""
    file = f"{where}/verify_performance.txt"
    ratio = log.score / performance.score if performance.score > 0 else float("nan")
    low = 1 - limits.TEST_TOLERANCE if test == "TEST01" else 0.0
    # a short run's rate is noise: that a test failed for it says no more than that the run was short
    short = not min(log.seconds, performance.seconds) * 1e3 >= limits.MIN_DURATION_MS
    if not low <= ratio <= 1 + limits.TEST_TOLERANCE:
        yield Finding(code="short_test" if short else "test_score", file=f"{where}/performance/run_1/{DETAIL}",
                      found=f"{log.score:g} samples/s, {ratio:.3f} of the performance run's",
                      wanted=f"{low:g} to {1 + limits.TEST_TOLERANCE:g}")
    # TEST04's script means to compare this and never does: its pattern reads "(ns)" as a group
    key = "effective_target_latency_ns"
    if log.values.get(key) != performance.values.get(key):
        yield Finding(code="target_latency", file=f"{where}/performance/run_1/{DETAIL}",
                      found=f"{key} is {log.values.get(key)}",
                      wanted=f"{performance.values.get(key)}, the performance run's")
    if not (folder / "verify_performance.txt").is_file():
        return
    content = text(folder / "verify_performance.txt")
    if "TEST PASS" not in content:
        yield Finding(code="short_test" if short else "verdict", file=file, found=content.strip()[-80:], wanted="TEST PASS")
    for name, wanted in (("reference", performance.score), ("test", log.score)):
        found = re.search(rf"^{name} score = ([\d.]+)$", content, re.MULTILINE | re.IGNORECASE)
        # TEST04 reads the summary, which has two decimals of a Server score
        slack = max(PRINTED * wanted, submission_logs.ROUNDED if test == "TEST04" else 0)
        if found is None or not abs(float(found[1]) - wanted) <= slack:
            yield Finding(code="verdict", file=file, found=f"{name} score {found[1] if found else None}",
                          wanted=f"{wanted:g}, as in the log")


def _check_answers(folder: Path, where: str, evidence: Evidence) -> Iterator[Finding]:
    """TEST01's accuracy part: verdict, sampled answers, and part III where the answers are not reproducible."""
    file, content = f"{where}/verify_accuracy.txt", text(folder / "verify_accuracy.txt")
    passed = "TEST PASS" in content
    names = {ACCURACY_LOG, ACCURACY_TXT} | (set() if passed else set(PART_3))
    yield from check_list(f"{where}/accuracy", folder / "accuracy", names)
    if evidence.test01 is None:
        yield Finding(code="evidence", file=file, found="a verdict",
                      wanted="evidence of the TEST01 run's log, noted when the tree was built")
        return
    if evidence.test01.answer_bytes != evidence.accuracy.answer_bytes:
        yield Finding(code="picture", file=f"{where}/accuracy/{ACCURACY_LOG}",
                      found=f"answers of {evidence.test01.answer_bytes} bytes",
                      wanted=f"{evidence.accuracy.answer_bytes}, as in the accuracy run")
    counts = {name: int(value) for name, value in re.findall(r"^(num_\w+) = (\d+)$", content, re.MULTILINE)}
    wanted = {"num_acc_log_entries": evidence.accuracy.entries, "num_perf_log_entries": evidence.test01.entries,
              "num_perf_log_data_mismatch": 0 if passed else counts.get("num_perf_log_data_mismatch", 0)}
    for name, value in wanted.items():
        if counts.get(name) != value:
            yield Finding(code="verdict", file=file, found=f"{name} is {counts.get(name)}",
                          wanted=f"{value}, as in the logs")
    for name, check_one in ((ACCURACY_TXT, submission_accuracy.check_hash),
                            (ACCURACY_LOG, submission_accuracy.check_truncated)):
        if (folder / "accuracy" / name).is_file():
            yield from check_one(folder / "accuracy" / name, f"{where}/accuracy/{name}", evidence.test01)
    if not passed:
        yield from _check_part_3(folder / "accuracy", f"{where}/accuracy")


def _check_part_3(folder: Path, where: str) -> Iterator[Finding]:
    """Both scores of the sampled answers, closer than the tolerance."""
    for metric, tolerance in limits.PART_3_TOLERANCE.items():
        try:
            baseline, test = (submission_accuracy.score(text(folder / name), metric) for name in PART_3)
        except ConfigError:
            return  # absent: check_list says so
        if not baseline or not test or abs(1 - baseline / test) > tolerance:
            yield Finding(code="part_3", file=f"{where}/{PART_3[1]}", found=f"{metric} {test}",
                          wanted=f"{baseline} +-{tolerance:.0%}")

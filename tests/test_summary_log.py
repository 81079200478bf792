"""harness.summary_log: result blocks that AMD printed for its five runs, and blocks that LoadGen 5.1.1 printed for runs of
ours.

tests/data/summaries/amd_article.txt states its source. The other three are whole logs of LoadGen 5.1.1 with a thread that
sleeps as system under test: 18.5 ms a sample at 60 samples/s (server_slow), 50 queries (server_few), a query that is drawn
at once (offline_short).
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from harness import summary_log
from ireeperf.bounds import SDXL_MLPERF, Bound
from ireeperf.errors import RunError

DATA = Path(__file__).parent / "data" / "summaries"
ARTICLE = (DATA / "amd_article.txt").read_text()
OFFLINE, SERVER, PRUNED, TUNED, LLAMA2 = summary_log.parse(ARTICLE)
LINES = [summary_log.accuracy(line) for line in ARTICLE.splitlines() if "{" in line]
# mlcommons/inference v5.1.1, submission_checker.py: 99 % (99.9 % for Llama 2's second row) of the reference, tokens within +-10 %
LLAMA31 = (Bound(metric="rougeL", lower=0.99 * 21.6666, upper=math.inf, reference=21.6666, tolerance=0.01),
           Bound(metric="exact_match", lower=0.99 * 90.1335, upper=math.inf, reference=90.1335, tolerance=0.01),
           Bound(metric="tokens_per_sample", lower=0.9 * 684.68, upper=1.1 * 684.68, reference=684.68, tolerance=0.1))
LLAMA2_999 = (*(Bound(metric=name, lower=0.999 * score, upper=math.inf, reference=score, tolerance=0.001)
                for name, score in (("rouge1", 44.4312), ("rouge2", 22.0352), ("rougeL", 28.6162))),
              Bound(metric="tokens_per_sample", lower=265.005, upper=323.895, reference=294.45, tolerance=0.1))


def test_the_figures_of_sdxl_offline():
    assert (OFFLINE.scenario, OFFLINE.valid, OFFLINE.samples_per_second, OFFLINE.errors) == ("Offline", True, 18.5856, False)
    assert OFFLINE.figures["effective_samples_per_query"] == 107400
    assert OFFLINE.figures["result_min_latency_ns"] == 107574744790
    assert OFFLINE.figures["result_99.90_percentile_latency_ns"] == 5769285663572
    assert OFFLINE.figures["effective_min_duration_ms"] == 600000


def test_the_figures_of_sdxl_server():
    assert (SERVER.scenario, SERVER.valid, SERVER.samples_per_second, SERVER.notes) == ("Server", True, 16.20, ("Run successful.",))
    assert SERVER.figures["result_perf_constraints_met"] is True
    assert SERVER.figures["result_scheduled_samples_per_sec"] == 16.66
    limit, p99 = SERVER.figures["effective_target_latency_ns"], SERVER.figures["result_99.00_percentile_latency_ns"]
    assert (limit, p99) == (20 * 10**9, 18010059342) and p99 < limit


def test_the_llm_blocks():
    assert [block.samples_per_second for block in (PRUNED, TUNED, LLAMA2)] == [2.49831, 3.34884, 321.002]
    assert [block.figures["result_tokens_per_second"] for block in (PRUNED, TUNED, LLAMA2)] == [1942.23, 2019.04, 92081]
    assert all(block.valid for block in (PRUNED, TUNED, LLAMA2))


def test_seeds_tell_the_round():
    assert [block.seeds_of for block in (OFFLINE, SERVER, PRUNED, TUNED, LLAMA2)] == ["v5.1", "v5.1", None, None, "v5.0"]


def test_verdicts_fit_their_parameters():
    for block in (OFFLINE, SERVER, PRUNED, TUNED):
        assert summary_log.inconsistencies(block) == ()


def test_one_figure_of_the_article_is_not_possible():
    """Llama 2's mean latency is below its minimum: 2,580,480 latencies of 7,993 s pass 2**64 ns in LoadGen's sum."""
    found, = summary_log.inconsistencies(LLAMA2)
    assert found.startswith("mean latency 844.4 s is outside 7946.7 to 8038.8 s")
    assert found.endswith("LoadGen's sum of latencies passed 2**64 ns, the mean is 7993.0 s")


@pytest.mark.parametrize(("old", "new", "text"), [
    ("Samples per second: 18.5856", "Samples per second: 19.5856", r"19\.5856 samples/s for 5778\.7 s are 113179 samples, "
                                                                   r"107400"),
    ("Min duration satisfied : Yes", "Min duration satisfied : NO", r"VALID with result_min_duration_met not met"),
    ("Result is : VALID", "Result is : INVALID", r"INVALID with every condition met"),
    ("min_duration (ms): 600000", "min_duration (ms): 6000000", r"VALID after 5778\.7 s of 6000 s"),
    ("Max latency (ns)                : 5778682867542", "Max latency (ns) : 5000000000000", r"99\.90_percentile.* is "
                                                                                            r"above result_max"),
    ("No errors encountered", "1 ERROR encountered", "VALID with errors")])
def test_an_edited_offline_block_contradicts_itself(old, new, text):
    edited = summary_log.parse(ARTICLE.replace(old, new, 1))[0]
    assert edited != OFFLINE
    assert any(re.search(text, found) for found in summary_log.inconsistencies(edited)), summary_log.inconsistencies(edited)


@pytest.mark.parametrize(("old", "new", "text"), [
    ("target_latency (ns): 20000000000", "target_latency (ns): 18000000000", "VALID with p99 18.01 s, limit 18 s"),
    ("Completed samples per second    : 16.20", "Completed samples per second    : 17.20", "completed 17.2/s of 16.66/s "
                                                                                           "scheduled")])
def test_an_edited_server_block_contradicts_itself(old, new, text):
    edited = summary_log.parse(ARTICLE.replace(old, new, 1))[1]
    assert text in summary_log.inconsistencies(edited)


@pytest.mark.parametrize(("name", "met", "note"), [
    ("server_slow", {"result_perf_constraints_met": False, "early_stopping_met": False}, "Reduce target QPS to improve "
                                                                                         "latency."),
    ("server_few", {"result_perf_constraints_met": True, "early_stopping_met": False}, "Processed 50 queries."),
    ("offline_short", {"result_min_duration_met": False, "early_stopping_met": True},
     "Increase expected QPS so the loadgen pre-generates a larger (coalesced) query.")])
def test_invalid_runs(name, met, note):
    found = summary_log.read(DATA / f"{name}.txt")
    assert not found.valid and note in found.notes and found.seeds_of == "v5.1"
    assert {key: found.figures[key] for key in met} == met
    assert summary_log.inconsistencies(found) == ()


def test_accuracy_lines_against_their_gates():
    sdxl, pruned, tuned, llama2 = LINES
    assert all(bound.accepts(sdxl[bound.metric]) for bound in SDXL_MLPERF.bounds)
    assert not SDXL_MLPERF.bounds[0].accepts(sdxl["FID_SCORE"] * 1.006), "two-sided: 0.6 % more FID is outside"
    # both are open-division results: pruning misses exact match and writes too much, with fine-tuning all three are outside
    assert [bound.accepts(pruned[bound.metric]) for bound in LLAMA31] == [True, False, False]
    assert [bound.accepts(tuned[bound.metric]) for bound in LLAMA31] == [False, False, False]
    assert all(bound.accepts(llama2[bound.metric]) for bound in LLAMA2_999)


@pytest.mark.parametrize("line", ["", "Accuracy Results:", "{'FID_SCORE': 'nan?'}", "{1: }", "{1, 2}"])
def test_what_is_no_accuracy_line(line):
    with pytest.raises(RunError, match="no scores in"):
        summary_log.accuracy(line)


def test_files_that_are_no_summary(tmp_path):
    with pytest.raises(RunError, match=r"LoadGen left no .*absent\.txt: No such file"):
        summary_log.read(tmp_path / "absent.txt")
    path = tmp_path / summary_log.NAME
    path.write_text("")  # what a crash leaves
    with pytest.raises(RunError, match="holds 0 result blocks"):
        summary_log.read(path)
    path.write_text(ARTICLE)
    with pytest.raises(RunError, match="holds 5 result blocks"):
        summary_log.read(path)
    path.write_text("MLPerf Results Summary\nScenario : Offline\nMode : PerformanceOnly\n")
    with pytest.raises(RunError, match=r"block 1 has no line 'Result is'"):
        summary_log.read(path)

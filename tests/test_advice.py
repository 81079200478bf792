"""harness.advice: what a run that went wrong is told. Figures of LoadGen 5.1.1 (tests/data/summaries) and of simulated queues."""

from __future__ import annotations

import dataclasses
import heapq
import json
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness import advice, run_result, summary_log
from harness.advice import Context
from harness.run_result import Timeline
from ireeperf import document
from ireeperf.errors import ConfigError
from runtime import topology
from runtime.partition import PRESETS
from tests.fake_machine import FakeMachine
from tests.test_run_result import RESULT

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests/data/summaries"
AMD_SERVER = summary_log.parse((DATA / "amd_article.txt").read_text())[1].figures
SDXL = {"devices": 64, "size": 2, "service": 6.86}  # AMD's Server: 64 partitions, pairs, 18.66 samples/s at most


def figures(name: str) -> dict[str, object]:
    return dict(summary_log.read(DATA / f"{name}.txt").figures)


def queue(rate: float, seed: int, *, devices: int, size: int, service: float, limit: float = 20.0, duration: float = 600.0) -> dict[str, float]:
    """Figures of a Server run on devices that draw whatever waits, up to `size`, in `service` seconds +-2 %."""
    chance = random.Random(seed)
    arrivals, at = [], 0.0
    while at < duration:
        at += chance.expovariate(rate)
        arrivals.append(at)
    free, latencies, taken, last = [0.0] * devices, [], 0, 0.0
    while taken < len(arrivals):
        start = max(heapq.heappop(free), arrivals[taken])
        batch = [arrival for arrival in arrivals[taken:taken + size] if arrival <= start]
        end = start + service * (1 + 0.02 * max(-3.0, min(3.0, chance.gauss(0, 1))))
        latencies += [end - arrival for arrival in batch]
        taken, last = taken + len(batch), max(last, end)
        heapq.heappush(free, end)
    latencies.sort()
    return {"result_completed_samples_per_sec": len(latencies) / last, "result_scheduled_samples_per_sec": len(arrivals) / arrivals[-1],
            "result_99.00_percentile_latency_ns": latencies[int(0.99 * len(latencies))] * 1e9, "result_min_latency_ns": latencies[0] * 1e9,
            "effective_target_qps": rate, "effective_target_latency_ns": limit * 1e9}


def p99(run: dict[str, float]) -> float:
    return run["result_99.00_percentile_latency_ns"] / 1e9


@pytest.mark.parametrize("overload", [1.03, 1.3, 2.0])
def test_the_highest_qps_holds_and_is_not_far_below_what_holds(overload):
    run = queue(18.66 * overload, 11, **SDXL)
    assert p99(run) > 20
    qps = advice.highest_qps(run)
    assert qps <= run["result_completed_samples_per_sec"]
    assert all(p99(queue(qps, seed, **SDXL)) <= 20 for seed in range(4)), "the rate that was advised does not hold"
    assert sorted(p99(queue(qps * 1.06, seed, **SDXL)) for seed in range(5))[2] > 20, "6 % more would have held too"


def test_a_machine_that_kept_up_but_was_late_in_the_tail():
    """8 devices of 0.5 s, limit 1 s: the machine completes what arrives, p99 is a little over."""
    device = {"devices": 8, "size": 1, "service": 0.5, "limit": 1.0}
    run = queue(13.1, 11, **device)
    assert p99(run) > 1 and run["result_completed_samples_per_sec"] > advice.BEHIND * run["result_scheduled_samples_per_sec"]
    qps = advice.highest_qps(run)
    assert 0.9 * 13.1 < qps < 13.1
    assert all(p99(queue(qps, seed, **device)) <= 1 for seed in range(4))


def test_a_limit_that_an_idle_machine_misses_has_no_qps():
    run = queue(5, 1, **SDXL) | {"effective_target_latency_ns": 6e9}
    assert advice.highest_qps(run) is None
    first = advice.advise(run | {"result_validity": "INVALID", "result_perf_constraints_met": False}, Context(scenario="Server"))[0]
    assert "no room to wait at any QPS; compile a smaller batch size" in first and "(SPX)" in first


def test_a_limit_with_little_room_is_called_rough():
    run = queue(25, 1, **SDXL) | {"effective_target_latency_ns": 9e9, "result_validity": "INVALID", "result_perf_constraints_met": False}
    assert any(line.startswith("a rough estimate") for line in advice.advise(run, Context(scenario="Server")))
    roomy = run | {"effective_target_latency_ns": 20e9}
    assert not any(line.startswith("a rough estimate") for line in advice.advise(roomy, Context(scenario="Server")))
    assert any(line.startswith("a rough estimate") for line in advice.advise(roomy, Context(scenario="Server", batch_s=14.0)))


def test_amd_s_machine_a_little_slower():
    """AMD's Server block with 4 % longer latencies and less throughput: INVALID, and the advice lies near AMD's own 16.2."""
    slower = AMD_SERVER | {"result_validity": "INVALID", "result_perf_constraints_met": False, "result_completed_samples_per_sec": 16.1,
                           "result_99.00_percentile_latency_ns": int(21.4e9)}
    lines = advice.advise(slower, Context(scenario="Server", model="stable-diffusion-xl", user_conf="runs/r/user.conf", command=(
        ".venv/bin/python", "-m", "harness.server", "--preset", "mi325x_cpx", "--user-conf", "old.conf", "--output", "runs/r")))
    assert lines[0] == "p99 latency is 21.40 s, the limit 20 s; the machine fell behind: it completed 16.10 of 16.66 samples/s that arrived"
    assert lines[1].startswith("the highest QPS this run could have held is about 15.92 (")
    assert lines[2] == "AMD's advice for its 8 x MI325X, where its target is 16.5: 16.2"
    assert lines[3] == ("run again: { cat runs/r/user.conf; printf 'stable-diffusion-xl.Server.target_qps = 15.92\\n'; } > "
                        "user_target_qps_15.92.conf && .venv/bin/python -m harness.server --preset mi325x_cpx --user-conf "
                        "user_target_qps_15.92.conf")


def test_the_command_writes_a_conf_whose_last_line_counts(tmp_path):
    """What the first half of the command does, in a shell."""
    (tmp_path / "user.conf").write_text("m.Server.target_qps = 60\n")
    line = advice.advise(figures("server_slow"), Context(scenario="Server", model="m"))[-1]
    making, _, running = line.removeprefix("run again: ").partition(" && ")
    subprocess.run(["sh", "-c", making], cwd=tmp_path, check=True)
    name = running.split()[-1]
    assert (tmp_path / name).read_text().splitlines()[0] == "m.Server.target_qps = 60"
    key, value = (tmp_path / name).read_text().splitlines()[1].split(" = ")
    assert key == "m.Server.target_qps" and 30 < float(value) < 53.19


def test_too_few_queries_for_early_stopping():
    lines = advice.advise(figures("server_few"), Context(scenario="Server"))
    assert lines[0].endswith("at least 459 queries are needed when none is late")
    assert "min_duration = 25000" in lines[1]  # 459 queries at 20 a second, and 5 % more
    counted = figures("server_few") | {"result_query_count": 50, "result_overlatency_query_count": 1}
    assert "1 of 50 queries were late, which needs 662 queries" in advice.advise(counted, Context(scenario="Server"))[0]


def test_a_lowered_percentile_needs_fewer_queries():
    """A rehearsal may ask for the 90th: its own percentile is judged, and advised on."""
    lowered = figures("server_few") | {"effective_target_latency_percentile": 0.9}
    lines = advice.advise(lowered, Context(scenario="Server"))
    assert lines[0].startswith("p90 is within the limit") and lines[0].endswith("at least 44 queries are needed when none is late")


def test_the_rate_is_advised_for_the_percentile_that_is_judged():
    held = {"result_completed_samples_per_sec": 10.0, "result_scheduled_samples_per_sec": 10.0, "effective_target_latency_ns": 4e9,
            "result_min_latency_ns": 2e9, "result_99.00_percentile_latency_ns": 6e9, "result_90.00_percentile_latency_ns": 5e9}
    tail = {0.99: (math.log(100), 4.0), 0.9: (math.log(10), 3.0)}
    for share, (decay, waited) in tail.items():
        expected = 10 + decay / (2 * waited) - decay / (2 * 2.0)
        assert advice.highest_qps(held | {"effective_target_latency_percentile": share}) == pytest.approx(expected)


def test_an_offline_query_that_was_too_small():
    lines = advice.advise(figures("offline_short"), Context(scenario="Offline", model="m"))
    assert lines[0].startswith("the query was drawn in 0.0 s, min_duration is 5 s: target_qps 10 is below the 1648 "
                               "samples/s")
    assert "m.Offline.target_qps = 1647.9" in lines[1] and "-m harness.offline --user-conf" in lines[1]


def test_other_conditions():
    base = {"result_validity": "INVALID", "effective_min_duration_ms": 600000, "effective_min_query_count": 100}
    server = Context(scenario="Server")
    assert "it ended early; take max_duration" in advice.advise(base | {"result_min_duration_met": False}, server)[0]
    assert "fewer queries than min_query_count 100" in advice.advise(base | {"result_min_queries_met": False}, server)[0]
    assert advice.advise({"result_validity": "VALID", "errors": ["max_duration: reached"]}, server) == (
        "LoadGen logged an error, which voids a run whatever its figures: max_duration: reached",)
    assert advice.advise(AMD_SERVER, server) == ()


def test_an_offline_log_has_no_highest_qps():
    with pytest.raises(ConfigError, match="has no result_completed_samples_per_sec; a Server performance run"):
        advice.highest_qps(figures("offline_short"))


def test_fewer_than_64_devices(tmp_path):
    whole = FakeMachine(tmp_path / "whole").build("CPX")
    assert advice.few_devices(topology.read_machine(whole.root, smi=None), whole.root) == ()
    short = FakeMachine(tmp_path / "short", vga=True).build("CPX")
    lines = advice.few_devices(topology.read_machine(short.root, smi=None), short.root)
    assert lines[0] == "63 of 64 devices show in CPX/NPS1" and "blacklist ast" in lines[1]
    assert PRESETS["mi325x-cpx"].absent == 0


def test_slow_quantization():
    assert advice.slow_quantization(2.0, "CPX") == ()
    lines = advice.slow_quantization(5.0, "CPX")
    assert "--compute-partition SPX" in lines[0] and "amd-shark/sdxl-quant-models" in lines[1]
    assert "on the CPU?" in advice.slow_quantization(5.0, "SPX")[0]


def test_a_run_folder(tmp_path):
    """The command is the run's own, with its other flags; the model's key is that of user.conf."""
    loadgen = figures("server_slow") | {"errors": []}
    result = dataclasses.replace(RESULT, scenario="Server", status="invalid", loadgen=loadgen, lost={"null://3": "TimeoutError: late"}, plan=None)
    document.write(result, tmp_path / run_result.NAME)
    document.write({"command": ["x/harness/server.py", "--device", "null", "--output", str(tmp_path)]}, tmp_path / run_result.SETTINGS)
    document.write(Timeline(batches=()), tmp_path / run_result.TIMELINE)
    (tmp_path / "user.conf").write_text("# limits\n*.Server.min_duration = 1\nsdxl-nano.Server.target_qps = 60\n")
    *lines, lost = advice.of_run(tmp_path)
    assert "-m harness.server --device null --user-conf user_target_qps_" in lines[-1] and "sdxl-nano.Server.target_qps = " in lines[-1]
    assert lost == "null://3 was lost: TimeoutError: late"
    document.write(dataclasses.replace(result, status="failed", cause="DeviceError: "
                                                                      "gone", lost={}), tmp_path / run_result.NAME)
    assert advice.of_run(tmp_path) == ("the run failed: DeviceError: gone",)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "harness.advice", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_reads_a_summary_log():
    done = command(DATA / "server_slow.txt")
    assert done.returncode == 0, done.stderr
    assert "the highest QPS" in done.stdout and len(json.loads(done.stdout.splitlines()[-1])["advice"]) == 3
    bad = command(DATA / "absent.txt")
    assert bad.returncode == 2 and bad.stderr.startswith("error: LoadGen left no ")


def test_the_command_looks_at_the_machine(tmp_path):
    root = FakeMachine(tmp_path, vga=True).build("CPX").root
    assert "card0 (ast) holds a DRM node" in command("--machine", "--root", root).stdout
    assert "on a device of mode CPX: calibrate on whole GPUs" in command("--quantization-hours", 5, "--root", root).stdout
    assert "nothing to change" in command("--quantization-hours", 1, "--root", root).stdout
    assert command().returncode == 2


TOKENS = {"result_completed_tokens_per_second": 228.6, "result_validity": "INVALID", "result_perf_constraints_met": False, "early_stopping_met": False,
          "effective_target_latency_percentile": 0.9, "effective_target_latency_ns": 0, "effective_target_qps": 20,
          "requested_server_ttft_latency": 10**9, "requested_server_tpot_latency": 10**6, "result_first_token_90.00_percentile_latency_ns": 65625316,
          "result_time_per_output_token_90.00_percentile_ns": 2579108}


def test_a_decoder_s_run_is_told_which_limit_it_missed():
    first, each, do = advice.advise(TOKENS, Context(scenario="Server", user_conf="u.conf"))
    assert first == "p90 of the time to the first token is 65.6 ms, the limit 1000 ms" and "2.6 ms, the limit 1 ms" in each
    assert "lower target_qps 20 in u.conf" in do
    met = TOKENS | {"requested_server_tpot_latency": 10**7, "result_perf_constraints_met": True}
    assert "raise min_duration in u.conf" in advice.advise(met, Context(scenario="Server", user_conf="u.conf"))[-1]

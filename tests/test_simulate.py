"""python -m harness.simulate: its command line, its JSON line, its what-ifs; and virtual time beside a real null run."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import against_run, run_result, simulate, what_if
from harness.loadgen_rules import arrivals_ns
from harness.simulate import SimulateSettings, main, parse, run_of
from harness.virtual_run import from_model, machine_model, table
from ireeperf.errors import ConfigError, MissingFileError
from tests import tiny_build

ROOT = Path(__file__).resolve().parents[1]
MODEL = machine_model("mi325x_cpx")
KEYS = {"samples_per_second", "p50", "p90", "p99", "valid", "efficiency"}


def line(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> dict[str, Any]:
    assert main([*argv, "--json"]) == code
    out = capsys.readouterr().out
    assert out.count("\n") == 1  # one line
    found: dict[str, Any] = json.loads(out)
    return found


def test_every_flag_is_read() -> None:
    """A flag that nothing reads would be one of AMD's forty."""
    names = {node.attr for node in ast.walk(ast.parse(Path(simulate.__file__).read_text()))
             if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "settings"}
    assert names == {each.name for each in dataclasses.fields(SimulateSettings)}


def test_flags_reach_the_run() -> None:
    settings = parse(["--scenario", "Server", "--devices", "8", "--batch-sizes", "4,1", "--service-times", "mi325x_cpx_assumed",
                      "--service-factor", "1.5", "--jitter", "0.02", "--spread", "0.03", "--start-stagger", "0.5", "--target-qps", "2",
                      "--target-latency", "30", "--duration", "60", "--samples", "7", "--seed", "9", "--slow", "3", "--slow-devices", "2",
                      "--dead", "1", "--dead-at", "20", "--loss", "hang", "--on-device-loss", "fail"])
    run = run_of(settings, MODEL)
    machine = run.machine
    assert (machine.partitions, machine.slow, machine.lost, machine.loss) == (8, {0: 3.0, 1: 3.0}, {7: 20.0}, "hang")
    assert (machine.service_times.jitter, machine.spread, machine.start_stagger_s, machine.processes) == (0.02, 0.03, 0.5, 1)
    assert machine.service_times.of(1) == pytest.approx(1.5 * table("mi325x_cpx_assumed").of(1))
    assert (run.sizes, run.target_qps, run.target_latency_s, run.duration_s) == ((1, 4), 2.0, 30.0, 60.0)
    assert (run.samples, run.seed, run.on_loss, run.policy) == (7, 9, "fail", "ours")


def test_offline_at_the_record_s_size(capsys: pytest.CaptureFixture[str]) -> None:
    amd = line(capsys, "--policy", "amd")
    assert set(amd) >= KEYS and amd["valid"] and (amd["samples"], amd["padded"]) == (107_400, 24)
    ours = line(capsys)
    assert (ours["samples"], ours["padded"]) == (53 * 64 * 32, 0)  # whole waves
    together = [line(capsys, "--policy", policy, "--start-stagger", "0", "--samples", "21480") for policy in ("amd", "ours")]
    assert together[1]["samples_per_second"] > together[0]["samples_per_second"] * 1.005 and together[1]["efficiency"] > 0.99


@pytest.mark.parametrize(("kind", "policy", "samples"), [("TEST01", "amd", 11_220), ("TEST04", "amd", 11_220), ("TEST01", "ours", 12_288)])
def test_compliance_runs_are_sized_by_loadgen(capsys: pytest.CaptureFixture[str], kind: str, policy: str, samples: int) -> None:
    found = line(capsys, "--scenario", kind, "--policy", policy)
    assert (found["samples"], found["valid"]) == (samples, True)


def test_server_s_tail_is_shorter_with_our_policy(capsys: pytest.CaptureFixture[str]) -> None:
    amd, ours = (line(capsys, "--scenario", "Server", "--policy", policy) for policy in ("amd", "ours"))
    assert amd["valid"] and ours["valid"] and amd["samples"] == ours["samples"] == 9997
    assert ours["p99"] < amd["p99"] - 3 and ours["assumed"]["processes"] == 1 and amd["assumed"]["processes"] == 2


def test_too_many_arrivals_are_invalid_and_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    found = line(capsys, "--scenario", "Server", "--target-qps", "19", code=1)
    assert not found["valid"] and "p99" in found["cause"] and found["late"] > 100


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
@pytest.mark.parametrize("loss", ["raise", "hang"])
def test_a_dead_partition_costs_its_share(capsys: pytest.CaptureFixture[str], scenario: str, loss: str) -> None:
    flags = ("--scenario", scenario, "--devices", "8", "--target-qps", "1.9", "--samples", "2560", "--duration", "1000")
    whole, dead = line(capsys, *flags, code=int(scenario == "Offline")), \
        line(capsys, *flags, "--dead", "1", "--loss", loss, code=int(scenario == "Offline"))
    assert dead["samples"] == whole["samples"] and dead["reissued"] > 0 and list(dead["lost"]) == ["virtual://7.0"]
    if scenario == "Offline":
        kept = dead["samples_per_second"] / whole["samples_per_second"]
        assert 0.7 < kept < 0.95 if loss == "raise" else kept < 0.7  # a hang is one only after 20 service times


def test_the_table_is_followed_by_the_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", "TEST01"]) == 0
    out = capsys.readouterr().out
    assert "simulated, not measured" in out and "VALID" in out and set(json.loads(out.splitlines()[-1])) >= KEYS


@pytest.mark.parametrize(("argv", "error", "words"), [
    (["--preset", "mi999"], MissingFileError, "--preset mi999 is neither a file nor one of mi325x_cpx"),
    (["--service-times", "none"], MissingFileError, "--service-times none is neither"),
    (["--batch-sizes", "8"], ConfigError, "no service time for batch size 8"),
    (["--policy", "amd", "--batch-sizes", "2,32"], ConfigError, "AMD's harness draws one batch size"),
    (["--slow", "0"], ConfigError, "a factor above 0"),
    (["--dead", "60", "--slow", "2", "--slow-devices", "5"], ConfigError, "the machine has 64 partitions"),
    (["--target-qps", "0"], ConfigError, "all must be above 0"),
])
def test_nonsense_is_refused(argv: list[str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        main(argv)


@pytest.mark.parametrize("text", ["", "two", "0,2"])
def test_batch_sizes_are_a_list(text: str) -> None:
    with pytest.raises(SystemExit):
        parse(["--batch-sizes", text])


def test_the_record_is_an_exit_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compare = simulate.record_fit.compare
    monkeypatch.setattr(simulate.record_fit, "compare", lambda model: compare(model, range(1), ("TEST01",)))
    assert line(capsys, "--record")["missed"] == []
    monkeypatch.setattr(simulate.record_fit, "TOLERANCE", {("TEST01", "samples_per_second"): 1e-9})
    assert line(capsys, "--record", code=1)["missed"] == ["TEST01 samples_per_second"]


def test_the_highest_rate_is_between_valid_and_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    run = from_model(MODEL, "Server", "ours")
    small = dataclasses.replace(run, machine=dataclasses.replace(run.machine, partitions=8))
    qps, result = what_if.highest_qps(small)
    assert result.run.target_qps == qps and not result.verdict.invalid and 1.8 < qps < 2.3
    above = dataclasses.replace(small, target_qps=qps + what_if.QPS_STEP)
    assert simulate.virtual_run.simulate(above).verdict.invalid


CONF = """sdxl-nano.Offline.target_qps = 50
sdxl-nano.Offline.min_duration = 4000
sdxl-nano.Offline.min_query_count = 1
sdxl-nano.Server.target_qps = 100
sdxl-nano.Server.target_latency = 2000
sdxl-nano.Server.min_duration = 5000
"""
TIMES = 'schema_version = 1\ndevice = "null"\nevidence = "assumed"\nsource = "test"\njitter = 0.02\n[seconds]\n2 = 0.2\n4 = 0.36\n'


@pytest.mark.loadgen
@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_virtual_time_is_real_time(tmp_path: Path, capsys: pytest.CaptureFixture[str], scenario: str) -> None:
    """A short form of the comparison in docs/SIMULATOR.md (120 s, 3 %): bounds are wide for a busy machine."""
    tiny_build.write(tmp_path, compiled=False)
    (tmp_path / "user.conf").write_text(CONF)
    (tmp_path / "times.toml").write_text(TIMES)
    done = subprocess.run([sys.executable, "-m", f"harness.{scenario}", "--user-conf", "user.conf", "--output", "run", "--device", "null",
                           "--devices", "16", "--service-times", "times.toml"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = line(capsys, "--against", str(tmp_path / "run"), "--service-times", str(tmp_path / "times.toml"), "--tolerance", "0.25")
    assert found["missed"] == [] and set(found["errors"]) == set(against_run.JUDGED)
    result = run_result.read(tmp_path / "run")
    if scenario == "server":  # LoadGen made the schedule that the simulator says it makes
        times = arrivals_ns(100.0, 5.0, min_queries=result.loadgen["effective_min_query_count"])
        assert result.samples_issued == len(times)
        assert result.loadgen["result_scheduled_samples_per_sec"] == pytest.approx((len(times) - 1) / (times[-1] / 1e9), rel=1e-5)


def test_a_run_of_devices_that_draw_is_not_compared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        main(["--against", str(tmp_path)])

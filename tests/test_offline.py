"""harness.offline: the plan in whole waves; and real LoadGen runs, each a process of its own, on null and IREE devices."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import run_result, scenario
from harness.run_result import LOADGEN, SETTINGS
from tests import tiny_build

ROOT = Path(__file__).resolve().parents[1]
# MLPerf Inference v5.1's published seeds (in AMD's and NVIDIA's v5.1 logs)
SEEDS = {"effective_qsl_rng_seed": 1780908523862526354, "effective_sample_index_rng_seed": 14771362308971278857,
         "effective_schedule_rng_seed": 18209322760996052031}
CONF = "sdxl-nano.Offline.target_qps = 1\nsdxl-nano.Offline.min_duration = 1000\nsdxl-nano.Offline.min_query_count = 1\n"
TIMES = 'schema_version = 1\ndevice = "null"\nevidence = "assumed"\nsource = "test"\n[seconds]\n2 = {0}\n4 = {0}\n'


@pytest.mark.parametrize(("wanted", "devices", "batch_size", "rate", "seconds", "samples"), [
    (1, 1, 2, 0.1, 10, 2),  # never less than one wave
    (100, 3, 4, 0.1, 10, 108),  # what the conf wants, rounded up to whole waves
    (100, 1, 4, 30.0, 60, 1800),  # a machine faster than its conf: 60 s x 30 samples/s
    (107400, 64, 32, 0.0, 600, 108544),  # AMD's Offline run as 53 waves of 2,048 instead of 52.44
])
def test_the_query_is_planned_in_whole_waves(wanted: int, devices: int, batch_size: int, rate: float, seconds: float,
                                             samples: int) -> None:
    assert scenario.plan(wanted, devices, batch_size, rate, seconds) == samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a null build, samples, user.conf and service times of 20 ms."""
    tiny_build.write(tmp_path, compiled=False)
    (tmp_path / "user.conf").write_text(CONF)
    (tmp_path / "times.toml").write_text(TIMES.format(0.02))
    return tmp_path


NULL = ("--device", "null", "--service-times", "times.toml")


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "harness.offline", "--user-conf", "user.conf", "--output", "run", *argv]


def start(folder: Path, *argv: str, preexec: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(command(*argv), cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=preexec)


def run(folder: Path, *argv: str, code: int = 0, preexec: Callable[[], None] | None = None) -> tuple[dict[str, Any], str]:
    """The last line of stdout as an object (empty when there is none), and stderr."""
    process = start(folder, *argv, preexec=preexec)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    last = out.strip().splitlines()[-1] if out.strip() else ""
    return json.loads(last) if last.startswith("{") else {}, err


def error_line(err: str) -> str:
    """The one line that an error prints; no traceback."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in err, err
    return lines[0]


@pytest.mark.loadgen
def test_a_performance_run_is_valid_and_complete(folder: Path) -> None:
    summary, err = run(folder, *NULL, "--devices", "3")
    result = run_result.read(folder / "run")
    timeline = run_result.read_timeline(folder / "run")
    assert summary["valid"] and summary["run"] == "run" and summary["null"] and result.is_null and result.status == "valid"
    assert summary["samples_per_second"] == result.loadgen["result_samples_per_second"] > 0
    assert result.samples_issued == result.samples_completed == result.plan.samples == result.loadgen["effective_samples_per_query"]
    assert result.plan.samples % 12 == 0 and result.plan.planned_efficiency == 1 and 0 < result.plan.achieved_efficiency <= 1.01
    assert sum(batch.samples for batch in timeline.batches) == result.samples_completed
    assert {batch.device for batch in timeline.batches} == {"null://0", "null://1", "null://2"}
    assert all(0 <= b.submitted_ns <= b.started_ns <= b.completed_ns for b in timeline.batches)
    assert result.loadgen["errors"] == [] and {key: result.loadgen[key] for key in SEEDS} == SEEDS
    assert result.loadgen["loadgen_version"].startswith("5.1.1")
    assert f"{result.samples_completed} of {result.samples_completed} samples" in err
    settings = json.loads((folder / "run" / SETTINGS).read_text())
    assert settings["settings"]["devices"] == 3 and settings["resolved"]["manifest_key"] == result.manifest_key
    assert (folder / "run" / "user.conf").read_text() == CONF


@pytest.mark.loadgen
def test_every_image_reaches_the_accuracy_log_whole(folder: Path) -> None:
    """37 samples on 3 real devices at batch size 4: full batches, a smaller compiled one and a padded row."""
    build = tiny_build.shared()
    summary, _ = run(folder, "--manifest", str(build), "--mode", "accuracy", "--devices", "3", "--sample-count", "37")
    assert summary["valid"] and not summary["null"] and summary["samples_per_second"] is None
    log = json.loads((folder / "run" / LOADGEN / "mlperf_log_accuracy.json").read_text())
    assert sorted(entry["qsl_idx"] for entry in log) == list(range(37))
    for entry in log:
        assert bytes.fromhex(entry["data"]) == bytes(tiny_build.expected([entry["qsl_idx"]])) * 16 * 16 * 3
    result = run_result.read(folder / "run")
    drawn = sum(batch.size for batch in run_result.read_timeline(folder / "run").batches)
    # a tail of 1 is padded to 2, or to 4 where these tiny batches took no longer
    assert result.plan.padded == drawn - 37 and result.plan.padded in (1, 3) and result.devices == ("local-sync://0", "local-sync://1", "local-sync://2")
    assert 0 < result.timing.host < result.timing.cpu and result.timing.device_busy > 0


@pytest.mark.loadgen
def test_a_run_that_loadgen_calls_invalid_exits_1_with_its_reason(folder: Path) -> None:
    (folder / "user.conf").write_text(CONF.replace("1000", "600000") + "sdxl-nano.Offline.performance_issue_unique = 1\n")
    summary, _ = run(folder, *NULL, code=1)  # 40 unique samples cannot last 10 minutes
    assert not summary["valid"] and "min_duration not met; LoadGen: Increase expected QPS" in summary["cause"]
    assert run_result.read(folder / "run").status == "invalid"


@pytest.mark.loadgen
@pytest.mark.parametrize(("argv", "words"), [
    ([*NULL, "--batch-size", "3"], "--batch-size 3 was not compiled"),
    ([*NULL, "--devices", "0"], "--devices is 0"),
    ([*NULL, "--user-conf", "typo.conf"], "takes no key 'taget_qps'"),
    ([*NULL, "--user-conf", "more.conf"], "needs performance_sample_count 5000, the sample set has 40"),
    ([*NULL, "--output", "times.toml/run"], "cannot write the run folder"),
    (["--device", "iree"], "the build has no weights|was not compiled"),
    (["--device", "null", "--service-times", "none.toml"], "cannot read none.toml"),
])
def test_bad_input_is_one_line_exit_code_2_and_no_folder(folder: Path, argv: list[str], words: str) -> None:
    (folder / "typo.conf").write_text("sdxl-nano.Offline.taget_qps = 3\n")
    (folder / "more.conf").write_text(CONF + "sdxl-nano.*.performance_sample_count_override = 5000\n")
    _, err = run(folder, *argv, code=2)
    assert any(word in error_line(err) for word in words.split("|"))
    assert not (folder / "run").exists()


@pytest.mark.loadgen
def test_a_device_past_its_deadline_fails_the_run_and_the_result_says_so(folder: Path) -> None:
    started = time.monotonic()
    _, err = run(folder, *NULL, "--devices", "2", "--batch-timeout", "0.001", code=2)
    assert time.monotonic() - started < 60  # a bound on hanging, not a measurement
    assert "did not answer in 0.001 s; it held samples" in error_line(err)
    result = run_result.read(folder / "run")
    assert result.status == "failed" and "did not answer" in str(result.cause) and result.plan is None
    assert result.samples_completed < result.samples_issued


@contextmanager
def running(folder: Path, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """A run of a minute, caught while its first query is out."""
    (folder / "user.conf").write_text(CONF.replace("1000", "60000"))
    process = start(folder, *NULL, *argv)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if " samples, about " in line:
                break
        time.sleep(0.5)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.mark.loadgen
@pytest.mark.parametrize(("number", "code", "cause"), [(signal.SIGINT, 130, "interrupted (Ctrl-C)"),
                                                        (signal.SIGTERM, 2, "RunError: terminated (SIGTERM)")])
def test_ctrl_c_and_sigterm_end_the_run_at_once_and_the_result_says_so(folder: Path, number: int, code: int, cause: str) -> None:
    with running(folder) as process:
        process.send_signal(number)
        assert process.wait(timeout=20) == code
    result = run_result.read(folder / "run")
    assert (result.status, result.cause) == ("failed", cause) and 0 < result.samples_completed < result.samples_issued


@pytest.mark.loadgen
def test_ctrl_c_while_a_device_warms_up_ends_the_run_at_once(folder: Path) -> None:
    (folder / "times.toml").write_text(TIMES.format(60))
    process = start(folder, *NULL)
    assert process.stderr is not None
    try:
        assert any("opening and warming up" in line for line in process.stderr)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    finally:
        process.kill()
        process.communicate(timeout=20)
    assert run_result.read(folder / "run").cause == "interrupted (Ctrl-C)"


@pytest.mark.loadgen
@pytest.mark.parametrize("name", ["scheduled_unet_bs4.vmfb", "clip.irpa"])
def test_a_corrupt_build_is_one_line_exit_code_2_and_no_folder(folder: Path, name: str) -> None:
    build = Path(shutil.copytree(tiny_build.shared(), folder / "build" / "corrupt"))
    with (build / name).open("r+b") as file:
        file.seek(64)
        file.write(b"!!")
    _, err = run(folder, "--manifest", str(build), code=2)
    assert f"{name} has sha256" in error_line(err) and "compile again" in error_line(err)
    assert not (folder / "run").exists()


@pytest.mark.loadgen
def test_a_killed_run_leaves_no_result(folder: Path) -> None:
    with running(folder) as process:
        process.kill()
        process.wait(timeout=20)
    assert (folder / "run" / SETTINGS).exists() and not (folder / "run" / run_result.NAME).exists()


@pytest.mark.loadgen
def test_a_disk_that_fills_up_fails_the_run(folder: Path) -> None:
    """A limit on file size stands for the disk: LoadGen writes on without a word, the log is cut off."""
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    _, err = run(folder, *NULL, "--mode", "accuracy", code=2, preexec=limit)
    assert "mlperf_log_accuracy.json has 5" in error_line(err) and "cut off" in error_line(err)
    assert run_result.read(folder / "run").status == "failed"


@pytest.mark.loadgen
def test_a_second_loadgen_in_one_process_is_refused(folder: Path) -> None:
    """A second FromConfig voids LoadGen's log, so it cannot be reached."""
    code = ("from pathlib import Path; from harness.loadgen import LoadGen\n"
            "arguments = dict(model='sdxl-nano', scenario='Offline', mode='performance', user_conf=Path('user.conf'), samples=4)\n"
            "LoadGen(**arguments)\nLoadGen(**arguments)")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
                          capture_output=True, timeout=60, check=False)
    assert "RunError: LoadGen was already started in this process" in done.stderr


@pytest.mark.loadgen
@pytest.mark.parametrize("module", ["harness.offline", "runtime.iree_device"])
def test_the_harness_needs_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted(name for name in sys.modules if name in ('torch', 'transformers', 'diffusers')))"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, capture_output=True,
                          timeout=60, check=True)
    assert done.stdout.strip() == "[]"

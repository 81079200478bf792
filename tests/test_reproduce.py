"""scripts/reproduce: its plans name flags that exist, a step that is done is not repeated, a failed one stops and is gone on from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import settings
from scripts.reproduction import execution, plans
from scripts.reproduction.execution import StepFailed
from scripts.reproduction.plans import Options
from scripts.reproduction.steps import MODES, ROOT, SCENARIOS, Reproduction, Step, table, total_seconds

PRESETS = list(plans.PRESETS)


def planned(preset: str, folder: Path, *, short: bool = False) -> Reproduction:
    return plans.PRESETS[preset](Options(folder=folder, mlcommons=None, short=short, setup=True))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_plan_has_all_eight_runs_with_flags_that_the_harness_takes(preset: str, tmp_path: Path) -> None:
    runs = {}
    for step in planned(preset, tmp_path).steps:
        if step.is_run:
            at = step.command.index("-m")
            scenario = step.command[at + 1].removeprefix("harness.")
            parsed = settings.parse(scenario, step.command[at + 2:])
            assert step.product == (parsed.output or Path()) / "result.json"
            runs[scenario.capitalize(), parsed.mode] = parsed
    assert set(runs) == {(scenario, mode) for scenario in SCENARIOS for mode in MODES}
    # TEST01's answers are compared with the accuracy run's, and bits may change with the batch size
    assert all(runs[scenario, mode].deterministic_batch for scenario in SCENARIOS for mode in ("accuracy", "TEST01"))


def test_offline_of_the_rehearsal_runs_without_the_gil(tmp_path: Path) -> None:
    steps = {step.name: step for step in planned("rehearsal", tmp_path).steps}
    for mode in MODES:
        step = steps[f"Offline {mode}"]
        assert step.environment == {"PYTHON_GIL": "0"} and step.command[0] == ".venv-3.13t/bin/python"


def test_the_real_plan_names_amds_script_of_every_run(tmp_path: Path) -> None:
    steps = planned("mi325x", tmp_path).steps
    assert all("run_scenario_" in step.amd and "MI325x_cpx.sh" in step.amd for step in steps if step.is_run)
    assert "AMD: code/stable-diffusion-xl" in table(steps, tmp_path)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_plan_is_printed_with_times_and_log_sizes_and_nothing_runs(preset: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/reproduce", "sdxl", "--preset", preset, "--plan", "--output", tmp_path / "out"],
                          capture_output=True, text=True, check=True, timeout=60)
    assert "GB log" in done.stdout and " min " in done.stdout and f"OUT = {tmp_path / 'out'}" in done.stdout
    assert not (tmp_path / "out").exists()


def step(name: str, code: str, product: Path | None = None, **more: object) -> Step:
    return Step(name=name, command=(sys.executable, "-c", code), product=product, **more)  # type: ignore[arg-type]


def test_steps_run_in_order_and_what_they_said_last_is_kept(tmp_path: Path) -> None:
    said = execution.carry_out([step("one", "print('noise'); print('{\"a\": 1}')"), step("two", "print('{\"b\": 2}'); print('end')")], tmp_path)
    assert said == {"one": {"a": 1}, "two": {"b": 2}}


def test_steps_side_by_side_run_at_once(tmp_path: Path) -> None:
    """Each waits for the other's file, so one after the other would never end."""
    code = ("import pathlib, time\npathlib.Path({0!r}).touch()\n"
            "end = time.monotonic() + 60\nwhile not pathlib.Path({1!r}).exists():\n assert time.monotonic() < end\n time.sleep(0.02)\nprint('{{}}')")
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    execution.carry_out([step("one", code.format(first, second), side_by_side="both"),
                         step("two", code.format(second, first), side_by_side="both")], tmp_path / "logs")


def test_a_failed_step_stops_and_the_next_start_goes_on_from_there(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    count = f"open({str(tmp_path / 'count')!r}, 'a').write('x'); open({str(first)!r}, 'w'); print('{{\"n\": 1}}')"
    fails = [step("one", count, first), step("two", "raise SystemExit(3)", second)]
    with pytest.raises(StepFailed, match=r"two ended with exit code 3; see .*two\.log"):
        execution.carry_out(fails, tmp_path / "logs")
    works = [fails[0], step("two", f"open({str(second)!r}, 'w'); print('{{\"m\": 2}}')", second)]
    assert execution.carry_out(works, tmp_path / "logs") == {"one": {"n": 1}, "two": {"m": 2}}
    assert (tmp_path / "count").read_text() == "x"


@pytest.mark.parametrize(("status", "done"), [("valid", True), ("invalid", False), ("failed", False)])
def test_a_run_that_was_not_valid_is_run_again_in_an_empty_folder(tmp_path: Path, status: str, done: bool) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps({"status": status}))
    (folder / "left").touch()
    run = step("run", f"import os; os.makedirs({str(folder)!r}, exist_ok=True); print(os.path.exists({str(folder / 'left')!r}))",
               folder / "result.json")
    assert run.done() == done
    execution.carry_out([run], tmp_path / "logs")
    assert (folder / "left").exists() == done


def test_the_estimate_counts_the_longest_of_those_side_by_side(tmp_path: Path) -> None:
    steps = (step("a", "", seconds=5), step("b", "", seconds=7, side_by_side="g"), step("c", "", seconds=9, side_by_side="g"),
             step("d", "", Path(__file__), seconds=100))
    assert total_seconds(steps) == 14


@pytest.mark.parametrize(("argv", "words"), [
    (["--preset", "mi325x", "--short"], "--short is for rehearsal and null"),
    (["--preset", "null", "--mlcommons", "nowhere"], "has no tools/submission/submission_checker.py"),
])
def test_a_wrong_command_line_is_refused(argv: list[str], words: str) -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/reproduce", "sdxl", *argv], capture_output=True, text=True, check=False,
                          env={name: value for name, value in os.environ.items() if name != "IREEPERF_MLCOMMONS"}, timeout=60)
    assert done.returncode == 2 and words in done.stderr

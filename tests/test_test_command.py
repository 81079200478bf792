"""scripts/test itself: a failure is counted, a hang is stopped, and later parts still run."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("test_command_script", str(ROOT / "scripts" / "test"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


command = load()


def python(name: str, program: str, limit_s: int = 60, *arguments: str):
    return command.Part(name, (sys.executable, "-c", program, *arguments), limit_s)


def run_all(monkeypatch, capsys, *parts) -> tuple[int, str]:
    monkeypatch.setattr(command, "PARTS", parts)
    monkeypatch.setattr(sys, "argv", ["scripts/test"])
    code = command.main()
    return code, capsys.readouterr().out


def test_all_parts_run_and_the_last_line_counts(monkeypatch, capsys):
    code, out = run_all(monkeypatch, capsys, python("first", "print('hello')"), python("bad", "raise SystemExit(3)"),
                        python("last", "print('still here')"))
    assert code == 1
    assert "hello" in out and "still here" in out, "output passes through, and a failure stops nothing"
    assert "failed (exit 3)" in out and out.splitlines()[-1] == "2 passed, 1 failed"


def test_success(monkeypatch, capsys):
    code, out = run_all(monkeypatch, capsys, python("only", "pass"))
    assert (code, out.splitlines()[-1]) == (0, "1 passed, 0 failed")


def test_a_hang_is_stopped_with_its_children(monkeypatch, capsys, tmp_path):
    program = ("import subprocess, sys, time\n"
               "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
               "open(sys.argv[1], 'w').write(str(child.pid)); time.sleep(60)")
    code, out = run_all(monkeypatch, capsys, python("hang", program, 6, str(tmp_path / "pid")))
    assert code == 1 and "failed (exit -9, stopped after 6 s)" in out
    state = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    ends = time.monotonic() + 20  # a killed process is there until the scheduler has run it once more
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() < ends, "the child was stopped too"
        time.sleep(0.05)


def test_parts_can_be_interrupted_wherever_this_was_started(tmp_path):
    """`scripts/test &` in a script: SIGINT is ignored in it, and must not be in the tests."""
    program = ("import importlib.machinery, importlib.util, sys\n"
               "loader = importlib.machinery.SourceFileLoader('command', sys.argv[1])\n"
               "command = importlib.util.module_from_spec(importlib.util.spec_from_loader('command', loader))\n"
               "sys.modules['command'] = command; loader.exec_module(command)\n"
               "probe = 'import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) is not signal.default_int_handler)'\n"
               "command.PARTS = (command.Part('probe', (sys.executable, '-c', probe), 30),)\n"
               "sys.argv = ['scripts/test']; raise SystemExit(command.main())")
    started = subprocess.run([sys.executable, "-c", "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
                              "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])", program, str(ROOT / "scripts" / "test")],
                             capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stdout + started.stderr


def test_a_command_that_does_not_start(monkeypatch, capsys):
    code, out = run_all(monkeypatch, capsys, command.Part("absent", ("./no/such/program",), 5))
    assert code == 1 and "cannot run ./no/such/program" in out


@pytest.mark.parametrize("code, closing, counts", [
    (0, "===== 12 passed, 3 deselected in 4.56s =====", (12, 0, "ok")),
    (1, "2 failed, 10 passed in 1.00s", (10, 2, "failed (exit 1)")),
    (1, "1 failed, 3 passed, 2 errors in 75.30s (0:01:15)", (3, 3, "failed (exit 1)")),
    (5, "90 deselected in 0.5s", (0, 1, "failed (exit 5)")),  # no test ran: not a success
    (2, "", (0, 1, "failed (exit 2)")),
])
def test_pytest_is_counted_by_its_closing_line(code, closing, counts):
    part = command.Part("tests", command.PYTEST, 5)
    found = command.outcome(part, 1.0, code, closing)
    assert (found.passed, found.failed, found.result) == counts


def test_arguments_go_to_pytest():
    setup, tests = command.chosen([], ["tests/test_fid.py", "-k", "x"])
    assert setup.name == "set-up" and tests.command[-3:] == ("tests/test_fid.py", "-k", "x")
    assert [part.name for part in command.chosen(["rules"], [])] == ["rules"]


def test_ci_runs_this_command():
    assert "./scripts/test" in (ROOT / ".ci" / "run").read_text()
    listed = subprocess.run([sys.executable, str(ROOT / "scripts" / "test"), "--list"], capture_output=True, text=True, check=True).stdout
    for name in ("set-up", "set-up-3.13t", "rules", "types", "tests", "loadgen"):
        assert f"{name}: " in listed

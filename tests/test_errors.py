"""The error tree, and what a command line prints and returns for each."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ireeperf import errors


def test_docstring_draws_every_error():
    drawn = errors.__doc__ or ""
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.PipelineError)]
    assert len(classes) == 9
    for cls in classes:
        assert cls.__name__ in drawn, f"{cls.__name__} is not in the tree at the top of ireeperf/errors.py"
        assert cls is errors.PipelineError or cls.__bases__ == (errors.PipelineError,)


@pytest.mark.parametrize("returned, code", [(None, 0), (0, 0), (1, 1)])
def test_exit_code_is_what_main_returns(returned, code):
    assert errors.exit_code(lambda: returned) == code


def test_user_errors_are_one_line_and_two(capsys):
    def main():
        raise errors.ConfigError("--batch-size is 0; at least 1")

    assert errors.exit_code(main) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: --batch-size is 0; at least 1\n"
    assert captured.out == ""


def test_interrupt_is_130(capsys):
    def main():
        raise KeyboardInterrupt

    assert errors.exit_code(main) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    program = "from ireeperf.errors import exit_code\nexit_code(lambda: 1 // 0)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr and "Traceback" in result.stderr

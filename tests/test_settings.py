"""harness.settings: every flag is read, and a bad one is one line with exit code 2."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from harness.settings import RunSettings, parse
from ireeperf.errors import ConfigError

HARNESS = Path(__file__).resolve().parents[1] / "harness"


def reads() -> set[str]:
    """Attributes read of something called `settings` in the harness, its definition left out."""
    found = set()
    for path in HARNESS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if path.name != "settings.py" and isinstance(node, ast.Attribute):
                owner = node.value
                name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
                if name == "settings":
                    found.add(node.attr)
    return found


def test_every_flag_is_read() -> None:
    """AMD's harness parses 6 flags that nothing reads (SHARK-MLPERF v5.1)."""
    unread = {field.name for field in dataclasses.fields(RunSettings)} - reads()
    assert not unread, f"flags that change nothing: {sorted(unread)}"


def test_no_argument_means_everything_is_found_out() -> None:
    settings = parse("offline", [])
    assert settings.manifest is None and settings.samples is None and settings.output is None
    assert (settings.mode, settings.device, settings.devices, settings.on_device_loss) == ("performance", "iree", None, "fail")


@pytest.mark.parametrize(("argv", "words"), [
    (["--devices", "0"], "--devices is 0; at least 1"),
    (["--batch-size", "-2"], "--batch-size is -2; at least 1"),
    (["--sample-count", "0"], "--sample-count is 0; at least 1"),
    (["--batch-timeout", "0"], "--batch-timeout is 0; seconds above 0"),
    (["--ready-timeout", "nan"], "--ready-timeout is nan; seconds above 0"),
    (["--service-times", "t.toml"], "--service-times t.toml is for --device null; --device is iree"),
    (["--device", "null", "--driver", "hip"], "--driver hip is for --device iree; --device is null"),
])
def test_a_value_out_of_range_is_refused(argv: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse("offline", argv)


@pytest.mark.parametrize("argv", [["--mode", "fast"], ["--device", "tpu"], ["--devices", "two"], ["--man", "x"], ["extra"]])
def test_argparse_refuses_the_rest_with_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse("offline", argv)
    assert left.value.code == 2 and "error:" in capsys.readouterr().err

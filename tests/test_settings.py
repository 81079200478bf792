"""harness.settings: every flag is read, and a bad one is one line with exit code 2."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from harness.settings import RunSettings, parse, presets
from ireeperf.errors import ConfigError, MissingFileError

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
    (["--group-size", "8"], "--group-size 8 is for --isolation process; --isolation is thread"),
    (["--device", "null", "--partition", "mi325x-cpx"], "--partition mi325x-cpx is for --device iree; --device is null"),
    (["--reopen", "-1"], "--reopen is -1; at least 0"),
    (["--device", "null", "--driver", "hip"], "--driver hip is for --device iree; --device is null"),
])
def test_a_value_out_of_range_is_refused(argv: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse("offline", argv)


def test_a_preset_holds_flags_and_the_command_line_wins() -> None:
    settings = parse("server", ["--preset", "null", "--devices", "3"])
    assert (settings.device, settings.devices, settings.preset) == ("null", 3, "null")
    assert settings.service_times is not None and settings.service_times.is_file()


@pytest.mark.parametrize("name", presets())
def test_the_presets_are_command_lines(name: str) -> None:
    assert parse("offline", ["--preset", name]).preset == name


def test_there_are_the_presets_of_the_documents() -> None:
    assert {"cpu", "null", "mi325x_cpx"} <= set(presets())


@pytest.mark.parametrize(("text", "words"), [
    ('[flags]\ndevices = 0\n', "--devices is 0"),
    ('[flags]\npreset = "cpu"\n', "names another preset"),
    ('[flgs]\ndevices = 2\n', "unknown key 'flgs'"),
])
def test_a_preset_of_the_user_is_checked(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'description = "mine"\n{text}')
    with pytest.raises(ConfigError, match=words):
        parse("offline", ["--preset", str(path)])


def test_a_preset_with_a_flag_that_does_not_exist_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('description = "mine"\n[flags]\nspeed = 3\n')
    with pytest.raises(SystemExit) as left:
        parse("offline", ["--preset", str(path)])
    assert left.value.code == 2 and "--speed 3" in capsys.readouterr().err


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(MissingFileError, match="--preset h200 is neither a file nor one of cpu, "):
        parse("offline", ["--preset", "h200"])


@pytest.mark.parametrize("argv", [["--mode", "fast"], ["--device", "tpu"], ["--devices", "two"], ["--man", "x"], ["extra"]])
def test_argparse_refuses_the_rest_with_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse("offline", argv)
    assert left.value.code == 2 and "error:" in capsys.readouterr().err

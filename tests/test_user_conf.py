"""harness.user_conf: what LoadGen would silently ignore is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import user_conf
from harness.inputs import CONF
from ireeperf.errors import ConfigError, MissingFileError


def write(folder: Path, text: str) -> Path:
    path = folder / "user.conf"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(CONF.glob("*.conf")), ids=lambda path: path.stem)
def test_the_ones_we_ship_are_good(path: Path) -> None:
    user_conf.check(path, path.stem, "Offline")


def test_the_rehearsal_one_says_so() -> None:
    assert "REHEARSAL" in (CONF / "sdxl-nano.conf").read_text()


@pytest.mark.parametrize("text", ["m.Offline.target_qps = 3", "*.Offline.target_qps = 1.5  # why", "# note\n\n m.*.min_duration = 60000"])
def test_lines_for_this_run_are_accepted(tmp_path: Path, text: str) -> None:
    user_conf.check(write(tmp_path, text), "m", "Offline")


@pytest.mark.parametrize(("text", "words"), [
    ("m.Offline.taget_qps = 3", r"user\.conf:1: LoadGen takes no key 'taget_qps'"),
    ("\nm.Offline.qsl_rng_seed = 3", r"user\.conf:2: LoadGen takes no key 'qsl_rng_seed'"),
    ("m.Offline.target_qps=3", "with spaces around `=`"),
    ("m.Offline.target_qps = fast", "value 'fast' is not a number"),
    ("m.Ofline.target_qps = 3", "scenario 'Ofline'; one of Offline"),
    ("target_qps = 3", "is not `model.scenario.key = number`"),
    ("other.Offline.target_qps = 3", r"no line of .* is for m\.Offline"),
    ("m.Server.target_qps = 3", r"no line of .* is for m\.Offline"),
    ("# nothing", r"no line of .* is for m\.Offline"),
])
def test_everything_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        user_conf.check(write(tmp_path, text), "m", "Offline")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"absent\.conf does not exist; .*'m' with --user-conf"):
        user_conf.check(tmp_path / "absent.conf", "m", "Offline")

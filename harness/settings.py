"""RunSettings: the command line of a scenario, frozen. A flag without a field fails; a test fails on a field nothing reads.

A preset (harness/presets/*.toml, or a file of the user's) holds values for flags; what the command line says wins.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.run_result import Mode
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError

PRESETS = Path(__file__).parent / "presets"
MODES: tuple[Mode, ...] = ("performance", "accuracy", "TEST01", "TEST04")
PATH_FLAGS = ("manifest", "samples", "user-conf", "output", "service-times", "null-pictures")  # in a preset: relative to its folder


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What the user asked for. None means: found out from the build (and printed)."""

    manifest: Path | None
    samples: Path | None
    mode: Mode
    preset: str | None
    user_conf: Path | None
    output: Path | None
    device: Literal["iree", "null"]
    devices: int | None
    driver: str | None
    service_times: Path | None
    null_pictures: Path | None
    isolation: Literal["thread", "process"]
    group_size: int
    partition: str | None
    batch_size: int | None
    deterministic_batch: bool
    sample_count: int | None
    ready_timeout: float
    batch_timeout: float | None
    on_device_loss: Literal["fail", "continue"]
    reopen: int

    def __post_init__(self) -> None:
        for name, least in (("devices", 1), ("batch_size", 1), ("sample_count", 1), ("group_size", 1), ("reopen", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}; at least {least}")
        for name in ("ready_timeout", "batch_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ConfigError(f"--{name.replace('_', '-')} is {seconds:g}; seconds above 0 are needed")
        for name, value, device in (("service-times", self.service_times, "null"), ("null-pictures", self.null_pictures, "null"),
                                    ("driver", self.driver, "iree"), ("partition", self.partition, "iree")):
            if value is not None and self.device != device:
                raise ConfigError(f"--{name} {value} is for --device {device}; --device is {self.device}")
        if self.group_size > 1 and self.isolation != "process":
            raise ConfigError(f"--group-size {self.group_size} is for --isolation process; --isolation is {self.isolation}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Flags of a kind of machine, by their names on the command line."""

    schema_version: ClassVar[int] = 1
    description: str
    flags: dict[str, str | int | float | bool]


def parse(scenario: str, argv: Sequence[str] | None = None) -> RunSettings:
    """Read the command line of `python -m harness.<scenario>`; argparse exits with code 2 and one line when it is wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    preset = first.parse_known_args(argv)[0].preset
    given = preset_arguments(preset) if preset else []
    return RunSettings(**vars(_parser(scenario.lower()).parse_args(given + argv)))  # a flag without a field is a TypeError


def preset_arguments(name: str) -> list[str]:
    """The preset's flags as command-line words, which those of the user follow and so override."""
    path = PRESETS / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        raise MissingFileError(f"--preset {name} is neither a file nor one of {', '.join(presets())}")
    words: list[str] = []
    for flag, value in document.read(Preset, path).flags.items():
        if flag == "preset":
            raise ConfigError(f"{path} names another preset; one preset is one file")
        word = str(path.parent / str(value)) if flag in PATH_FLAGS else str(value)
        words += [f"--{flag}"] if value is True else [f"--{flag}", word]
    return words


def presets() -> list[str]:
    """Names of the presets that come with the harness."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def _parser(scenario: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m harness.{scenario}", allow_abbrev=False,
        description=f"Run MLPerf LoadGen's {scenario.capitalize()} scenario on a compiled build; one run folder results.")
    add = parser.add_argument
    add("--manifest", type=Path, help="build folder or its manifest.json (default: the newest build/*/manifest.json)")
    add("--samples", type=Path, help="sample set (default: samples/<model>-<max_seq_len>.npz beside the build's folder)")
    add("--mode", choices=MODES, default="performance", help="TEST01 and TEST04 are MLPerf's compliance runs")
    add("--preset", help=f"values for these flags: {', '.join(presets())}, or a .toml file")
    add("--user-conf", type=Path, help="LoadGen's user.conf (default: harness/conf/<loadgen_model>.conf)")
    add("--output", type=Path, help="folder of this run, new or empty (default: runs/<UTC>-<scenario>-<mode>-<key>)")
    add("--device", choices=("iree", "null"), default="iree", help="null: take a known time, answer with tags; never scored")
    add("--devices", type=int, help="logical devices (default: one per core for a CPU build, the partition's, else 1)")
    add("--driver", choices=("local-task", "local-sync", "hip", "cuda"),
        help="IREE driver (default: the manifest's; local-sync when several CPU devices share the cores)")
    add("--service-times", type=Path, help="service-time table of the null device (default: harness/service_times/null.toml)")
    add("--null-pictures", type=Path, metavar="NPY",
        help="the null device answers sample i with picture i modulo N of this uint8 [N, H, W, 3] file (default: tags)")
    add("--isolation", choices=("thread", "process"), default="thread",
        help="process: devices live in child processes, a crash of one loses its group only (default %(default)s)")
    add("--group-size", type=int, default=1, help="devices per child process (default %(default)s)")
    add("--partition", help="what the machine must be: a preset (mi325x-cpx, ...), a file, or `machine` to read it from sysfs")
    add("--batch-size", type=int, help="samples per batch (default: the largest that was compiled)")
    add("--deterministic-batch", action="store_true", default=False,
        help="draw every batch at --batch-size: an image's bits can change with the batch size")
    add("--sample-count", type=int, help="use the first N samples of the set (default: all)")
    add("--ready-timeout", type=float, default=600.0, metavar="S",
        help="seconds until a device must have opened and warmed up (default %(default)g)")
    add("--batch-timeout", type=float, metavar="S",
        help="seconds after which a device that owes a batch is lost (default: 20 x its warm-up batch, at least 60)")
    add("--on-device-loss", choices=("fail", "continue"), default="fail",
        help="continue: give the batch of a lost device to another one (default %(default)s)")
    add("--reopen", type=int, default=1, metavar="N",
        help="with --on-device-loss continue: build a device that failed anew, up to N times (default %(default)s)")
    return parser

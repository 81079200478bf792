"""RunSettings: the command line of a scenario, frozen. A flag without a field fails; a test fails on a field nothing reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ireeperf.errors import ConfigError

Mode = Literal["performance", "accuracy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What the user asked for. None means: found out from the build (and printed)."""

    manifest: Path | None
    samples: Path | None
    mode: Mode
    user_conf: Path | None
    output: Path | None
    device: Literal["iree", "null"]
    devices: int | None
    driver: str | None
    service_times: Path | None
    batch_size: int | None
    sample_count: int | None
    ready_timeout: float
    batch_timeout: float | None
    on_device_loss: Literal["fail", "continue"]

    def __post_init__(self) -> None:
        for name, least in (("devices", 1), ("batch_size", 1), ("sample_count", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}; at least {least}")
        for name in ("ready_timeout", "batch_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ConfigError(f"--{name.replace('_', '-')} is {seconds:g}; seconds above 0 are needed")
        if self.service_times is not None and self.device != "null":
            raise ConfigError(f"--service-times {self.service_times} is for --device null; --device is {self.device}")
        if self.driver is not None and self.device == "null":
            raise ConfigError(f"--driver {self.driver} is for --device iree; --device is null")


def parse(scenario: str, argv: Sequence[str] | None = None) -> RunSettings:
    """Read the command line of `python -m harness.<scenario>`; argparse exits with code 2 and one line when it is wrong."""
    parser = argparse.ArgumentParser(
        prog=f"python -m harness.{scenario}", allow_abbrev=False,
        description=f"Run MLPerf LoadGen's {scenario.capitalize()} scenario on a compiled build; one run folder results.")
    add = parser.add_argument
    add("--manifest", type=Path, help="build folder or its manifest.json (default: the newest build/*/manifest.json)")
    add("--samples", type=Path, help="sample set (default: samples/<model>-<max_seq_len>.npz beside the build's folder)")
    add("--mode", choices=("performance", "accuracy"), default="performance")
    add("--user-conf", type=Path, help="LoadGen's user.conf (default: harness/conf/<loadgen_model>.conf)")
    add("--output", type=Path, help="folder of this run, new or empty (default: runs/<UTC>-<scenario>-<mode>-<key>)")
    add("--device", choices=("iree", "null"), default="iree", help="null: take a known time, answer with tags; never scored")
    add("--devices", type=int, help="logical devices (default: one per core for a CPU build, else 1)")
    add("--driver", choices=("local-task", "local-sync", "hip", "cuda"),
        help="IREE driver (default: the manifest's; local-sync when several CPU devices share the cores)")
    add("--service-times", type=Path, help="service-time table of the null device (default: harness/presets/null.toml)")
    add("--batch-size", type=int, help="samples per batch (default: the largest that was compiled)")
    add("--sample-count", type=int, help="use the first N samples of the set (default: all)")
    add("--ready-timeout", type=float, default=600.0, metavar="S",
        help="seconds until a device must have opened and warmed up (default %(default)g)")
    add("--batch-timeout", type=float, metavar="S",
        help="seconds after which a device that owes a batch is lost (default: 20 x its warm-up batch, at least 60)")
    add("--on-device-loss", choices=("fail", "continue"), default="fail",
        help="continue: give the batch of a lost device to another one (default %(default)s)")
    return RunSettings(**vars(parser.parse_args(argv)))  # a flag without a field is a TypeError

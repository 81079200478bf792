"""Kernel and CPU settings that ./scripts/prepare_machine reads and sets. Standard library only, Python 3.9 and newer.

Source of the list: AMD's article "Reproducing the AMD Instinct GPUs MLPerf Inference v5.1 Submission", System preparation.
The script runtime_tunables.sh that AMD names for its LLM runs is not public for inference; the one of its training
submissions (examples/mlperf in AMD's Primus) sets the same list.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CPUS = "sys/devices/system/cpu/cpu[0-9]*"
PAGES = "sys/kernel/mm/transparent_hugepage"
ABSENT = "not on this machine"


class PrepareError(Exception):
    """What could not be done, and what to do."""


@dataclass(frozen=True)
class Setting:
    """Files that all hold `wanted`. `program` sets them where it is installed; else they are written."""

    what: str
    files: str  # pattern under the root
    wanted: str
    program: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What a person would type."""
        if self.program:
            return shlex.join(("sudo", *self.program))
        return f"echo {self.wanted} | sudo tee /{self.files}"


HOST = (
    Setting("CPU idle state 2 off", f"{CPUS}/cpuidle/state2/disable", "1", ("cpupower", "idle-set", "-d", "2")),
    Setting("CPU governor", f"{CPUS}/cpufreq/scaling_governor", "performance",
            ("cpupower", "frequency-set", "-g", "performance")),
    Setting("NMI watchdog", "proc/sys/kernel/nmi_watchdog", "0"),
    Setting("NUMA balancing", "proc/sys/kernel/numa_balancing", "0"),
    Setting("address randomization", "proc/sys/kernel/randomize_va_space", "0"),
    Setting("transparent huge pages", f"{PAGES}/enabled", "always"),
    Setting("huge page defragmentation", f"{PAGES}/defrag", "always"),
)


def values(setting: Setting, root: Path) -> dict[str, str]:
    """Value of every file of a setting, by its path under `root`; empty where the machine has none."""
    found = {}
    for path in sorted(root.glob(setting.files)):
        try:
            text = path.read_text().strip()
        except OSError as error:
            raise PrepareError(f"cannot read {path}: {error.strerror}") from error
        chosen = re.search(r"\[(.+?)\]", text)  # "always [madvise] never"
        found[str(path.relative_to(root))] = chosen[1] if chosen else text
    return found


def summary(found: Mapping[str, str]) -> str:
    """One value, or how often each occurs: "performance x3, schedutil x1"."""
    counts = Counter(found.values())
    if len(counts) <= 1:
        return next(iter(counts), ABSENT)
    return ", ".join(f"{value} x{count}" for value, count in sorted(counts.items()))


def differs(setting: Setting, root: Path) -> bool:
    """Whether some file of the machine holds another value."""
    return any(value != setting.wanted for value in values(setting, root).values())


def set_host(setting: Setting, root: Path) -> str:
    """Make a setting so; says how. PrepareError when it is not so afterwards."""
    if setting.program and (program := shutil.which(setting.program[0])):
        run((program, *setting.program[1:]))
        how = shlex.join(setting.program)
    else:
        for name in values(setting, root):
            write(root / name, setting.wanted)
        how = f"{setting.wanted} > /{setting.files}"
    if differs(setting, root):
        raise PrepareError(f"{setting.what} is still {summary(values(setting, root))} after `{how}`, {setting.wanted} is "
                           "wanted")
    return how


def drop_caches(root: Path) -> str:
    """Free the page cache, so that the run's memory comes in huge pages."""
    run(("sync",))
    write(root / "proc/sys/vm/drop_caches", "3")
    return "3 > /proc/sys/vm/drop_caches"


def write(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n")
    except OSError as error:
        raise PrepareError(f"cannot write {text} to {path}: {error.strerror}") from error


def run(command: tuple[str, ...], seconds: float = 300.0) -> None:
    """Run a command, saying yes where it asks; PrepareError with its own words when it fails or hangs."""
    try:
        done = subprocess.run(command, input="Y\nY\n", capture_output=True, text=True, timeout=seconds, check=False)
    except OSError as error:
        raise PrepareError(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise PrepareError(f"`{shlex.join(command)}` did not end in {seconds:g} s; see dmesg") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise PrepareError(f"`{shlex.join(command)}` failed with exit code {done.returncode}: {said}")

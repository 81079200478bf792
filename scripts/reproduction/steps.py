"""Steps of a reproduction: what each runs, what it leaves, how long it should take, and AMD's script for the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ("Offline", "Server")
MODES = ("performance", "accuracy", "TEST01", "TEST04")


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One command, run from the repository's root.

    It is done when `product` is there and, if that is a run folder's result, says valid; without a product it always runs.
    Steps with the same `side_by_side` that follow each other run at once.
    """

    name: str
    command: tuple[str, ...]
    product: Path | None = None
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    codes: tuple[int, ...] = (0,)  # exit codes that let the next step run
    side_by_side: str | None = None
    seconds: float = 0.0  # estimate
    log_bytes: int = 0  # estimate: LoadGen's accuracy log
    amd: str = ""  # AMD's counterpart in SHARK-MLPERF v5.1

    @property
    def is_run(self) -> bool:
        """Whether it leaves a run folder."""
        return self.product is not None and self.product.name == "result.json"

    def done(self) -> bool:
        """Whether it need not run again."""
        if self.product is None or not self.product.is_file():
            return False
        if not self.is_run:
            return True
        try:
            return bool(json.loads(self.product.read_text())["status"] == "valid")
        except (ValueError, KeyError, TypeError):
            return False


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """A preset's steps and what its end is judged by."""

    preset: str
    folder: Path
    steps: tuple[Step, ...]
    note: str

    @property
    def runs(self) -> dict[tuple[str, str], Path]:
        """(scenario, mode) -> run folder."""
        return {(scenario, mode): run_folder(self.folder, scenario, mode) for scenario in SCENARIOS for mode in MODES}


def run_folder(folder: Path, scenario: str, mode: str) -> Path:
    """Where one LoadGen run of a reproduction lies."""
    return folder / "runs" / f"{scenario.lower()}-{mode}"


def table(steps: tuple[Step, ...], folder: Path) -> str:
    """The plan: step, state, estimated time and log size, command. `folder` is written $OUT."""
    rows = []
    for number, step in enumerate(steps, 1):
        time = f"{step.seconds / 60:.1f} min" if step.seconds else ""
        size = f"{step.log_bytes / 1e9:.2f} GB log" if step.log_bytes else ""
        environment = "".join(f"{name}={value} " for name, value in step.environment.items())
        rows.append(f"{number:2} {'done' if step.done() else 'to do':5} {step.name:24} {time:>9} {size:>12}  "
                    f"{environment}{' '.join(step.command).replace(str(folder), '$OUT')}" + (f"\n{'':57}AMD: {step.amd}" if step.amd else ""))
    return "\n".join(rows)


def total_seconds(steps: tuple[Step, ...]) -> float:
    """Estimated wall time of what is to do: of steps side by side the longest."""
    seconds, groups = 0.0, {}  # type: float, dict[str, float]
    for step in steps:
        if step.done():
            continue
        if step.side_by_side is None:
            seconds += step.seconds
        else:
            groups[step.side_by_side] = max(groups.get(step.side_by_side, 0.0), step.seconds)
    return seconds + sum(groups.values())

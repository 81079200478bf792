"""On the machine: every stage in order, each in a process with a deadline, within one budget; first_contact.json grows with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ireeperf import document
from scripts.first_contact_parts import children, contents, wheels
from scripts.first_contact_parts.children import Ended
from scripts.first_contact_parts.contents import Contents, Unit, drawable
from scripts.first_contact_parts.findings import (
    NAME,
    BatchTime,
    DeviceStart,
    DispatchCheck,
    EntryPointCheck,
    Findings,
    Stage,
)

CODE = Path(__file__).resolve().parents[2]
LIMITS = {"machine": 120.0, "trace": 600.0, "alone": 600.0, "check": 600.0, "entry_points": 300.0, "batch": 300.0, "devices": 300.0}
QUIET = {"machine": 120.0, "trace": 600.0, "alone": 180.0, "check": 180.0, "entry_points": 180.0, "batch": 300.0, "devices": 300.0}
MOST_DEATHS = 5  # processes that dispatches of one executable may end before the rest is left
SUMMARY = {"key", "model_json", "model", "checkpoint", "target", "driver", "compiler_version", "reference_target", "spec", "planted"}


class Run:
    """One run: what was found so far, and the clock."""

    def __init__(self, archive: Path, output: Path, scratch: Path, budget: float, say: Callable[[str], None]) -> None:
        self._archive = archive
        self._output = output
        self._scratch = scratch
        self._budget = budget
        self._say = say
        self._started = time.monotonic()
        self._started_utc = datetime.now(UTC).isoformat(timespec="seconds")
        self._contents: Contents = contents.read(archive)
        self._machine: dict[str, Any] = {}
        self._device = ""
        self._stages: list[Stage] = []
        self._dispatches: dict[tuple[str, int], dict[str, Any]] = {}
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        self._batches: list[BatchTime] = []
        self._devices: dict[str, dict[str, Any]] = {}

    def all(self, devices: int | None) -> Findings:
        """Every stage. The smallest batch size is checked, timed and started on all devices before the next is begun."""
        used = wheels.unpack(self._archive / "wheels", self._archive / "site")
        self._say(f"archive {self._contents.model} {self._contents.target} compiler {self._contents.compiler_version} wheels {used or 'none'}")
        uris = self._enumerate(devices)
        sizes = sorted({unit.batch_size for unit in self._contents.units})
        for size in sizes:
            units = [unit for unit in self._contents.units if unit.batch_size == size]
            for unit in sorted(units, key=lambda one: ("clip", "scheduled_unet", "vae").index(one.module)):
                self._check(unit, uris[0])
            if drawable(self._contents.units, size) is not None:
                self._batch(size, uris[0])
                if not self._devices:
                    self._start_all(size, uris)
        return self.findings()

    def findings(self) -> Findings:
        """What there is now; also written to the output file."""
        found = Findings(
            started_utc=self._started_utc, budget_seconds=self._budget, seconds=time.monotonic() - self._started,
            complete=not any(stage.outcome == "skipped" for stage in self._stages), evidence="measured", machine=self._machine,
            contents={key: value for key, value in document.to_dict(self._contents).items() if key in SUMMARY}, device=self._device,
            stages=tuple(self._stages), dispatches=tuple(DispatchCheck(**one) for one in self._dispatches.values()),
            entry_points=tuple(EntryPointCheck(**one) for one in self._entries.values()), batches=tuple(self._batches),
            devices=tuple(DeviceStart(**one) for one in self._devices.values()))
        document.write(found, self._output)
        return found

    def _stage(self, name: str, unit: str, *arguments: str) -> Ended:
        """Run one stage as a child; its outcome is recorded, whatever it is."""
        left = self._budget - (time.monotonic() - self._started)
        if left < 5:
            ended = Ended(outcome="hung", cause="", seconds=0.0, lines=())
            self._stages.append(Stage(name=name, unit=unit, outcome="skipped", seconds=0.0, cause=f"budget of {self._budget:.0f} s is spent"))
            self._say(f"{name} {unit}: skipped, the budget is spent")
        else:
            self._say(f"{name} {unit} ({left:.0f} s of the budget left)")
            command = ["--stage", name, "--archive", str(self._archive), "--scratch", str(self._scratch), "--unit", unit, *arguments]
            ended = children.run(command, root=CODE, site=self._archive / "site", log=self._scratch / "logs" / f"{name}-{unit}.log",
                                 seconds=min(left, LIMITS[name]), quiet=min(left, QUIET[name]))
            self._stages.append(Stage(name=name, unit=unit, outcome=ended.outcome, seconds=ended.seconds, cause=ended.cause))
            if ended.outcome != "ok":
                self._say(f"  {ended.outcome}: {ended.cause}")
        return ended

    def _enumerate(self, wanted: int | None) -> list[str]:
        """Drivers and devices; the addresses to use. Without any, the first is tried all the same, so that its error is recorded."""
        driver = self._contents.driver
        ended = self._stage("machine", "", "--driver", driver)
        self._machine = next((line["machine"] for line in ended.lines if "machine" in line), {"error": ended.cause})
        listed = [one["uri"] for one in self._machine.get("devices", []) if "uri" in one]
        uris = listed or [driver if driver.startswith("local") else f"{driver}://0"]
        if driver.startswith("local") and wanted:
            uris = uris[:1] * wanted
        self._device = uris[0]
        said = [one["error"] for one in self._machine.get("devices", []) if "error" in one]
        self._say(f"  {len(listed)} devices of {driver}: {', '.join(said or uris[:4])}{' ...' if len(uris) > 4 else ''}")
        self.findings()
        return uris[:wanted] if wanted else uris

    def _check(self, unit: Unit, uri: str) -> None:
        """CPU reference, each dispatch on the device, entry points on the device."""
        for index, dispatch in enumerate(unit.dispatches):
            self._dispatches[unit.name, index] = {"unit": unit.name, "label": dispatch.label, "calls": dispatch.calls, "outcome": "skipped",
                                                  "cause": "not reached"}
        for entry in unit.entry_points:
            self._entries[unit.name, entry] = {"unit": unit.name, "module": unit.module, "batch_size": unit.batch_size, "entry_point": entry,
                                               "outcome": "skipped", "cause": "not reached"}
        for line in self._stage("trace", unit.name).lines:
            if "entry" in line:
                self._entries[unit.name, line["entry"]]["reference_seconds"] = line["seconds"]
        self._each_dispatch("alone", unit, (), self._heard_reference)
        self._each_dispatch("check", unit, ("--device", uri), self._heard_check)
        self._entry_points(unit, uri)
        self.findings()
        mine = [one for (name, _), one in self._dispatches.items() if name == unit.name]
        bad = [one["label"].split("::")[-1] for one in mine if one["outcome"] not in ("ok", "skipped")]
        self._say(f"  {sum(one['outcome'] == 'ok' for one in mine)} of {len(mine)} dispatches right; culprits: {', '.join(bad[:5]) or 'none'}"
                  f"{' ...' if len(bad) > 5 else ''}")

    def _each_dispatch(self, name: str, unit: Unit, arguments: Sequence[str], heard: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
        """A stage over all dispatches; one that ends or hangs the process is named, and the rest goes on after it."""
        first = 0
        for _ in range(MOST_DEATHS):
            ended = self._stage(name, unit.name, *arguments, "--first", str(first))
            for line in ended.lines:
                index = line.get("dispatch", line.get("timed"))
                if index is not None:
                    heard(self._dispatches[unit.name, index], line)
            begun = next((line["begin"] for line in reversed(ended.lines) if "begin" in line), None)
            if ended.outcome == "ok":
                return
            if begun is None:  # it did not come to a dispatch: the file does not load, or the budget is spent
                for position in range(first, len(unit.dispatches)):
                    self._dispatches[unit.name, position]["cause"] = ended.cause or "the budget is spent"
                return
            one = self._dispatches[unit.name, begun]
            if name == "check":  # a wrong result stays the worse news when only the timing died
                one |= {"outcome": ended.outcome if one["outcome"] in ("skipped", "ok") else one["outcome"], "cause": ended.cause}
            else:
                one |= {"cause": f"no CPU result: {ended.cause}"}
            first = begun + 1
            if first >= len(unit.dispatches):
                return

    @staticmethod
    def _heard_reference(one: dict[str, Any], line: dict[str, Any]) -> None:
        one["inputs"] = line["inputs"]

    @staticmethod
    def _heard_check(one: dict[str, Any], line: dict[str, Any]) -> None:
        """A line of the device: error first, times after it."""
        if "timed" in line:
            one |= {key: value for key, value in line.items() if key != "timed"}
            return
        one |= {key: line[key] for key in ("relative_error", "greatest_difference", "tolerance") if key in line}
        if "departs" in line:
            one |= {"outcome": "wrong", "cause": line["departs"]}
        elif "relative_error" in line:
            right = line["relative_error"] <= line["tolerance"]
            one |= {"outcome": "ok" if right else "wrong", "cause": ""}
            if not right:
                one["cause"] = "its operands are the CPU's bit for bit, its results depart: this dispatch is a culprit"
            elif line.get("blank"):
                one["cause"] = "zero everywhere on the CPU too: says little"
        elif one["outcome"] == "skipped":
            one["cause"] = one["cause"] if one["cause"].startswith("no CPU") else "ran, and no CPU result to compare with"

    def _entry_points(self, unit: Unit, uri: str) -> None:
        """Error and time of each entry point of the executable that the harness runs."""
        ended = self._stage("entry_points", unit.name, "--device", uri)
        for line in ended.lines:
            if "timed" in line:
                self._entries[unit.name, line["timed"]] |= {key: line[key] for key in ("seconds", "fastest_seconds", "spread", "runs")}
            elif "entry" in line:
                one = self._entries[unit.name, line["entry"]]
                one |= {key: line[key] for key in ("relative_error", "tolerance") if key in line}
                right = "relative_error" in line and line["relative_error"] <= line["tolerance"]
                compared = "relative_error" in line or "departs" in line
                one |= {"outcome": "ok" if right else "wrong" if compared else "skipped",
                        "cause": "" if right else line.get("departs", "departs from the CPU" if compared else "no CPU result to compare with")}
        if ended.outcome != "ok" and ended.begun is not None:
            self._entries[unit.name, ended.begun] |= {"outcome": ended.outcome, "cause": ended.cause}

    def _batch(self, size: int, uri: str) -> None:
        """The service time of one device."""
        for line in self._stage("batch", str(size), "--device", uri).lines:
            if "timed" in line:
                self._batches.append(BatchTime(batch_size=size, device=uri, **{key: line[key] for key in (
                    "seconds", "fastest_seconds", "spread", "runs", "steps")}))
                self._say(f"  batch of {size}: {line['seconds']:.4f} s, median of {line['runs']}")

    def _start_all(self, size: int, uris: list[str]) -> None:
        """All devices in one process."""
        numbered = [f"{uri}#{index}" if uris.count(uri) > 1 else uri for index, uri in enumerate(uris)]  # several of one local device
        self._devices = {uri: {"uri": uri, "batch_size": size, "outcome": "skipped", "cause": "not reached"} for uri in numbered}
        ended = self._stage("devices", str(size), *(part for uri in numbered for part in ("--device", uri)))
        for line in ended.lines:
            if "device" in line:
                one = self._devices[line["device"]]
                one |= {key: value for key, value in line.items() if key != "device"}
                one["cause"] = line.get("cause", "" if line.get("outcome") == "ok" else one["cause"])
        for one in self._devices.values():
            if one["outcome"] == "skipped" and ended.outcome != "ok":
                one |= {"outcome": ended.outcome, "cause": ended.cause}
        self._say(f"  {sum(one['outcome'] == 'ok' for one in self._devices.values())} of {len(numbered)} devices drew a batch, all in one process")
        self.findings()


def path_of(output: Path) -> Path:
    """A folder means the usual name in it."""
    return output / NAME if output.is_dir() else output

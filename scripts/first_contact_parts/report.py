"""The report of a first contact: what is right, what is not, how long each takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scripts.first_contact_parts.findings import DispatchCheck, Findings

LONGEST = 40  # dispatches in the table of times; culprits are all listed


def text(found: Findings, refused: str, records: Sequence[tuple[str, str]]) -> str:
    """Markdown."""
    contents = found.contents
    lines = [
        f"# First contact: {contents.get('model')} for {contents.get('target')}, {found.started_utc}", "",
        f"{len(found.devices)} devices, checked on `{found.device}`. iree-base-compiler {contents.get('compiler_version')}, model JSON "
        f"{contents.get('model_json')}, checkpoint {contents.get('checkpoint')}, spec {contents.get('spec') or 'none'}, reference "
        f"{contents.get('reference_target')}. {found.seconds:.0f} s of {found.budget_seconds:.0f} s; "
        f"{'complete' if found.complete else 'NOT complete: the budget ended it'}.", ""]
    if contents.get("planted"):
        lines += [f"**Rehearsal: `{contents['planted']}` was made wrong on purpose.**", ""]
    lines += [f"Service times: {f'none, because {refused}' if refused else 'service_times.toml'}.", "", *_machine(found.machine), *_culprits(found),
              *_entry_points(found), *_batches(found), *_dispatches(found), *_devices(found)]
    if records:
        lines += ["## Tuning records", "", *_table(["record", "verdict"], records), ""]
    lines += ["## Stages", "", *_table(["stage", "of", "outcome", "seconds", "cause"], [
        (stage.name, stage.unit, stage.outcome, f"{stage.seconds:.1f}", stage.cause) for stage in found.stages]), ""]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table; bars and line ends in a cell are taken out of its way."""
    cells = [" | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in row) for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {row} |" for row in cells)]


def _number(value: float | None, form: str = ".3g") -> str:
    return "-" if value is None else format(value, form)


def _machine(machine: dict[str, Any]) -> list[str]:
    """Host, devices, partition modes, versions."""
    host = machine.get("host", {})
    rows = [("host", ", ".join(f"{key} {value}" for key, value in host.items())), ("drivers", ", ".join(machine.get("drivers", []))),
            ("packages", ", ".join(f"{key} {value}" for key, value in machine.get("packages", {}).items()))]
    rows += [(f"device {one.get('index')}", f"{one.get('name')} {one.get('path')} ({one.get('uri')})") if "uri" in one else ("devices", one["error"])
             for one in machine.get("devices", [])[:128]]
    rows += [(card["card"], ", ".join(f"{key} {value}" for key, value in card.items() if key != "card")) for card in machine.get("cards", [])]
    rows += list(machine.get("versions", {}).items())
    if "error" in machine:
        rows.append(("error", machine["error"]))
    return ["## Machine", "", *_table(["what", "found"], rows), ""]


def _culprits(found: Findings) -> list[str]:
    """Every dispatch that got the reference's operands and departs, costliest error first."""
    if not found.culprits:
        checked = sum(one.outcome == "ok" for one in found.dispatches)
        return ["## Culprits", "", f"None: {checked} of {len(found.dispatches)} distinct dispatches agree with the CPU"
                f"{'' if checked == len(found.dispatches) else '; the others were not compared'}.", ""]
    rows = [(one.unit, f"`{one.name}`", one.outcome, _number(one.relative_error), _number(one.tolerance), _calls(one), one.cause)
            for one in sorted(found.culprits, key=lambda one: -(one.relative_error or float("inf")))]
    return ["## Culprits", "", *_table(["executable", "dispatch", "outcome", "relative error", "tolerance", "launches", "cause"], rows), ""]


def _calls(one: DispatchCheck) -> str:
    return ", ".join(f"{count} in {name}" for name, count in one.calls.items())


def _entry_points(found: Findings) -> list[str]:
    rows = [(one.entry_point, one.unit, one.outcome, _number(one.relative_error), _number(one.seconds and one.seconds * 1e3, ".3f"),
             _number(one.fastest_seconds and one.fastest_seconds * 1e3, ".3f"), one.runs, one.cause) for one in found.entry_points]
    return ["## Entry points, as the harness runs them", "",
            *_table(["entry point", "executable", "outcome", "relative error", "median ms", "fastest ms", "calls", "cause"], rows), ""]


def _batches(found: Findings) -> list[str]:
    if not found.batches:
        return []
    rows = [(one.batch_size, one.steps, f"{one.seconds:.4f}", f"{one.fastest_seconds:.4f}", f"{100 * one.spread:.1f} %", one.runs,
             f"{one.batch_size / one.seconds:.3f}") for one in found.batches]
    return ["## Whole batches on one device", "",
            *_table(["batch size", "steps", "median s", "fastest s", "spread", "runs", "samples/s"], rows), ""]


def _dispatches(found: Findings) -> list[str]:
    """The dispatches that take most of a whole call, with what they add up to."""
    lines = []
    for entry in found.entry_points:
        mine = [one for one in found.dispatches if one.unit == entry.unit and entry.entry_point in one.calls and one.microseconds is not None]
        if not mine or entry.seconds is None:
            continue
        cost = {one.label: one.calls[entry.entry_point] * (one.microseconds or 0.0) for one in mine}
        total = sum(cost.values())
        rows = [(f"`{one.name}`", one.calls[entry.entry_point], f"{one.microseconds:.2f}", f"{100 * cost[one.label] / total if total else 0:.1f} %",
                 _number(one.baseline_microseconds, ".2f"), _number(one.relative_error), one.outcome)
                for one in sorted(mine, key=lambda one: -cost[one.label])[:LONGEST]]
        lines += [f"## Dispatches of {entry.entry_point} ({entry.unit})", "",
                  f"{len(mine)} distinct, one launch of each times its launches: {total / 1e3:.3f} ms; the call's median is {entry.seconds * 1e3:.3f} ms.", "",
                  *_table(["dispatch", "launches", "us a launch", "share", "us without spec", "relative error", "outcome"], rows), ""]
    return lines


def _devices(found: Findings) -> list[str]:
    rows = [(one.uri, one.outcome, _number(one.open_seconds, ".2f"), _number(one.together_seconds, ".3f"),
             {True: "yes", False: "no", None: "-"}[one.same_as_first], one.cause) for one in found.devices]
    return ["## All devices, one process, one batch each at a time", "",
            *_table(["device", "outcome", "open s", "batch s, all at once", "bits as the first's", "cause"], rows), ""] if rows else []

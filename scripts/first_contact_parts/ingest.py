"""Here: what came back from a machine becomes service times, verified records and a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ireeperf import document
from ireeperf.errors import ConfigError
from runtime.service_times import ServiceTimes
from scripts.first_contact_parts import findings, report
from scripts.first_contact_parts.findings import DispatchCheck, Findings
from specs import record
from specs.match import Match
from specs.record import TuningRecord
from specs.toml_text import toml

SERVICE_TIMES, REPORT = "service_times.toml", "report.md"
GREATEST_JITTER = 0.33  # ServiceTimes' own bound


def ingest(source: Path, output: Path, records: Path | None) -> dict[str, Any]:
    """Write service_times.toml, records/ and report.md into `output`; what was written and what was found wanting.

    No service time comes of a machine that computed something wrong, or of an archive with a planted defect: the report says why.
    """
    found = findings.read(source)
    refused = refusal(found)
    verdicts = [] if records is None else verified(found, sorted(records.glob("**/*.toml")))
    if records is not None and not verdicts:
        raise ConfigError(f"{records} holds no tuning record (*.toml); give the folder that the archive's spec was made of")
    output.mkdir(parents=True, exist_ok=True)
    written = []
    if refused:
        (output / SERVICE_TIMES).unlink(missing_ok=True)  # of an earlier ingest
    else:
        document.write_text(output / SERVICE_TIMES, toml(service_times(found, source.name)))
        written.append(SERVICE_TIMES)
    for verdict in verdicts:
        if verdict.measured is not None and not found.contents.get("planted"):
            document.write_text(output / "records" / verdict.path.name, toml(verdict.measured))
            written.append(f"records/{verdict.path.name}")
    document.write_text(output / REPORT, report.text(found, refused, [(one.path.name, one.words) for one in verdicts]))
    return {"output": str(output), "written": [*written, REPORT], "service_times": not refused, "refused": refused,
            "culprits": [one.name for one in found.culprits], "records": {one.path.name: one.measured is not None for one in verdicts}}


def refusal(found: Findings) -> str:
    """Why no service times can be made of this; empty when they can."""
    if found.contents.get("planted"):
        return f"the archive is a rehearsal with a planted defect in {found.contents['planted']}"
    if not found.batches:
        return "no whole batch ran: " + ("; ".join(f"{stage.name} {stage.unit} {stage.outcome}: {stage.cause}" for stage in found.stages
                                                     if stage.outcome != "ok") or "the archive lacks an entry point")
    if found.culprits:
        return f"{len(found.culprits)} dispatches compute something else than the CPU, the first {found.culprits[0].name}; a time of wrong work is none"
    if wrong := [one for one in found.entry_points if one.outcome not in ("ok", "skipped")]:
        return f"entry point {wrong[0].entry_point} of {wrong[0].unit} is {wrong[0].outcome}: {wrong[0].cause}"
    return ""


def device_name(found: Findings) -> str:
    """The device as the driver names it."""
    listed = [one for one in found.machine.get("devices", []) if "name" in one]
    host = found.machine.get("host", {})
    return str(listed[0]["name"]) if listed and not found.device.startswith("local") else f"{host.get('cpu', 'CPU')}, {host.get('cores', '?')} cores"


def service_times(found: Findings, name: str) -> ServiceTimes:
    """The table of seconds per batch, with where it comes from."""
    batches = {one.batch_size: one for one in found.batches}
    often = ", ".join(f"batch size {size}: {one.runs} times" for size, one in sorted(batches.items()))
    contents = found.contents
    return ServiceTimes(
        device=f"{device_name(found)} ({found.device})", evidence="measured",
        source=f"first_contact of {found.started_utc} ({name}): medians of whole batches of {contents.get('model')} ({contents.get('model_json')}) for "
               f"{contents.get('target')}, {found.batches[0].steps} steps, iree-base-compiler {contents.get('compiler_version')}, spec "
               f"{contents.get('spec') or 'none'}; {often}",
        seconds={str(size): one.seconds for size, one in sorted(batches.items())},
        jitter=min(GREATEST_JITTER, max(one.spread for one in batches.values())))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the machine says of one tuning record. `measured`: the record with its proof, or None."""

    path: Path
    words: str
    measured: TuningRecord | None


def verified(found: Findings, paths: Sequence[Path]) -> list[Verdict]:
    """Each record against the dispatches that carry its name: right, and faster than without the spec."""
    return [_verdict(found, path, record.read(path)) for path in paths]


def _verdict(found: Findings, path: Path, one: TuningRecord) -> Verdict:
    shape = shape_of(one.match)
    mine = [check for check in found.dispatches if check.name.endswith(f"_{shape}")]
    timed = [check for check in mine if check.microseconds is not None and check.baseline_microseconds is not None]
    if not mine:
        return Verdict(path=path, words=f"no dispatch of the archive is called ..._{shape}", measured=None)
    if bad := [check for check in mine if check.outcome != "ok"]:
        return Verdict(path=path, words=f"{bad[0].name} is {bad[0].outcome}: {bad[0].cause}", measured=None)
    if not timed:
        return Verdict(path=path, words="right; no time without the spec to compare with (pack with --td-spec)", measured=None)
    most = max(timed, key=_weight)
    tuned, plain = most.microseconds or 0.0, most.baseline_microseconds or 0.0
    if tuned >= plain:
        return Verdict(path=path, words=f"right, and not faster: {tuned:.2f} us with it, {plain:.2f} us without", measured=None)
    words = f"right and faster: {tuned:.2f} us with it, {plain:.2f} us without ({most.name})"
    return Verdict(path=path, words=words, measured=dataclasses.replace(
        one, evidence="measured", machine=f"{device_name(found)}, {partition(found)}", baseline_us=plain, tuned_us=tuned, runs=most.runs,
        compiler=str(found.contents.get("compiler_version")), date=found.started_utc[:10]))


def shape_of(match: Match) -> str:
    """Loop sizes and types as the compiler's names of dispatches end: 2048x10240x1280_f16xf16xf32."""
    return f"{'x'.join(map(str, match.dims))}_{'x'.join(match.types)}"


def _weight(check: DispatchCheck) -> float:
    return (check.baseline_microseconds or 0.0) * sum(check.calls.values())


def partition(found: Findings) -> str:
    """Compute and memory partition modes of the cards, as sysfs says them."""
    modes = {f"{card['current_compute_partition']}/{card.get('current_memory_partition', '?')}" for card in found.machine.get("cards", [])
             if "current_compute_partition" in card}
    return " and ".join(sorted(modes)) or "unpartitioned"

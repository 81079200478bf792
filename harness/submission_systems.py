"""Check what a tree says of system, implementation and code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness import submission_limits as limits
from harness.submission_finding import Finding, json_object, text
from harness.submission_logs import Log
from ireeperf.errors import ConfigError

ENOUGH = 40  # characters of a document that says something


def check_system(path: Path, where: str, division: str, submitter: str) -> Iterator[Finding]:
    """systems/<system>.json."""
    try:
        system = json_object(path)
    except ConfigError as error:
        yield Finding(code="system", file=where, found=str(error), wanted="the system's description")
        return
    for key, meaningful in limits.SYSTEM_KEYS.items():
        if key not in system:
            yield Finding(code="system", file=where, found=f"{key} is absent", wanted="all keys of a system description")
        elif meaningful and not system[key]:
            yield Finding(code="system", file=where, found=f"{key} is {system[key]!r}",
                          wanted='a meaningful value ("0" or "N/A" for none)')
    for key in sorted(system.keys() - limits.SYSTEM_KEYS.keys()):
        yield Finding(code="system", file=where, found=f"key {key!r}", wanted="only keys of a system description")
    for key, wanted in (("submitter", submitter.lower()), ("division", division)):
        if (found := str(system.get(key))) != wanted and (key == "division" or found.lower() != wanted):
            yield Finding(code="system", file=where, found=f"{key} is {found!r}", wanted=f"{wanted!r}, its folder")
    for key, allowed in (("status", limits.STATUS), ("system_type", tuple(limits.REQUIRED_SCENARIOS))):
        if (found := str(system.get(key))) not in allowed and found.lower() not in allowed:
            yield Finding(code="system", file=where, found=f"{key} is {found!r}", wanted=f"one of {', '.join(allowed)}")


def required_scenarios(path: Path) -> tuple[str, ...]:
    """Scenarios that the closed division wants of a system; empty when its description cannot be read (a finding elsewhere)."""
    try:
        return limits.REQUIRED_SCENARIOS.get(str(json_object(path).get("system_type")), ())
    except ConfigError:
        return ()


def check_documents(submitter: Path, where: str, division: str, models: set[str]) -> Iterator[Finding]:
    """calibration.md and, in the open division, model_mapping.json."""
    places = [submitter / "calibration.md", submitter / "documentation" / "calibration.md"]
    found = [path for path in places if path.is_file()]
    if not found and division == "closed":
        yield Finding(code="calibration", file=f"{where}/documentation/calibration.md", found="absent",
                      wanted="how weights were quantized")
    for path in found:
        if len(text(path).strip()) < ENOUGH:
            yield Finding(code="calibration", file=f"{where}/{path.relative_to(submitter)}",
                          found=f"{path.stat().st_size} bytes",
                          wanted="how weights were quantized, in words")
    others = models - {limits.BENCHMARK}
    if others and division == "open":
        file = f"{where}/model_mapping.json"
        try:
            mapping = json_object(submitter / "model_mapping.json")
        except ConfigError as error:
            yield Finding(code="model_mapping", file=file, found=str(error),
                          wanted=f"{sorted(others)} mapped to {limits.BENCHMARK}")
            return
        for model in sorted(others):
            if mapping.get(model) != limits.BENCHMARK:
                yield Finding(code="model_mapping", file=file, found=f"{model} is mapped to {mapping.get(model)!r}",
                              wanted=limits.BENCHMARK)


def check_measurements(submitter: Path, folder: Path, where: str, performance: Log | None) -> Iterator[Finding]:
    """measurements/<system>/<model>/<scenario>: description, README.md, user.conf; and code/<model>/<implementation>."""
    system, model, scenario = folder.parts[-3:]
    for name in ("README.md", "user.conf"):
        if not (folder / name).is_file() or not text(folder / name).strip():
            yield Finding(code="measurements", file=f"{where}/{name}", found="absent or empty",
                          wanted="a file that says something")
    described = [path for path in sorted(folder.glob("*.json")) if path.name.startswith(system)]
    if len(described) != 1:
        yield Finding(code="measurements", file=where, found=f"descriptions {[path.name for path in described]}",
                      wanted=f"one {system}_<implementation>_{scenario}.json")
        return
    file = f"{where}/{described[0].name}"
    try:
        values = json_object(described[0])
    except ConfigError as error:
        yield Finding(code="measurements", file=file, found=str(error), wanted="the five keys")
        return
    for key in limits.MEASUREMENT_KEYS:
        if not values.get(key):
            yield Finding(code="measurements", file=file, found=f"{key} is {values.get(key)!r}", wanted="a value")
    for key in sorted(values.keys() - set(limits.MEASUREMENT_KEYS)):
        yield Finding(code="measurements", file=file, found=f"key {key!r}",
                      wanted=f"exactly {', '.join(limits.MEASUREMENT_KEYS)}")
    implementation = described[0].stem.removeprefix(f"{system}_").removesuffix(f"_{scenario}")
    code = submitter / "code" / model / implementation
    if not any(path.stat().st_size for path in code.rglob("*") if path.is_file()):
        yield Finding(code="code", file=str(Path(*where.split("/")[:2]) / "code" / model / implementation),
                      found="absent or empty",
                      wanted="the code, or where it is")
    if performance is not None and (folder / "user.conf").is_file():
        yield from _check_conf(folder / "user.conf", f"{where}/user.conf", model, performance)


def _check_conf(path: Path, file: str, model: str, log: Log) -> Iterator[Finding]:
    """The user.conf is the one that the performance run read: its target_qps is the log's."""
    wanted = log.values.get("effective_target_qps")
    rows = [line.split("#", 1)[0].split() for line in text(path).splitlines()]
    values = {row[0]: row[2] for row in rows if len(row) == 3}
    for prefix in (f"{model}.{log.scenario}", f"*.{log.scenario}", f"{model}.*", "*.*"):  # LoadGen's order of look-up
        if (found := values.get(f"{prefix}.target_qps")) is not None:
            if not isinstance(wanted, int | float) or abs(float(found) - wanted) > 1e-5 * abs(wanted):
                yield Finding(code="user_conf", file=file, found=f"{prefix}.target_qps is {found}",
                              wanted=f"{wanted}, which the run logged")
            return
    yield Finding(code="user_conf", file=file, found=f"no target_qps for {model}.{log.scenario}",
                  wanted=f"{wanted}, which the run logged")

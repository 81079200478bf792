"""Verdicts of compile.verify into the records that tuned the kernels: a record is kept when what it makes of its dispatches is right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from compile import manifest
from compile.manifest import Manifest
from compile.verify_build import Item, Verifier
from ireeperf.errors import ConfigError
from specs import render, toml_text
from specs.record import TuningRecord, Verified

Tuned = Mapping[str, tuple[TuningRecord, Sequence[Item]]]  # by record name


def read(folder: Path, build: Path, items: Iterable[Item]) -> Tuned:
    """Records of `folder`, each with the dispatches of `build` that it tuned. ConfigError when the build was not made with these records as
    they are: its kernels would say nothing of them."""
    records = render.read_all(folder)
    spec = manifest.read(build).spec
    # without old verdicts: a record found wrong is judged anew here, and rendered nowhere else
    text = render.text([replace(one, verified=None) for one in records], folder.resolve().name)
    if spec is None or spec.sha256 != hashlib.sha256(text.encode()).hexdigest():
        raise ConfigError(f"the build {build} was made {'without a spec' if spec is None else f'with {spec.path}, another state'}, not with the "
                          f"records of {folder}; compile again with --td-spec {folder}")
    found = {one.name: (one, list[Item]()) for one in records}
    for item in items:
        if item.dispatch.tuned_by in found:
            found[item.dispatch.tuned_by][1].append(item)
    return found


def verified(record: TuningRecord, tuned: Sequence[Item], verifier: Verifier, build: Manifest) -> Verified:
    """The verdict of one record: wrong when one of its kernels is, right when all are."""
    kernels = {item.key(verifier.workgroups): verifier.of(item) for item in tuned}
    found = [verdict.verification for verdict in kernels.values() if verdict is not None]
    bad = next((one for kind in ("wrong", "not run") for one in found if one.verdict == kind), None)
    reason = (bad.reason if bad else "it tunes no dispatch of this build" if not kernels else
              f"{len(kernels) - len(found)} of its {len(kernels)} kernels were not reached" if len(found) < len(kernels) else "")
    shares = [one.max_error / one.tolerance for one in found if one.max_error is not None and one.tolerance]
    return Verified(verdict=bad.verdict if bad else "not run" if reason else "right", tool=f"compile.verify on {verifier.emulator}",
                    compiler=build.compiler_version, date=date.today().isoformat(), build=Path(build.model_json).name, kernels=len(kernels),
                    workgroups=verifier.workgroups, largest_error=float(f"{max(shares):.2g}") if shares else None,
                    content_sha256=record.content_sha256, reason=reason)


def keep(folder: Path, found: Tuned, verifier: Verifier, build: Manifest) -> list[str]:
    """Write the verdicts into the records of `folder`, and say each in a line. A verdict that still holds is not replaced by "not run"."""
    said = []
    for name, (record, tuned) in found.items():
        one = verified(record, tuned, verifier, build)
        if one.verdict == "not run" and record.verified is not None and record.verdict in ("right", "wrong"):
            said.append(f"{record.verdict:8} {name}: as verified on {record.verified.date}; now {one.reason}")
            continue
        toml_text.save(replace(record, verified=one), folder)
        words = [f"{one.kernels} kernels", one.reason, "specs.render refuses it until it is mended or deleted" if one.verdict == "wrong" else ""]
        said.append(f"{one.verdict:8} {name}: {'; '.join(word for word in words if word)}")
    return said

"""Verdicts of compile.verify in tuning records: how they are made of kernels, when they hold, and what a wrong one leads to."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from compile import manifest, verify_build, verify_records
from compile.manifest import Spec
from compile.match_report import Verification
from ireeperf import document
from ireeperf.errors import ConfigError
from specs import record as records
from specs import render, toml_text
from specs.record import Verified
from tests.test_contracts import BUILD, RECORD

NAME = RECORD.name
RIGHT = Verification(verdict="right", reason="", workgroups=2, wave_orders=2, max_error=1e-4, tolerance=1e-3, emulator="kit", object_sha256="0" * 64)
PORTED = replace(RECORD, evidence="ported", machine=None, baseline_us=None, tuned_us=None, runs=None)


class Judged:
    """A Verifier that knows the verdicts of some kernels."""

    workgroups, emulator = 2, "kit"

    def __init__(self, **kinds: str | None) -> None:
        self._kinds = kinds

    def of(self, item: SimpleNamespace) -> SimpleNamespace | None:
        kind = self._kinds[item.name]
        reason = "" if kind == "right" else f"{item.name} is {kind}"
        return SimpleNamespace(verification=replace(RIGHT, verdict=kind, reason=reason)) if kind else None


def items(*names: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=name, key=lambda workgroups, name=name: f"{name}-{workgroups}", dispatch=SimpleNamespace(tuned_by=NAME))
            for name in names]


def verdict_of(record: records.TuningRecord, kind: str = "right") -> Verified:
    return Verified(verdict=kind, tool="compile.verify on kit", compiler="3.13.0", date="2026-11-25", build="m.json", kernels=1, workgroups=2,
                    largest_error=0.1, content_sha256=record.content_sha256, reason="" if kind == "right" else "9 of 64 elements off")


@pytest.mark.parametrize(("kinds", "verdict", "reason"), [
    ({"a": "right", "b": "right"}, "right", ""), ({"a": "right", "b": "wrong"}, "wrong", "b is wrong"),
    ({"a": "not run", "b": "wrong"}, "wrong", "b is wrong"), ({"a": "right", "b": "not run"}, "not run", "b is not run"),
    ({"a": "right", "b": None}, "not run", "1 of its 2 kernels were not reached"), ({}, "not run", "it tunes no dispatch of this build")])
def test_a_record_is_as_right_as_its_worst_kernel(kinds, verdict, reason):
    found = verify_records.verified(RECORD, items(*kinds), Judged(**kinds), BUILD)
    assert (found.verdict, found.reason, found.kernels) == (verdict, reason, len(kinds))
    assert found.compiler == BUILD.compiler_version and found.content_sha256 == RECORD.content_sha256


def test_the_verdict_is_kept_in_the_record_and_read_back_strictly(tmp_path):
    toml_text.save(PORTED, tmp_path)
    said = verify_records.keep(tmp_path, {NAME: (PORTED, items("a"))}, Judged(a="right"), BUILD)
    assert said == [f"right    {NAME}: 1 kernels"]
    kept = records.read(tmp_path / f"{NAME}.toml")
    assert kept.verdict == "right" and kept.verified.largest_error == 0.1 and kept.verified.tool == "compile.verify on kit"
    values = document.to_dict(kept)
    with pytest.raises(ConfigError, match="unknown key 'speed'"):
        document.from_dict(records.TuningRecord, values | {"verified": values["verified"] | {"speed": 1}}, where="here")


def test_a_verdict_that_holds_is_not_replaced_by_not_run(tmp_path):
    held = replace(PORTED, verified=verdict_of(PORTED))
    toml_text.save(held, tmp_path)
    said, = verify_records.keep(tmp_path, {NAME: (held, items("a"))}, Judged(a=None), BUILD)
    assert "as verified on 2026-11-25" in said and records.read(tmp_path / f"{NAME}.toml") == held
    edited = replace(held, set=replace(held.set, workgroup_size=(128, 1, 1)))
    toml_text.save(edited, tmp_path)
    verify_records.keep(tmp_path, {NAME: (edited, items("a"))}, Judged(a=None), BUILD)
    assert records.read(tmp_path / f"{NAME}.toml").verdict == "not run"


@pytest.mark.parametrize("change", [{"set": replace(RECORD.set, subgroup_size=None)}, {"match": replace(RECORD.match, dims=(1, 2, 4))}])
def test_an_edit_voids_the_verdict_and_evidence_does_not(change):
    held = replace(PORTED, verified=verdict_of(PORTED))
    assert held.verdict == "right" and replace(held, source="elsewhere", date="2027-01-01").verdict == "right"
    assert replace(held, **change).verdict is None and PORTED.verdict is None


def test_a_record_written_again_keeps_what_was_verified_of_it(tmp_path):
    held = replace(PORTED, verified=verdict_of(PORTED))
    toml_text.save(held, tmp_path)
    path = toml_text.save(replace(PORTED, source="elsewhere"), tmp_path)
    assert records.read(path).verdict == "right" and records.read(path).source == "elsewhere"
    toml_text.save(replace(PORTED, set=replace(PORTED.set, workgroup_size=(128, 1, 1))), tmp_path)
    assert records.read(path).verified is None


def test_a_wrong_record_is_rendered_no_more(tmp_path):
    folder = tmp_path / "mi325x-cpx" / "model"
    toml_text.save(PORTED, folder)
    spec = render.render(folder)
    toml_text.save(replace(PORTED, verified=verdict_of(PORTED)), folder)
    assert render.render(folder) == spec  # a verdict changes no build
    toml_text.save(replace(PORTED, verified=verdict_of(PORTED, "wrong")), folder)
    with pytest.raises(ConfigError, match="computes wrong numbers .9 of 64 elements off"):
        render.render(folder)


def test_what_no_emulator_executed_is_listed(tmp_path, capsys):
    folder = tmp_path / "mi325x-cpx" / "model"
    toml_text.save(PORTED, folder)
    render.main([str(folder)])
    assert f"1 records, 0 verified; not verified: {NAME}" in capsys.readouterr().out
    toml_text.save(replace(PORTED, verified=verdict_of(PORTED)), folder)
    render.main([str(folder), "--check"])
    assert "1 records, 1 verified\n" in capsys.readouterr().out
    assert render._unverified((replace(PORTED, target="sm_80"),)) == ""


def test_a_build_of_other_records_says_nothing_of_these(tmp_path):
    folder, build = tmp_path / "mi325x-cpx" / "model", tmp_path / "build"
    toml_text.save(PORTED, folder)
    render.main([str(folder)])
    digest = document.digest(folder.parent / "model.mlir")
    for spec, words in ((None, "without a spec"), (Spec(path="s.mlir", sha256="2" * 64), "another state")):
        document.write(replace(BUILD, spec=spec), build / manifest.NAME)
        with pytest.raises(ConfigError, match=words):
            verify_records.read(folder, build, items("a"))
    document.write(replace(BUILD, spec=Spec(path="s.mlir", sha256=digest)), build / manifest.NAME)
    (record, tuned), = verify_records.read(folder, build, items("a", "b")).values()
    assert record == PORTED and [item.name for item in tuned] == ["a", "b"]
    toml_text.save(replace(PORTED, verified=replace(verdict_of(PORTED), verdict="wrong", reason="a judge's mistake")), folder)
    (record, _), = verify_records.read(folder, build, items("a")).values()
    assert record.verdict == "wrong", "no spec is rendered of it any more, and it must still be possible to judge it anew"


def test_what_was_not_run_is_tried_again(tmp_path, monkeypatch):
    run = []

    def verify(self: verify_build.Verifier, item: SimpleNamespace) -> verify_build.Verdict:
        run.append(item.name)
        kind = "not run" if len(run) == 1 else "right"
        return verify_build.Verdict(verification=replace(RIGHT, verdict=kind), seconds=1.0, coverage="", misaligned=0)

    monkeypatch.setattr(verify_build.Verifier, "judge", verify)
    for _ in range(3):
        verifier = verify_build.Verifier(tmp_path, tmp_path / verify_build.NAME, 2, 1)
        verifier.run([_named(item) for item in items("a")], 1, time.monotonic() + 9, lambda text: None)
    assert run == ["a", "a"]


def _named(item: SimpleNamespace) -> SimpleNamespace:
    item.dispatch.name, item.dispatch.flops = item.name, 0
    return item

"""First contact's parts: processes that hang or die, numbers of every element type, flow-level text, wheels, verdicts on records."""

from __future__ import annotations

import dataclasses
import math
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ireeperf import document
from ireeperf.errors import CompileError, ConfigError
from scripts.first_contact_parts import children, contents, findings, flow_text, ingest, planted, run, tensors, wheels
from scripts.first_contact_parts.findings import BatchTime, DispatchCheck, Findings
from specs import record, toml_text
from specs.match import Match

FLOW = """module @m attributes {stream.affinity.default = #hal.device.affinity<@__device_0>} {
  util.global private @__device_0 = #hal.device.target<"hip", [#hal.executable.target<"rocm">]> : !hal.device
  util.global private @w = #flow.parameter.named<"model"::"a.weight"> : tensor<4x3xf16>
  flow.executable private @d_0 {
    flow.executable.export public @d_0_matmul_4x3_f16
    builtin.module {
      %1 = arith.mulf %a, %b : f16
    }
  }
  flow.executable private @d_10 {
    flow.executable.export public @d_10_update
    builtin.module {
      %1 = arith.addf %a, %b : f16
    }
  }
  util.initializer {
    %0 = flow.dispatch @d_0::@d_0_matmul_4x3_f16(%w) : (tensor<4x3xf16>) -> tensor<3x4xf16>
  }
  util.func public @run$async(%arg0: !hal.buffer_view, %arg1: !hal.buffer_view, %arg2: !hal.fence, %arg3: !hal.fence) -> !hal.buffer_view {
    %x = hal.tensor.import wait(%arg2) => %arg0 : !hal.buffer_view -> tensor<4x3xf16>
    %1 = flow.dispatch @d_0::@d_0_matmul_4x3_f16(%x) : (tensor<4x3xf16>) -> tensor<3x4xf16>
    %2:2 = flow.dispatch @d_10::@d_10_update(%1, %x) : (tensor<3x4xf16>, tensor<4x3xf16>) -> (%1, %x as tensor<12xf16>)
    %3 = flow.dispatch @d_11::@d_11_dynamic[%n](%1) : (tensor<3x4xf16>) -> tensor<3x4xf16>
    %4 = flow.dispatch @d_12::@d_12_packed(%1) : (tensor<3x4xf16, #encoding<a>>) -> tensor<3x4xf16>
  }
  util.func public @run(%arg0: !hal.buffer_view, %arg1: !hal.buffer_view) -> !hal.buffer_view {
    util.return %arg0 : !hal.buffer_view
  }
}
{-# dialect_resources: {} #-}
"""


def test_flow_level_text_is_read():
    found = flow_text.dispatches(FLOW)
    matmul, update = found.dispatches
    assert (matmul.label, matmul.operands, matmul.results, matmul.tied) == ("d_0::d_0_matmul_4x3_f16", ("tensor<4x3xf16>",), ("tensor<3x4xf16>",), (None,))
    assert (update.results, update.tied) == (("tensor<3x4xf16>", "tensor<12xf16>"), (0, 1))
    assert found.calls[matmul.label] == {"initializer": 1, "run": 1} and found.calls[update.label] == {"run": 1}
    assert set(found.unprobed) == {"d_11::d_11_dynamic", "d_12::d_12_packed"} and "dynamic" in found.unprobed["d_11::d_11_dynamic"]
    assert flow_text.entry_points(FLOW) == {"run": ["tensor<4x3xf16>", flow_text.UNREAD]}
    assert flow_text.parameters(FLOW) == [("model", "a.weight", "tensor<4x3xf16>")]
    with pytest.raises(CompileError, match="cannot read"):
        flow_text.dispatches("    %1 = flow.dispatch @a::@b something new")


def test_probes_call_each_dispatch_once_and_keep_its_ties():
    text = flow_text.probes(FLOW, flow_text.dispatches(FLOW))
    assert text.count("util.func public @probe_") == 2 and "util.initializer" not in text and "#flow.parameter" not in text
    assert "-> (%i0, %i1 as tensor<12xf16>)" in text and text.rstrip().endswith("#-}")
    other = flow_text.with_device(text, "  util.global private @__device_0 = CPU")
    assert "rocm" not in other and other.count("@__device_0 =") == 1


def test_a_defect_changes_one_dispatch():
    changed = planted.plant(FLOW, "d_0_matmul")
    assert changed != FLOW and changed.count("arith.addf") == 2
    assert planted.plant(FLOW, "d_1") == FLOW  # d_10 is another
    with pytest.raises(ConfigError, match="no float arithmetic"):
        planted.plant(FLOW.replace("arith.mulf", "arith.muli"), "d_0_matmul")


def test_numbers_of_every_type():
    assert tensors.numbers(np.array([0x3F80, 0xC000], np.uint16), "bf16").tolist() == [1.0, -2.0]
    assert tensors.numbers(np.array([0x38, 0x7E, 0x01, 0xB8], np.uint8), "f8E4M3FN").tolist() == [1.0, 448.0, 2.0**-9, -1.0]  # OCP's table
    assert tensors.numbers(np.array([0x40, 0x7F], np.uint8), "f8E4M3FNUZ").tolist() == [1.0, 240.0]
    assert tensors.numbers(np.array([0x3C, 0x7B], np.uint8), "f8E5M2").tolist() == [1.0, 57344.0]
    assert math.isnan(tensors.numbers(np.array([0x80], np.uint8), "f8E5M2FNUZ")[0])
    assert tensors.numbers(np.array([-1], np.int8), "i8").tolist() == [255.0]  # an image's byte


def test_difference():
    one = np.array([3.0, 4.0], np.float32)
    assert tensors.difference(one, one, "f32") == (0.0, 0.0)
    error, gap = tensors.difference(np.array([3.0, 4.5], np.float32), one, "f32")
    assert (round(error, 6), gap) == (0.1, 0.5)
    assert tensors.difference(np.array([np.nan, 4.0], np.float32), one, "f32")[0] == math.inf
    assert tensors.difference(one, np.zeros(2, np.float32), "f32")[0] == math.inf
    both = np.array([np.inf, 4.0], np.float32)
    assert tensors.difference(both, both, "f32") == (0.0, 0.0)
    assert tensors.tolerance(["tensor<4xf32>", "tensor<4xf16>"]) == 1e-2 and tensors.tolerance(["tensor<i64>", "tensor<2xf32>"]) == 1e-4


@pytest.mark.parametrize("element", sorted(tensors.CARRIERS))
def test_seeded_values_are_the_same_everywhere_and_finite(element):
    kind = f"tensor<8x5x{element}>"
    first = tensors.seeded(kind, "a")
    assert first.shape == (8, 5) and np.isfinite(tensors.numbers(first, element)).all()
    assert (first == tensors.seeded(kind, "a")).all() and tensors.of(f"tensor<{element}>") == ((), element)
    assert tensors.parameter("norm.weight", kind).dtype == first.dtype


def stage(tmp_path: Path, body: str) -> Path:
    """A code folder whose stage does `body`, with `say(object)`."""
    folder = tmp_path / "scripts/first_contact_parts"
    folder.mkdir(parents=True)
    (folder / "stage.py").write_text(
        "import json, os, signal, sys, time\nwords = sys.argv\nlines = open(words[words.index('--lines') + 1], 'a')\n"
        "def say(found):\n    lines.write(json.dumps(found) + '\\n'); lines.flush()\n" + body)
    return tmp_path


@pytest.mark.parametrize(("body", "outcome", "cause"), [
    ("say({'begin': 3}); time.sleep(60)", "hung", "no word for 2 s"),
    ("for i in range(600): say({'begin': i}); time.sleep(0.1)", "hung", "not done in 4 s"),
    ("say({'begin': 3}); print('in a kernel', flush=True); os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "SIGSEGV; it last printed: in a kernel"),
    ("say({'begin': 3}); say({'error': 'RuntimeError: bad'}); sys.exit(2)", "failed", "RuntimeError: bad"),
    ("sys.exit(7)", "failed", "exit code 7; it printed nothing"),
])
def test_a_child_that_does_not_end_well(tmp_path, body, outcome, cause):
    ended = children.run([], root=stage(tmp_path, body), site=tmp_path / "none", log=tmp_path / "logs/a.log", seconds=4, quiet=2)
    assert ended.outcome == outcome and cause in ended.cause and ended.seconds < 30
    if "'begin': 3" in body:
        assert ended.begun == 3


def unit(count: int) -> contents.Unit:
    dispatches = tuple(contents.Dispatch(label=f"e::d_{i}_matmul", operands=(), results=(), calls={"run_forward": i + 1}) for i in range(count))
    return contents.Unit(name="unet_bs2", module="scheduled_unet", batch_size=2, entry_points={"run_forward": ()}, executable="", probes="", repeated="",
                         baseline=None, baseline_repeated=None, reference="", reference_probes="", parameters=None, scope="model",
                         random_parameters=(), dispatches=dispatches, unprobed={}, digests={})


def test_a_dispatch_that_kills_or_hangs_its_process_is_named_and_the_rest_goes_on(tmp_path, monkeypatch):
    code = stage(tmp_path / "code", """
stage, first = words[words.index('--stage') + 1], int(words[words.index('--first') + 1]) if '--first' in words else 0
if stage == 'machine': say({'machine': {'devices': [{'uri': 'hip://0'}]}})
if stage == 'alone':
    for i in range(first, 6): say({'dispatch': i, 'inputs': 'reference'})
if stage == 'check':
    for i in range(first, 6):
        say({'begin': i})
        if i == 1: os.kill(os.getpid(), signal.SIGSEGV)
        say({'dispatch': i, 'tolerance': 1e-4, 'relative_error': 0.5 if i == 3 else 1e-6, 'greatest_difference': 1.0})
        if i == 4: time.sleep(60)
        say({'timed': i, 'microseconds': 5.0, 'call_microseconds': 9.0, 'runs': 5})
""")
    monkeypatch.setattr(run, "CODE", code)
    monkeypatch.setattr(run, "QUIET", dict.fromkeys(run.QUIET, 2.0))
    monkeypatch.setattr(wheels, "unpack", lambda *_: [])
    archive = contents.Contents(created_utc="", key="", model_json="", model="", checkpoint="", target="gfx942", driver="hip", compiler_version="",
                                num_inference_steps=1, guidance_scale=1.0, repeats=8, reference_target="", spec=None, planted=None, units=(unit(6),))
    document.write(archive, tmp_path / contents.NAME)
    found = run.Run(tmp_path, tmp_path / "out.json", tmp_path / "scratch", 60, print).all(None)
    assert [one.outcome for one in found.dispatches] == ["ok", "crashed", "ok", "wrong", "hung", "ok"]
    assert "SIGSEGV" in found.dispatches[1].cause and found.dispatches[4].relative_error == 1e-6
    assert [one.name for one in found.culprits] == ["d_1_matmul", "d_3_matmul", "d_4_matmul"]
    assert findings.read(tmp_path / "out.json") == found and found.device == "hip://0"


def test_wheels_are_chosen_by_their_tags(tmp_path):
    ours = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert wheels.fits(Path(f"numpy-2.4.6-{ours}-{ours}-manylinux_2_28_x86_64.whl")) and wheels.fits(Path("a-1-py3-none-any.whl"))
    assert wheels.fits(Path("iree_base_runtime-3.13.0-cp39-abi3-manylinux_2_28_x86_64.whl"))
    assert not wheels.fits(Path("numpy-2.4.6-cp39-cp39-manylinux_2_28_x86_64.whl")) and not wheels.fits(Path(f"numpy-2-{ours}-{ours}t-any.whl"))
    assert not wheels.fits(Path("iree_base_runtime-3.13.0-cp399-abi3-any.whl")) and not wheels.fits(Path("notes.txt"))


def test_a_wheel_brings_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "NEEDED", {"first_contact_needs_this": "needed"})
    with pytest.raises(ConfigError, match="no wheel of it"):
        wheels.unpack(tmp_path / "wheels", tmp_path / "site")
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels/needed-1-py3-none-any.whl", "w") as file:
        file.writestr("first_contact_needs_this.py", "")
    assert wheels.unpack(tmp_path / "wheels", tmp_path / "site") == ["needed-1-py3-none-any.whl"]
    assert wheels.unpack(tmp_path / "wheels", tmp_path / "site") == []  # there now


def check(name: str, **values: object) -> DispatchCheck:
    return DispatchCheck(**{"unit": "unet_bs2", "label": f"e::run_forward$async_dispatch_{name}", "outcome": "ok", "calls": {"run_forward": 4},  # type: ignore[arg-type]
                            "relative_error": 1e-5, "microseconds": 50.0, "baseline_microseconds": 80.0, "runs": 20} | values)


def some(*dispatches: DispatchCheck) -> Findings:
    return Findings(started_utc="2026-11-24T03:00:00+00:00", budget_seconds=1800, seconds=60, complete=True, evidence="measured",
                    machine={"devices": [{"uri": "hip://0", "name": "AMD Instinct MI325X"}],
                             "cards": [{"card": "card0", "current_compute_partition": "CPX", "current_memory_partition": "NPS1"}]},
                    contents={"compiler_version": "3.13.0", "target": "gfx942", "planted": None}, device="hip://0", stages=(), dispatches=dispatches,
                    entry_points=(), devices=(), batches=(BatchTime(batch_size=2, device="hip://0", seconds=6.8, fastest_seconds=6.7, spread=0.01,
                                                                    runs=5, steps=20),))


def matmul(size: int, folder: Path) -> str:
    """A record of a square matmul, in `folder`; its name."""
    over = "(d0, d1, d2) -> "
    one = record.TuningRecord(
        target="gfx942", evidence="ported", source="a test", compiler="3.12.0", date="2025-01-01",
        match=Match(kind="contraction", types=("f16", "f16", "f32"), dims=(size,) * 3, maps=(f"{over}(d0, d2)", f"{over}(d2, d1)", f"{over}(d0, d1)")),
        set=record.Setting(pipeline="TileAndFuse", lowering_config={"workgroup": [64, 64, 0]}, workgroup_size=(256, 1, 1), subgroup_size=64))
    folder.mkdir(exist_ok=True)
    toml_text.save(one, folder)
    return one.name


def test_records_are_judged_by_the_machine(tmp_path):
    sizes = {"faster": 64, "slower": 32, "wrong": 8, "absent": 1, "untimed": 16}
    names = {file: matmul(size, tmp_path / "in") for file, size in sizes.items()}
    shape = {file: f"matmul_like_{size}x{size}x{size}_f16xf16xf32" for file, size in sizes.items()}
    found = some(check(f"1_{shape['faster']}"), check(f"2_{shape['slower']}", microseconds=90.0),
                 check(f"3_{shape['wrong']}", outcome="wrong", cause="departs"), check(f"4_{shape['untimed']}", baseline_microseconds=None))
    verdicts = {one.path.stem: one for one in ingest.verified(found, sorted((tmp_path / "in").glob("*.toml")))}
    assert {name for name, one in verdicts.items() if one.measured} == {names["faster"]}
    for name, word in (("faster", "80.00 us without"), ("slower", "not faster"), ("wrong", "departs"), ("absent", "no dispatch"), ("untimed", "--td-spec")):
        assert word in verdicts[names[name]].words
    document.write(found, tmp_path / "found.json")
    written = ingest.ingest(tmp_path / "found.json", tmp_path / "out", tmp_path / "in")
    assert written["records"] == {f"{names[file]}.toml": file == "faster" for file in names} and not written["service_times"]
    proven = record.read(tmp_path / f"out/records/{names['faster']}.toml")
    assert (proven.evidence, proven.baseline_us, proven.tuned_us, proven.runs, proven.date) == ("measured", 80.0, 50.0, 20, "2026-11-24")
    assert proven.machine == "AMD Instinct MI325X, CPX/NPS1" and proven.set.lowering_config == {"workgroup": [64, 64, 0]}
    with pytest.raises(ConfigError, match="no tuning record"):
        ingest.ingest(tmp_path / "found.json", tmp_path / "out", tmp_path / "out/nothing")


def test_a_wrong_entry_point_is_no_service_time():
    found = some(check("1_matmul_64x64"))
    assert ingest.refusal(found) == "" and ingest.service_times(found, "f.json").of(2) == 6.8
    assert "AMD Instinct MI325X" in ingest.service_times(found, "f.json").device
    entry = findings.EntryPointCheck(unit="unet_bs2", module="scheduled_unet", batch_size=2, entry_point="run_forward", outcome="hung", cause="no word")
    assert "run_forward" in ingest.refusal(dataclasses.replace(found, entry_points=(entry,)))

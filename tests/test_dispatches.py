"""compile.dispatches: a report built from dumps, its table, page and comparison."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from compile import default_twin, dispatches, kernel_figures, match_report, match_summary, memory_plan, reporting, target
from compile.compiler import Task, compile_all
from compile.flags import flags
from compile.manifest import NAME, Executable, Manifest
from ireeperf import document
from ireeperf.errors import CompileError, ConfigError
from scripts import dispatch_tables
from tests.test_contracts import BUILD
from tests.test_dispatch_ir import matmul
from tests.test_record_check import record
from tests.test_roofline import ENTRY, KERNEL

TABLES = dispatch_tables.ROOT / "docs" / "dispatches"
STREAM = """  util.func public @run_initialize$async(%arg0: !hal.buffer_view) {
      stream.cmd.dispatch @a::@main_dispatch_0 {
  }
  util.func public @run_forward$async(%arg0: !hal.buffer_view) {
      stream.cmd.dispatch @a::@main_dispatch_0 {
      stream.cmd.dispatch @b::@main_dispatch_1 {
  }
"""


def build(folder: Path, *, matrix: bool = True, tuned_by: str = "", workgroup: str = "[4, 16, 0]") -> Manifest:
    """A build of one UNet with two dispatches, as precompile leaves it."""
    folder.mkdir()
    kernels = [KERNEL.format(name=name, more="") for name in ("main_dispatch_0", "main_dispatch_1")]
    text = "".join(kernels) if matrix else "".join(kernels).replace("v_mfma", "v_fma")
    text += "---\namdhsa.kernels:\n" + "".join(ENTRY.format(name=f"main_dispatch_{i}", vgprs=64, agprs=0) for i in (0, 1))
    with zipfile.ZipFile(folder / "unet.dispatches.zip", "w") as archive:
        archive.writestr("configured/main_dispatch_0.mlir", matmul(tuned_by=tuned_by, workgroup=workgroup))
        archive.writestr("configured/main_dispatch_1.mlir", matmul(name="main_dispatch_1", combine="addf"))
        archive.writestr("assembly/linked.rocmasm", text)
        archive.writestr("stream.mlir", STREAM)
    unet = Executable(module="scheduled_unet", module_name="compiled_spunet", entry_points=("run_initialize", "run_forward"), batch_size=2,
                      path="unet.vmfb", sha256="0" * 64, command="u.sh", seconds=1.0, dispatches="unet.dispatches.zip")
    made = dataclasses.replace(BUILD, target="mi325x-cpx", driver="hip", executables=(unet,), parameter_archives=())
    document.write(made, folder / NAME)
    return made


def test_a_report_counts_steps_and_evidence(tmp_path):
    made = build(tmp_path / "b", tuned_by=record().name)
    report = reporting.write_report(tmp_path / "b", made, [record()])
    assert match_report.read(tmp_path / "b" / match_report.NAME) == report
    first, second = report.dispatches
    assert (first.kind, first.evidence, first.record) == ("contraction", "ported", record().name) and second.kind == "reduction"
    assert first.static is not None and first.static.matrix_instructions == 2 and first.static.workgroups == 1
    steps = made.model.num_inference_steps
    summary = match_summary.summarize(report, made, 2)
    assert summary.launches == 1 + 2 * steps and summary.flops == 1024 * (1 + 2 * steps)
    assert summary.flops_by_class["ported"] == 1024 * (1 + steps) and summary.flops_by_class["default"] == 1024 * steps
    assert summary.measured_seconds == 6.86 and len(summary.spilling) == 2 and summary.without_matrix == ()


def test_matrix_operations_without_matrix_instructions_are_listed(tmp_path):
    made = build(tmp_path / "b", matrix=False)
    report, _ = reporting.build_report(tmp_path / "b", made, ())
    summary = match_summary.summarize(report, made, 2)
    assert [one.dispatch for one in summary.without_matrix] == ["main_dispatch_0"] and summary.without_matrix_share > 0.5


def test_a_record_that_was_not_applied_fails_the_build(tmp_path):
    made = build(tmp_path / "b")
    with pytest.raises(CompileError, match=r"1 of 1 tuning records were not applied:\n.*dims\[0\] \(m\) 5 in the record, 4 in the dispatch"):
        reporting.write_report(tmp_path / "b", made, [record(dims=(5, 16, 8))])
    assert not (tmp_path / "b" / match_report.NAME).exists()


@pytest.mark.parametrize(("spills", "counts"), [(0, True), (94, False)])
def test_a_static_record_counts_by_what_it_gains_over_the_default(tmp_path, monkeypatch, spills, counts):
    static = dataclasses.replace(record(), evidence="static", static={"vgpr_spills": "94 -> 0"})
    made = build(tmp_path / "b", tuned_by=static.name)
    rows = reporting.build_report(tmp_path / "b", made, [static])[0].dispatches

    def twin(one, zip_path, chosen):
        assert zip_path == tmp_path / "b" / "unet.dispatches.zip" and chosen.name == "mi325x-cpx"
        return dataclasses.replace(one, configuration="the default", static=dataclasses.replace(one.static, vgpr_spills=94, occupancy=1.0))

    monkeypatch.setattr(default_twin, "twin", twin)
    assert rows[0].gains is None and rows[0].static.vgpr_spills == 4
    monkeypatch.setattr(kernel_figures, "static_figures", lambda *_: dataclasses.replace(rows[0].static, vgpr_spills=spills, occupancy=1.0))
    report = reporting.write_report(tmp_path / "b", made, [static])
    summary = match_summary.summarize(report, made, 2)
    assert report.dispatches[0].gains == ({"vgpr_spills": "94 -> 0"} if counts else {}) and report.dispatches[1].gains is None
    assert (summary.flops_by_class["static"] > 0) is counts and sum(summary.flops_by_class.values()) == summary.flops
    told = next(line for line in dispatches.lines(summary) if static.name in line)
    assert ("improves vgpr_spills 94 -> 0" in told) is counts and ("does not count" in told) is not counts


@pytest.mark.slow  # two compiles
def test_the_default_twin_is_compiled_from_the_dump(tmp_path):
    chosen = target.find("gfx942")
    (tmp_path / "m.mlir").write_text("""func.func @main(%a: tensor<512x256xf16>, %b: tensor<512x256xf16>) -> tensor<512x512xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<512x512xf32>
  %fill = linalg.fill ins(%zero : f32) outs(%empty : tensor<512x512xf32>) -> tensor<512x512xf32>
  %out = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
    ins(%a, %b : tensor<512x256xf16>, tensor<512x256xf16>) outs(%fill : tensor<512x512xf32>) -> tensor<512x512xf32>
  return %out : tensor<512x512xf32>
}""")
    task = Task(label="m", mlir=tmp_path / "m.mlir", flags=tuple(flags(chosen, None)), folder=tmp_path / "m", name="m", log=tmp_path / "log",
                dispatches=True)
    [(done, _)] = compile_all([task], 1)
    executable = dataclasses.replace(BUILD.executables[0], path="m.vmfb", dispatches="m.dispatches.zip")
    made = dataclasses.replace(BUILD, target="gfx942", driver="hip", executables=(executable,), parameter_archives=())
    [row] = reporting.build_report(done.folder, made, ())[0].dispatches
    found = default_twin.twin(dataclasses.replace(row, configuration="another", static=None, evidence="static"), done.folder / "m.dispatches.zip", chosen)
    assert found.static == row.static and found.configuration == row.configuration and found.static.matrix_instructions > 0


def test_the_command_shows_and_compares(tmp_path, monkeypatch, capsys):
    build(tmp_path / "b")
    build(tmp_path / "c", workgroup="[2, 16, 0]")
    page = tmp_path / "page.html"
    monkeypatch.setattr("sys.argv", ["dispatches", str(tmp_path / "b"), "--html", str(page), "--against", str(tmp_path / "c" / NAME)])
    assert dispatches.main() == 0
    shown = capsys.readouterr().out
    last = json.loads(shown.splitlines()[-1])
    assert last["differ"] == 1 and last["dispatches"] == 2
    assert "workgroups 1 fill 0.03" in shown and "workgroups 2 fill 0.05" in shown and "kernels that spill: 2" in shown
    assert "contraction_m4_n16_k8_f16xf16xf32" in page.read_text() and "http" not in page.read_text()


def test_tables_hold_what_the_report_says(tmp_path):
    build(tmp_path / "b")
    document.write(memory_plan.plan("mi325x-cpx", [memory_plan.Resident(module="scheduled_unet", batch_size=2, weight_bytes=2**30,
                                                                        transient_bytes=2**20)]), tmp_path / "b" / memory_plan.NAME)
    name, text = dispatch_tables.markdown(tmp_path / "b")
    assert name == "m-mi325x-cpx.md" and "| contraction | 1 | 21 | 0.00 |" in text and "| unet.vmfb | 2 | 1.0 | 1 | 1 |" in text
    assert "Memory: 1.0 of 29.8 GiB" in text and "f16 51.22 % of FLOPs (1 dispatches)" in text


def test_the_overview_has_a_row_a_build_and_keeps_the_others(tmp_path):
    build(tmp_path / "b")
    row = dispatch_tables.overview_row(tmp_path / "b")
    assert row.startswith("| [m mi325x-cpx](dispatches/m-mi325x-cpx.md) | 0 | FP16 1, 51.2 % | 0, 0.000 % | 2 |") and row.endswith("| 1 |")
    here, other = row.replace("[m ", "[amd_bs2 "), row.replace("[m ", "[fp8_bs32 ")
    text = "before\n\n" + "\n".join([*dispatch_tables.rows(dispatch_tables.OVERVIEW_COLUMNS, []), other, here]) + "\n\nafter\n"
    assert dispatch_tables.with_rows(text, [here]) == text.replace(f"{other}\n{here}", f"{here}\n{other}")
    newer = here.replace("| 2 |", "| 0 |")
    assert dispatch_tables.with_rows(text, [newer]).count("amd_bs2 mi325x-cpx](") == 1 and newer in dispatch_tables.with_rows(text, [newer])
    with pytest.raises(ConfigError, match="has no table"):
        dispatch_tables.with_rows("before\n", [here])


def test_every_tracked_table_has_its_row_and_every_row_its_table():
    named = set(re.findall(r"\]\(dispatches/(\S+\.md)\) \|", dispatch_tables.OVERVIEW.read_text()))
    assert named == {path.name for path in TABLES.glob("*.md")}


def shape(text):
    """Of a table file: its headings, the heads of its tables, and how its lines of the summary begin."""
    lines = text.splitlines()
    heads = [line for line, rule in pairwise(lines) if rule.startswith("|---")]
    return [line for line in lines if line.startswith("## ")], heads, {" ".join(line.split()[1:3]) for line in lines if line.startswith("- ")}


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.md")), ids=lambda path: path.stem)
def test_tracked_tables_are_as_the_script_writes_them(tmp_path, path):
    build(tmp_path / "b")
    headings, heads, openings = shape(dispatch_tables.markdown(tmp_path / "b")[1])
    text = path.read_text()
    found = shape(text)
    assert found[:2] == (headings, heads), "run scripts/dispatch_tables.py again"
    config, name = re.fullmatch(r"# Dispatches of (\w+) on (\S+)", text.splitlines()[0]).groups()
    assert path.stem == f"{config}-{name}" and (dispatch_tables.ROOT / "export/configs" / f"{config}.json").is_file()
    assert not (openings if target.find(name).chip else openings - {"fill of", "roofline sum:"}) - found[2]
    assert {line.count(" | ") for line in text.splitlines() if line.startswith("| ")} == {head.count(" | ") for head in heads}
    assert len(text) < 150_000


def test_a_table_of_another_format_is_told_from_the_scripts(tmp_path):
    build(tmp_path / "b")
    text = dispatch_tables.markdown(tmp_path / "b")[1]
    for old, new in (("| workgroups |", "| groups |"), ("## By kind", "## Kinds"), ("- fill of", "- the fill")):
        assert old in text and shape(text.replace(old, new)) != shape(text)

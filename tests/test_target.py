"""Targets and their flags: which is chosen, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from compile.flags import flags
from compile.target import TARGETS, choose, find, set_chip, spec_target
from ireeperf.errors import CompileError, ConfigError
from runtime.partition import PRESETS


def spec(folder: Path, name: str, text: str = "module {}") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_an_unknown_target_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError, match=r"'mi325x-dpx' is unknown; known are cpu, cpu-avx2, cpu-avx512, gfx942, gfx950, mi325x-cpx, .*, sm_80, sm_89"):
        find("mi325x-dpx")


def test_every_partition_preset_is_a_target_of_its_architecture() -> None:
    assert set(PRESETS) <= set(TARGETS)
    for name, gfx in (("mi325x-cpx", "gfx942"), ("mi325x-spx", "gfx942"), ("mi355x-cpx", "gfx950"), ("mi355x-spx", "gfx950")):
        assert (find(name).architecture, find(name).driver) == (gfx, "hip")
        assert [f"--iree-rocm-target={name[:6]}" if flag == f"--iree-rocm-target={gfx}" else flag for flag in flags(find(gfx), None)] == flags(
            find(name), None)


def test_a_partition_has_its_share_of_the_gpu() -> None:
    cpx, spx = find("mi325x-cpx").chip, find("mi325x-spx").chip
    assert cpx is not None and spx is not None and find("gfx942").chip is None
    assert (cpx.compute_units, spx.compute_units, cpx.memory_bytes) == (38, 304, 32 * 10**9)
    assert cpx.bandwidth_tbps * 8 == spx.bandwidth_tbps and cpx.tflops["fp16"] * 8 == pytest.approx(spx.tflops["fp16"])
    assert find("mi355x-cpx").chip.compute_units == 32  # type: ignore[union-attr]


def test_the_chip_is_set_in_the_text_and_a_text_without_one_is_refused() -> None:
    chip = find("mi325x-cpx").chip
    assert chip is not None
    text = 'target<arch = "gfx942", chip = <wgp_count = 304, sku = "mi325x", perf_tflops = {fp16 = 1.0 : f32}>>, ukernels = "none"'
    assert set_chip(text, chip) == f'target<arch = "gfx942", {chip.attribute}>, ukernels = "none"'
    assert "wgp_count = 38" in chip.attribute
    with pytest.raises(CompileError, match="states no chip for mi325x"):
        set_chip('target<arch = "gfx942">', chip)


def test_a_spec_of_the_architecture_fits_every_partition_of_it(tmp_path: Path) -> None:
    amd = spec(tmp_path, "attention_and_matmul_spec_gfx942_MI325.mlir")
    assert choose("mi325x-cpx", amd, None).name == "mi325x-cpx"
    assert choose(None, amd, "gfx942").name == "gfx942"
    with pytest.raises(ConfigError, match=r"for gfx942 by its name, --target says mi355x-cpx"):
        choose("mi355x-cpx", amd, None)


@pytest.mark.parametrize("name", TARGETS)
def test_executables_for_gpus_take_fences(name: str) -> None:
    assert ("--iree-execution-model=async-external" in flags(TARGETS[name], None)) == (TARGETS[name].backend != "cpu")


@pytest.mark.parametrize(("name", "stated"), [
    ("attention_and_matmul_spec_gfx942_MI325_bs32.mlir", "gfx942"),  # AMD's own names
    ("attention_and_matmul_spec_gfx942_MI325.mlir", "gfx942"),
    ("spec_MI355X.mlir", "gfx950"), ("gfx950.mlir", "gfx950"), ("sm_80/matmul.mlir", "sm_80"), ("cpu-avx512/x.mlir", "cpu-avx512"),
    ("matmul.mlir", None), ("cpus.mlir", None),
])
def test_a_spec_states_its_target_by_name_or_folder(tmp_path: Path, name: str, stated: str | None) -> None:
    assert spec_target(spec(tmp_path / "specs", name)) == stated


def test_a_spec_that_states_two_targets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="several targets: gfx942, gfx950"):
        spec_target(spec(tmp_path, "gfx942_MI355.mlir"))


def test_the_command_line_wins_over_the_config_and_the_spec_stands_in_for_both(tmp_path: Path) -> None:
    amd = spec(tmp_path, "spec_gfx942.mlir")
    assert choose("gfx950", None, "cpu").name == "gfx950"
    assert choose(None, None, "cpu").name == "cpu"
    assert choose(None, amd, None).name == "gfx942"
    assert choose("gfx942", amd, None).name == "gfx942"


def test_no_target_anywhere_is_an_error() -> None:
    with pytest.raises(ConfigError, match="give --target, one of cpu, "):
        choose(None, None, None)


@pytest.mark.parametrize(("given", "configured"), [("cpu", None), (None, "cpu"), ("gfx950", "gfx942")])
def test_a_spec_for_another_target_is_refused(tmp_path: Path, given: str | None, configured: str | None) -> None:
    with pytest.raises(ConfigError, match=r"spec_gfx942.mlir is for gfx942 by its name, .* says (cpu|gfx950); give"):
        choose(given, spec(tmp_path, "spec_gfx942.mlir"), configured)


def test_a_spec_without_a_name_is_judged_by_its_instructions(tmp_path: Path) -> None:
    amd = spec(tmp_path, "matmul.mlir", "mma_kind = #iree_gpu.mma_layout<MFMA_F32_32x32x8_F16>")
    with pytest.raises(ConfigError, match=r"sets hip instructions, --target says cpu"):
        choose("cpu", amd, None)
    assert choose("gfx942", amd, None).name == "gfx942"


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_its_backend_and_architecture_in_the_flags(name: str) -> None:
    target = TARGETS[name]
    text = " ".join(flags(target, None))
    assert {"cpu": "llvm-cpu", "hip": "device=hip", "cuda": "device=cuda"}[target.backend] in text
    assert f"={target.chip.sku if target.chip else target.architecture}" in text
    assert ("--iree-llvmgpu-use-direct-load=false" in text) == (target.architecture == "gfx950")


def test_cuda_takes_the_spec_by_the_flag_that_applies_it(tmp_path: Path) -> None:
    assert flags(TARGETS["sm_80"], tmp_path / "s.mlir")[-1].startswith("--iree-codegen-transform-dialect-library=")
    assert flags(TARGETS["gfx942"], tmp_path / "s.mlir")[-1].startswith("--iree-codegen-tuning-spec-path=")

"""The benchmark's own arithmetic: turns that rotate, ratios with the right side up. The figures come from ./scripts/bench."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compile.cache import ROOT
from scripts import bench_sdxl_cpu as bench
from scripts import bench_turns


def test_contestants_take_turns_and_each_runs_once_a_round() -> None:
    calls: list[str] = []

    def contestant(name: str) -> np.ndarray:
        calls.append(name)
        return np.zeros(1)

    names = ("iree", "eager", "compile")
    times = bench_turns.measure({name: lambda name=name: contestant(name) for name in names}, 4)  # type: ignore[misc]
    assert all(len(times[name][kind]) == 4 for name in names for kind in ("wall", "cpu"))
    rounds = [calls[i:i + 3] for i in range(9, len(calls), 3)]  # after three calls each to warm up
    assert rounds == [["iree", "eager", "compile"], ["eager", "compile", "iree"], ["compile", "iree", "eager"], ["iree", "eager", "compile"]]


def test_a_ratio_above_one_means_iree_is_faster() -> None:
    times = {"iree": {"wall": [1.0, 2.0, 1.0], "cpu": [2.0, 2.0, 2.0]}, "eager": {"wall": [3.0, 6.0, 2.0], "cpu": [5.0, 5.0, 5.0]}}
    result = bench_turns.ratios(times)
    assert (result["ratio_eager"], result["ratio_eager_cpu"]) == (3.0, 2.5)
    assert (result["iree_wall_ms"], result["eager_cpu_ms"]) == (1000.0, 5000.0)


def test_intervals_go_pair_by_pair_and_the_spec_is_set_beside_both() -> None:
    times = {name: {"wall": [factor * at for at in (1.0, 9.0, 2.0)], "cpu": [1.0, 1.0, 1.0]}
             for name, factor in (("o3", 3.0), ("iree", 2.0), ("spec", 1.0), ("eager", 4.0))}
    found = bench.intervals(times)
    assert found["o3_over_iree_wall"] == {"median": 1.5, "low": 1.5, "high": 1.5} and found["o3_over_spec_wall"]["median"] == 3.0
    assert found["iree_over_spec_wall"]["median"] == 2.0 and found["eager_over_iree_cpu"]["low"] == 1.0
    assert "spec_over_iree_wall" not in found


def test_contestants_differ_in_their_flags_only_where_they_say(tmp_path: Path) -> None:
    (tmp_path / "cpu.mlir").write_text("module {}")  # a step without convolutions, and a spec without records
    found = bench.variants(bench.parse(["--td-spec", "none", "--flag=--x"]), tmp_path / "cpu.mlir")
    assert list(found) == ["o3", "iree"] and set(found["o3"]) < set(found["iree"])
    more = sorted(flag.split("=")[0] for flag in set(found["iree"]) - set(found["o3"]))
    assert more == ["--iree-global-opt-data-tiling", "--iree-preprocessing-pass-pipeline"]
    spec = bench.variants(bench.parse(["--td-spec", str(tmp_path / "cpu.mlir")]), tmp_path / "cpu.mlir")
    assert set(spec["iree"]) < set(spec["spec"]) and f"--iree-codegen-tuning-spec-path={(tmp_path / 'cpu.mlir').resolve()}" in spec["spec"]


def test_defaults_are_the_ones_the_issue_asks_for() -> None:
    settings = bench.parse([])
    assert settings.pairs >= 31 and settings.model == ("sdxl-nano", "50m") and settings.dtype == "float32"


def test_an_unknown_benchmark_is_refused() -> None:
    done = subprocess.run([sys.executable, "scripts/bench", "sdxl-tpu"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "sdxl-cpu" in done.stderr


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_fixed_config_has_50_million_parameters() -> None:
    from export import torch_setup

    torch_setup.prepare()
    torch = pytest.importorskip("torch")
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**bench.FIFTY_MILLION)
    assert sum(p.numel() for p in unet.parameters()) == 50_438_916

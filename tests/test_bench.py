"""The benchmark's own arithmetic: turns that rotate, ratios with the right side up. The figures come from ./scripts/bench."""

from __future__ import annotations

import subprocess
import sys

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


def test_defaults_are_the_ones_the_issue_asks_for() -> None:
    settings = bench.parse([])
    assert settings.pairs >= 15 and settings.model == ("sdxl-nano", "50m") and settings.dtype == "float32"


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

"""./scripts/bench host and soak: they run, say what they promise, and reckon right. No figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.run_result import BatchEvent
from ireeperf.errors import ConfigError, RunError
from runtime.batch import Batch, Sample
from scripts import bench_host, bench_host_runs
from scripts.bench_host_amd import convert
from scripts.bench_host_engines import StoredEngine, half_images

ROOT = Path(__file__).resolve().parents[1]


def bench(*argv: str, code: int = 0) -> dict[str, object]:
    done = subprocess.run([sys.executable, "scripts/bench", *argv], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def expected(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images.astype(np.float32) * 255), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def test_the_model_of_amds_path_converts_right() -> None:
    image = half_images(1, 24)[0]
    pixels = convert(image)
    assert pixels.typecode == "B" and np.array_equal(np.frombuffer(pixels, np.uint8).reshape(24, 24, 3), expected(image[None])[0])


def test_the_model_has_at_most_60_lines() -> None:
    assert len((ROOT / "scripts/bench_host_amd.py").read_text().splitlines()) <= 60


def test_both_ways_of_ours_give_the_same_pixels_and_each_image_its_own_memory() -> None:
    batch = Batch(ticket=0, samples=tuple(Sample(id=i, index=i) for i in range(2)), size=2)
    for output in ("fp16", "uint8"):
        engine = StoredEngine(output, 2, 24)  # type: ignore[arg-type]
        engine.open()
        first, second = engine.run(batch), engine.run(batch)
        assert np.array_equal(np.stack(first), expected(half_images(2, 24)))
        memory = [image.ctypes.data for image in (*first, *second)]
        assert len(set(memory)) == 4 and all(image.flags.owndata for image in (*first, *second))
        engine.close()


def events(*spans: tuple[str, int, int]) -> list[BatchEvent]:
    return [BatchEvent(device=device, first_sample=0, samples=1, size=1, submitted_ns=start, started_ns=start, completed_ns=end)
            for device, start, end in spans]


def test_a_gap_is_between_two_batches_of_one_device() -> None:
    ms = 1_000_000
    found = bench_host_runs.gaps_ms(events(("a", 0, 10 * ms), ("b", 0, 20 * ms), ("b", 23 * ms, 30 * ms), ("a", 11 * ms, 20 * ms),
                                           ("a", 27 * ms, 30 * ms)))
    assert found.tolist() == [1.0, 3.0, 7.0]


def test_growth_of_memory_counts_from_when_it_has_settled() -> None:
    readings = tuple((float(second), 100.0 + min(second, 10) * 5 + (second > 10) * 0.5) for second in range(30)) + ((30.0, 3.0),)
    ran = bench_host_runs.Ran(result=None, batches=(), wall_s=30, rss_mib=readings, load_average=(0, 0))  # type: ignore[arg-type]
    found = bench_host_runs.memory_figures(ran, settled_s=11)
    assert found["growth_mib"] == 0 and abs(found["slope_mib_per_minute"]) < 1e-6 and found["rss_max_mib"] == 150.5
    assert bench_host_runs.memory_figures(ran, settled_s=0)["growth_mib"] == 50.5
    with pytest.raises(RunError, match="more samples"):
        bench_host_runs.memory_figures(ran, settled_s=60)


def test_a_ratio_pairs_the_rounds() -> None:
    over, under = [{"x": 10.0}, {"x": 30.0}, {"x": 8.0}], [{"x": 5.0}, {"x": 10.0}, {"x": 8.0}]
    assert bench_host.ratio(over, under, "x") == {"median": 2.0, "min": 1.0, "max": 3.0}


@pytest.mark.parametrize(("argv", "match"), [(["--parts", "cost,speed"], "speed"), (["--rounds", "0"], "rounds")])
def test_a_flag_that_cannot_be_meant_is_refused(argv: list[str], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        bench_host.parse(argv)


@pytest.mark.loadgen
def test_the_host_benchmark_runs_and_its_json_has_the_keys() -> None:
    found = bench("host", "--rounds", "1", "--side", "32", "--images", "64", "--amd-images", "32", "--devices", "3", "--time-scale", "0.005",
                  "--null-side", "32")
    assert {"parent_cpu_ms_per_image", "total_cpu_ms_per_image", "images_per_s", "met", "cores", "load_average"} <= found.keys()
    for key in ("parent_cpu_ms_per_image", "total_cpu_ms_per_image", "images_per_s"):
        assert found[key].keys() == {"2", "32"} and all(value > 0 for value in found[key].values())  # type: ignore[attr-defined]
    for each in found["cost"].values():  # type: ignore[attr-defined]
        assert {"model_of_amds_path", "fp16", "uint8"} < each.keys()
        for path in ("model_of_amds_path", "fp16", "uint8"):
            assert each[path]["total_cpu_ms_per_image"]["median"] >= each[path]["parent_cpu_ms_per_image"]["median"] > 0
            assert each[path]["wall_ms_per_image"]["median"] > 0
    assert {name: gap["gaps"] for name, gap in found["gaps"].items()} == {  # type: ignore[attr-defined]
        "bs2_jitter": 3 * 19, "bs2_in_step": 3 * 19, "bs32_jitter": 3 * 2, "bs32_in_step": 3 * 2}
    waves = found["waves"]
    assert isinstance(waves, dict) and waves["waves"] == 53 and waves["planned_efficiency"] == 1.0 and 0 < waves["rate_of_plan"] <= 1


@pytest.mark.loadgen
def test_a_contestant_in_child_processes_counts_their_cpu_time(tmp_path: Path) -> None:
    contestant = bench_host.Contestant(path="uint8", isolation="process", group_size=2, devices=4)
    found = bench_host.compete(contestant, bench_host.parse(["--side", "256", "--images", "64"]), tmp_path / "run", 2)
    assert found["images"] == 64 and found["total_cpu_ms_per_image"] > found["parent_cpu_ms_per_image"] > 0
    assert contestant.label == "uint8 ordinary process-2"


@pytest.mark.loadgen
def test_the_soak_runs_and_judges() -> None:
    argv = ("soak", "--samples", "4000", "--devices", "8", "--batch-size", "4", "--seconds", "0.04", "--side", "32", "--settled", "2")
    found = bench(*argv, "--limit", "1000")
    assert found["samples"] == 4000 and found["batches"] == 1000 and found["flat"] is True and found["readings"] >= 2  # type: ignore[operator]
    assert bench(*argv, "--limit", "-1000", code=1)["flat"] is False

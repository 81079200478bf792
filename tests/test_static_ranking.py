"""The static score and the page that sets it beside measurements, on made-up measurements."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace

import pytest

from compile import static_rank, tune_space, tune_space_gpu
from compile.tune_store import Result, Scope, Store
from ireeperf.errors import ConfigError, MissingFileError
from scripts import static_ranking
from specs.match import Match
from tests.test_tune_pack import CHOICE, DEFAULT, MMT

NV = (CHOICE.replace("MFMA_F32_16x16x16_F16", "NV_MMA_SYNC_F32_16x8x16_F16").replace("subgroup_size = 64", "subgroup_size = 32")
      .replace("[256, 1, 1]", "[128, 1, 1]").replace("subgroup = [4, 4, 0]", "subgroup = [4, 8, 0]"))
POINTS = [DEFAULT | {"column": 8} | change for change in ({}, {"rows": 1}, {"rows": 1, "columns": 1, "row": 1, "column": 1}, {"step": 1}, {"stages": 1},
                                                          {"rows": 4, "columns": 4, "row": 4, "column": 4})]


def scores(points):
    space = tune_space_gpu.space(MMT, NV, "sm_80")
    assert not isinstance(space, str), space
    return [static_rank.estimate(MMT, space.setting(point), "sm_80") for point in points]


def test_score_tells_poor_tiles_from_good_ones():
    good, _, tiny, *_ = scores(POINTS)
    assert 50 < good < 300 and tiny > 3 * good  # 53.7 GFLOP; 16x8 tiles read everything a hundred times
    many = tune_space_gpu.space(MMT, NV, "sm_80").setting(DEFAULT | {"column": 8, "row": 8, "rows": 1, "columns": 1})
    assert static_rank.estimate(MMT, many, "sm_80") > good  # 8 x 8 instructions of one subgroup: 256 accumulators a thread spill


def test_score_of_a_cpu_prefers_full_vectors_and_registers():
    match = Match(kind="contraction", types=("f32", "f32", "f32"), maps=MMT.maps, dims=(512, 768, 512))
    space = tune_space.space(match, "DoubleTilingExpert")
    point = {"distribution_0": 64, "distribution_1": 64, "row": 8, "column": 32, "step": 1}
    of = [static_rank.estimate(match, space.setting(point | change), "cpu-avx512") for change in ({}, {"row": 1}, {"column": 8})]
    assert of[0] < of[1] and of[0] < of[2]
    assert static_rank.estimate(match, space.setting(point), "cpu-avx2") > 2 * of[0]  # 32 accumulators in 16 registers
    assert static_rank.estimate(match, space.setting(point), "cpu", wide=False) == static_rank.estimate(match, space.setting(point), "cpu-avx2")


def test_made_up_times_are_ranked(tmp_path):
    """Times that follow the score give correlation 1 and no regret; times that oppose it, the contrary. Another target's are left alone."""
    store, given = Store(tmp_path / "db"), scores(POINTS)
    for machine, sign in (("agrees", 1), ("opposes", -1), ("Intel fpu avx2", 1)):
        scope = Scope(source_sha256="a", target="sm_80", compiler="3", flags="f", machine=machine)
        for point, score in zip(POINTS, given, strict=True):
            store.add(scope, point, Result(outcome="time", ratio=1 / (score if sign > 0 else 1e4 / score)))
    store.add(scope, {"rows": 9}, Result(outcome="wrong"))
    store.close()
    rows = static_ranking.measured(tmp_path / "db")
    assert len(rows) == 3 * len(POINTS)
    one = SimpleNamespace(name="x_dispatch_1_matmul", match=MMT, configuration=NV, source_sha256="a")
    assert static_ranking.rank([one], rows, "sm_89") == []
    found = {row.machine: row for row in static_ranking.rank([one], rows, "sm_80")}
    assert found["agrees"].correlation == pytest.approx(1) and found["agrees"].top1_regret == 0
    assert found["opposes"].correlation == pytest.approx(-1) and found["opposes"].top1_regret > found["opposes"].top5_regret > 0
    text = static_ranking.page({"agrees": [found["agrees"]], static_ranking.short("Intel fpu avx2"): [found["opposes"]]})
    assert "| 1_matmul | 6 | 1.00 | 0% | 0% |" in text and "## Intel (has AVX2)" in text and text.count("Bar: not met") == 2


def test_figures_by_hand():
    assert static_ranking.spearman([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(0.8)
    assert static_ranking.spearman([1, 1, 1], [1, 2, 3]) is None
    assert static_ranking.expected_best([1, 2, 3], 2) == pytest.approx((1 + 1 + 2) / 3) and static_ranking.expected_best([2.0], 5) == 2
    row = static_ranking.compare("m", "cpu-avx2", "d", [3, 1, 2, 4, 5, 6], [1.0, 0.5, 2.0, 0.4, 3.0, 0.1])
    assert row.top1_regret == pytest.approx(4) and row.top5_regret == pytest.approx(3) and row.pick_over_default == 2 and row.best_over_default == 10


def test_a_file_that_is_no_database(tmp_path):
    with pytest.raises(MissingFileError, match="compile.tune"):
        static_ranking.measured(tmp_path / "none")
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at")
    with pytest.raises(ConfigError, match="no database"):
        static_ranking.measured(tmp_path / "text")
    sqlite3.connect(tmp_path / "empty").close()
    with pytest.raises(ConfigError, match="no database"):
        static_ranking.measured(tmp_path / "empty")

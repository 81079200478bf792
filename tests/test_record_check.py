"""Records that tune nothing are told with the field that differs; static records that gain nothing do not count."""

from __future__ import annotations

import dataclasses

import pytest

from compile.match_report import DispatchMatch, StaticFigures
from compile.record_check import static_gain, unmatched
from specs.match import Match
from specs.record import Setting, TuningRecord, Within
from tests.test_dispatch_ir import matmul, read

FOUND = read(matmul())
FIGURES = StaticFigures(matrix_instructions=32, vgprs=128, agprs=0, vgpr_spills=94, sgpr_spills=0, lds_bytes=1000, scratch_bytes=376,
                        workgroup_threads=256, occupancy=4.0, workgroups=320, fill=0.9)
DEFAULT = DispatchMatch(executable="u.vmfb", dispatch="d", kind="reduction", name="r", shape=(4, 8), types=("f16",), flops=1, bytes=1, calls=1,
                        record=None, evidence=None, configuration="one", static=FIGURES, roofline_us=None, source_sha256="0" * 64)


def record(**changes) -> TuningRecord:
    assert FOUND.match is not None
    return TuningRecord(target="mi325x-cpx", match=dataclasses.replace(FOUND.match, **changes), set=Setting(pipeline="TileAndFuse", lowering_config={}),
                        evidence="ported", source="a test", compiler="3.13.0", date="2026-11-25")


@pytest.mark.parametrize(("changes", "words"), [
    ({"types": ("f16", "f32", "f32")}, "types[1] f32 in the record, f16 in the dispatch"),
    ({"dims": (4, 16, 9)}, "dims[2] (k) 9 in the record, 8 in the dispatch"),
    ({"dims": (4, 16, -1), "multiples": (1, 1, 16)}, "dims[2] (k) a multiple of 16 in the record, 8 in the dispatch"),
    ({"maps": ("(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d2, d1)", "(d0, d1, d2) -> (d0, d1)")},
     "maps[1] (d0, d1, d2) -> (d2, d1) in the record, (d0, d1, d2) -> (d1, d2) in the dispatch"),
])
def test_the_differing_field_is_named(changes, words):
    far = dataclasses.replace(FOUND, name="far", matches=(Match(kind="reduction", types=("f32", "f32"), dims=(4, 8), body="addf",
                                                                maps=("(d0, d1) -> (d0, d1)", "(d0, d1) -> (d0)")),))
    [message] = unmatched([record(**changes)], [far, FOUND])
    assert words in message and "nearest is main_dispatch_0" in message and message.count(" in the dispatch") == 1


def test_a_record_that_matches_and_was_not_applied_is_told_as_such():
    assert "was not applied" in unmatched([record()], [FOUND])[0]
    assert unmatched([record()], [dataclasses.replace(FOUND, tuned_by=record().name)]) == []


def test_a_dispatch_of_another_number_of_operations_is_told_as_such():
    one = record()
    beside = dataclasses.replace(one, set=dataclasses.replace(one.set, within=Within(operations=5, root=3, others=())))
    assert "within.operations is 5" in unmatched([beside], [FOUND])[0]


@pytest.mark.parametrize(("changes", "gains"), [
    ({"vgpr_spills": 0, "scratch_bytes": 0}, {"vgpr_spills": "94 -> 0", "scratch_bytes": "376 -> 0"}),
    ({"vgpr_spills": 0, "occupancy": 3.7}, {"vgpr_spills": "94 -> 0"}),  # occupancy worse by 8 %
    ({"vgpr_spills": 0, "occupancy": 3.0}, {}),  # by 33 %
    ({"fill": 0.95, "lds_bytes": 0}, {"fill": "0.9 -> 0.95"}),  # LDS counts through the occupancy
    ({"matrix_instructions": 64}, {}),
    ({"vgpr_spills": 0, "matrix_instructions": 0}, {}),
    ({"vgpr_spills": 94}, {}),
])
def test_a_static_record_counts_when_a_figure_gains_and_none_loses(changes, gains):
    tuned = dataclasses.replace(DEFAULT, configuration="another", static=dataclasses.replace(FIGURES, **changes))
    assert static_gain(DEFAULT, tuned) == gains
    assert static_gain(DEFAULT, dataclasses.replace(tuned, configuration="one")) == {}


def test_matrix_instructions_are_a_gain_where_there_were_none():
    bare = dataclasses.replace(DEFAULT, configuration="another", static=dataclasses.replace(FIGURES, matrix_instructions=0))
    assert static_gain(bare, DEFAULT) == {"matrix_instructions": "0 -> 32"}

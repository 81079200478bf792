"""specs.match: roles and names follow from types, maps and loop sizes."""

from __future__ import annotations

import pytest

from ireeperf.errors import ConfigError
from specs.match import Match


def test_a_matmul_with_a_transposed_right_side() -> None:
    found = Match(kind="contraction", types=("f16", "f16", "f32"), dims=(2048, 10240, 1280),
                  maps=("(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d1, d2)", "(d0, d1, d2) -> (d0, d1)"))
    assert found.roles == {"batch": (), "m": (0,), "n": (1,), "k": (2,)}
    assert found.name == "contraction_m2048_n10240_k1280_f16xf16xf32"


def test_a_batched_one_with_two_loops_in_a_role() -> None:
    found = Match(kind="contraction", types=("i8", "i8", "i32"), dims=(4, 2, 8, 16, -1),
                  maps=("(d0, d1, d2, d3, d4) -> (d0, d1, d2, d4)", "(d0, d1, d2, d3, d4) -> (d0, d3, d4)", "(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)"))
    assert found.roles == {"batch": (0,), "m": (1, 2), "n": (3,), "k": (4,)}
    assert found.name == "contraction_b4_m2x8_n16_kany_i8xi8xi32"


def test_a_convolution_and_its_sliding_loops() -> None:
    found = Match(kind="convolution", types=("f16", "f16", "f32"), dims=(2, 1280, 32, 32, 320, 3, 3),
                  maps=("(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)", "(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)",
                        "(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)"))
    assert found.roles == {"batch": (0,), "image": (2, 3), "output_channel": (1,), "filter": (5, 6), "input_channel": (4,), "depth": ()}
    assert found.name == "convolution_b2_i32x32_f1280_r3x3_c320_f16xf16xf32"


def test_attention() -> None:
    over = "(d0, d1, d2, d3, d4, d5) -> "
    found = Match(kind="attention", types=("f16", "f16", "f16", "f32", "f32", "f32", "f32"), dims=(2, 10, 4096, 64, 64, 4096),
                  maps=tuple(over + results for results in ("(d0, d1, d2, d4)", "(d0, d1, d5, d4)", "(d0, d1, d5, d3)", "()",
                                                            "(d0, d1, d2, d3)", "(d0, d1, d2)", "(d0, d1, d2)")))
    assert found.roles == {"batch": (0, 1), "m": (2,), "n": (3,), "k1": (4,), "k2": (5,)}
    assert found.name == "attention_b2x10_m4096_n64_qk64_kv4096_f16_bmkxbvkxbvnxbmnxbmxbm", "IREE hands V over transposed, by default"
    as_iree_does = Match(kind="attention", types=found.types, dims=found.dims, maps=(*found.maps[:2], over + "(d0, d1, d3, d5)", *found.maps[3:]))
    assert as_iree_does.name == "attention_b2x10_m4096_n64_qk64_kv4096_f16"


@pytest.mark.parametrize(("lhs", "rhs", "out", "ending"), [
    ("(d0, d2)", "(d1, d2)", "(d0, d1)", "f32"),
    ("(d0, d2)", "(d2, d1)", "(d0, d1)", "f32_mkxknxmn"),
    ("(d2, d0)", "(d1, d2)", "(d0, d1)", "f32_kmxnkxmn"),
    ("(d0, d2)", "(d1, d2)", "(d1, d0)", "f32_mkxnkxnm"),
])
def test_operands_laid_out_otherwise_give_another_name(lhs: str, rhs: str, out: str, ending: str) -> None:
    """Records are files named after their match: two products of equal sizes must not share one."""
    found = Match(kind="contraction", types=("f16", "f16", "f32"), dims=(128, 256, 64), maps=tuple(f"(d0, d1, d2) -> {one}" for one in (lhs, rhs, out)))
    assert found.name == f"contraction_m128_n256_k64_f16xf16x{ending}"


def test_a_reduction() -> None:
    found = Match(kind="reduction", types=("f32", "f32"), dims=(8192, 640), maps=("(d0, d1) -> (d0, d1)", "(d0, d1) -> (d0)"), body="addf")
    assert found.roles == {"parallel": (0,), "reduced": (1,)}


@pytest.mark.parametrize(("change", "words"), [
    ({"types": ("f16", "f32")}, "2 types and 3 maps"),
    ({"dims": (1, 2)}, "does not go over the 2 dims"),
    ({"multiples": (1,)}, "1 multiples for 3 dims"),
])
def test_what_does_not_fit_together_is_refused(change: dict, words: str) -> None:
    good = {"kind": "contraction", "types": ("f16", "f16", "f32"), "dims": (1, 2, 3),
            "maps": ("(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d1, d2)", "(d0, d1, d2) -> (d0, d1)")}
    with pytest.raises(ConfigError, match=words):
        Match(**good | change)

"""specs.probe: shapes and bodies follow from a Match, and IREE reads every kind of program."""

from __future__ import annotations

import subprocess

import pytest

from compile.compiler import compiler_path
from ireeperf.errors import ConfigError
from specs import probe
from specs.match import Match

CONVOLUTION = "(d0, d1, d2, d3, d4, d5, d6) -> "
STRIDED = Match(kind="convolution", types=("f16", "f16", "f32"), dims=(2, 64, 16, 16, 32, 3, 3), maps=(
    CONVOLUTION + "(d0, d2 * 2 + d5, d3 * 2 + d6, d4)", CONVOLUTION + "(d1, d5, d6, d4)", CONVOLUTION + "(d0, d2, d3, d1)"))
ATTENTION = Match(kind="attention", types=("f8E4M3FNUZ", "f8E4M3FNUZ", "f8E4M3FNUZ", "f32", "f32", "f32", "f32"), dims=(2, 10, 256, 64, 64, 256),
                  maps=tuple("(d0, d1, d2, d3, d4, d5) -> " + part for part in (
                      "(d0, d1, d2, d4)", "(d0, d1, d5, d4)", "(d0, d1, d3, d5)", "()", "(d0, d1, d2, d3)", "(d0, d1, d2)", "(d0, d1, d2)")))


def matmul(*types: str, dims: tuple[int, ...] = (128, 256, 64), **more) -> Match:
    maps = ("(d0, d1, d2) -> (d0, d2)", "(d0, d1, d2) -> (d1, d2)", "(d0, d1, d2) -> (d0, d1)")
    return Match(kind="contraction", types=types, dims=dims, maps=maps, **more)


def reduction(body: str, *types: str) -> Match:
    return Match(kind="reduction", types=types, dims=(64, 640), maps=("(d0, d1) -> (d0, d1)", "(d0, d1) -> (d0)"), body=body)


def test_iree_reads_them_all(tmp_path):
    matches = [matmul("f16", "f16", "f32"), matmul("i8", "i8", "i32"), matmul("f32", "f32", "f32"), matmul("f16", "f16", "f16"),
               matmul("f8E4M3FNUZ", "f8E4M3FNUZ", "f32"), STRIDED, ATTENTION, reduction("extf mulf addf", "f16", "f32"),
               reduction("maximumf", "f32", "f32"), reduction("addi", "i32", "i32")]
    source = tmp_path / "probes.mlir"
    source.write_text(probe.program(matches))
    read = subprocess.run([compiler_path(), source, "--iree-hal-target-device=hip", "--iree-rocm-target=mi325x", "--compile-to=input",
                           "-o", tmp_path / "read.mlir"], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    assert (tmp_path / "read.mlir").read_text().count(" public @probe") == len(matches)


def test_two_batch_loops_stay_two(tmp_path):
    """A probe whose batch and heads the compiler makes one loop would say of every record for 4-D attention that it is lost."""
    source, made = tmp_path / "probe.mlir", tmp_path / "configured.mlir"
    source.write_text(probe.function(ATTENTION, "probe"))
    subprocess.run([compiler_path(), source, "--iree-hal-target-device=hip", "--iree-rocm-target=mi325x", "--iree-opt-level=O3",
                    "--compile-to=executable-configurations", "--mlir-print-local-scope", "-o", made], capture_output=True, check=True)
    attention = next(line for line in made.read_text().splitlines() if "online_attention <" in line)
    assert all(f"affine_map<{text}>" in attention for text in ATTENTION.maps)


def test_a_sliding_window_s_input_is_as_large_as_it_reaches():
    assert [probe.shape(STRIDED, operand) for operand in range(3)] == [(2, 33, 33, 32), (64, 3, 3, 32), (2, 16, 16, 64)]


def test_an_open_size_is_an_allowed_one():
    assert probe.sizes(matmul("f16", "f16", "f32", dims=(-1, 256, -1), multiples=(1, 1, 48))) == (128, 256, 144)


@pytest.mark.parametrize(("match", "words"), [
    (reduction("powf", "f32", "f32"), "the body 'powf'"),
    (Match(kind="contraction", types=("f16", "f16", "f32"), dims=(4, 4), maps=("(d0, d1) -> (d0 floordiv 2)", "(d0, d1) -> (d1)", "(d0, d1) -> (d0)")),
     "indexes by 'd0 floordiv 2'"),
    (Match(kind="contraction", types=("f16", "f16", "f16", "f32"), dims=(4, 4), maps=("(d0, d1) -> (d0, d1)",) * 4), "it has 4 operands"),
])
def test_what_cannot_be_written_is_said(match, words):
    with pytest.raises(ConfigError, match=words):
        probe.function(match, "probe")

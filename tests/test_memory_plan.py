"""compile.memory_plan: weights and transient memory of a build against its partition's, and the refusal."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from compile import memory_plan
from compile.memory_plan import Resident
from ireeperf.errors import CompileError, ConfigError

GIB = 2**30
# Full-size SDXL FP16, iree-compile 3.13.0 for mi325x: the compiler's own figures (statistics) and the graph's parameters
UNET_32 = Resident(module="scheduled_unet", batch_size=32, weight_bytes=int(4.8 * GIB), transient_bytes=15_179_779_648)
UNET_2 = Resident(module="scheduled_unet", batch_size=2, weight_bytes=int(4.8 * GIB), transient_bytes=948_736_288)
CLIP = Resident(module="clip", batch_size=32, weight_bytes=int(1.5 * GIB), transient_bytes=119_963_648)
VAE = Resident(module="vae", batch_size=1, weight_bytes=int(0.1 * GIB), transient_bytes=4_302_311_424)


def zipped(path: Path, statistics: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("statistics.json", statistics)
    return path


def statistics(transient: int) -> str:
    return json.dumps({"stream-aggregate": {"execution": {"transient-memory-size": transient, "dispatch-count": 3}}})


def test_batch_size_32_fits_a_partition_once():
    made = memory_plan.plan("mi325x-cpx", [UNET_32, CLIP, VAE])
    assert made.partition_bytes == 32 * 10**9 and made.bytes < made.partition_bytes
    assert "scheduled_unet bs32 4.8 + 14.1" in made.line()
    with pytest.raises(ConfigError, match=r"scheduled_unet bs32 does not fit a partition of mi325x-cpx: 2 process\(es\) take 49\.\d GiB .* "
                                          r"has 29.8 GiB; of it 4.8 weights and 14.1 transient a process"):
        memory_plan.plan("mi325x-cpx", [CLIP, UNET_32, VAE], processes_per_partition=2)


def test_two_processes_of_batch_size_2_fit():
    """What AMD's Server ran: two on a partition."""
    assert memory_plan.plan("mi325x-cpx", [UNET_2, CLIP, VAE], processes_per_partition=2).bytes < 32 * 10**9


def test_sizes_that_fit_one_by_one_are_not_refused():
    """A run loads the sizes that it draws: the plan says that not all go together, and refuses none."""
    made = memory_plan.plan("mi325x-cpx", [UNET_32, UNET_2, CLIP, VAE])
    assert made.bytes > 32 * 10**9 and "not all batch sizes in one run" in made.line()


def test_a_target_without_a_partition_refuses_nothing():
    made = memory_plan.plan("gfx942", [UNET_32] * 9)
    assert made.partition_bytes is None and "names no partition" in made.line()


def test_processes_are_counted():
    with pytest.raises(ConfigError, match="--processes-per-partition is 0; at least 1"):
        memory_plan.plan("mi325x-cpx", [UNET_2], processes_per_partition=0)


def test_weights_are_the_archive_or_the_parameters(tmp_path):
    mlir, archive = tmp_path / "m.mlir", tmp_path / "m.irpa"
    mlir.write_text("module @m {\n"
                    '  util.global private @a = #flow.parameter.named<"model"::"a"> : tensor<10x3xf16>\n'
                    '  util.global private @b {noinline} = #flow.parameter.named<"model"::"b"> : tensor<7xf8E4M3FNUZ>\n'
                    '  util.global private @c = #flow.parameter.named<"model"::"c"> : tensor<3xi4>\n'
                    '  util.global private @d = #flow.parameter.named<"model"::"d"> : tensor<i1>\n'
                    "  util.global private @e = dense<0.0> : tensor<100xf32>\n"
                    "  %0 = util.global.load @a : tensor<10x3xf16>\n}\n")
    dump = zipped(tmp_path / "m.dispatches.zip", statistics(5))
    without = memory_plan.resident("clip", 2, mlir=mlir, archive=None, dispatches=dump)
    assert without == Resident(module="clip", batch_size=2, weight_bytes=60 + 7 + 2 + 1, transient_bytes=5)
    archive.write_bytes(bytes(123))
    assert memory_plan.resident("clip", 2, mlir=mlir, archive=archive, dispatches=dump).weight_bytes == 123


def test_a_parameter_of_unknown_size_is_said(tmp_path):
    mlir = tmp_path / "m.mlir"
    mlir.write_text('  util.global private @a = #flow.parameter.named<"model"::"a"> : tensor<?x3xf16>\n')
    with pytest.raises(CompileError, match="not a static tensor: util.global private @a"):
        memory_plan.declared_bytes(mlir)
    with pytest.raises(ConfigError, match="cannot read"):
        memory_plan.declared_bytes(tmp_path / "absent.mlir")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"stream-aggregate": {"execution": {}}}'])
def test_statistics_of_another_compiler_are_said(tmp_path, text):
    with pytest.raises(CompileError, match="does not state transient-memory-size"):
        memory_plan.transient_bytes(zipped(tmp_path / "m.dispatches.zip", text))


def test_it_lies_beside_the_manifest(tmp_path):
    made = memory_plan.plan("mi355x-cpx", [UNET_32, CLIP, VAE], key="01")
    memory_plan.write(made, tmp_path)
    assert memory_plan.read(tmp_path) == memory_plan.read(tmp_path / "memory_plan.json") == made

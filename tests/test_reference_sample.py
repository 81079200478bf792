"""compile.reference_sample: what a compiled dispatch wrote on this CPU, judged by its IR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compile import compiler, dispatch_ir, dumps, reference_sample, target, tune_program, verify_inputs
from compile.compiler import Task
from compile.flags import flags
from ireeperf.errors import CompileError

SOURCE = """
func.func @mm(%a: tensor<40x64xf32>, %b: tensor<64x96xf32>, %c: tensor<96xf32>) -> tensor<40x96xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<40x96xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<40x96xf32>) -> tensor<40x96xf32>
  %r = linalg.matmul ins(%a, %b : tensor<40x64xf32>, tensor<64x96xf32>) outs(%f : tensor<40x96xf32>) -> tensor<40x96xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%r, %c : tensor<40x96xf32>, tensor<96xf32>) outs(%e : tensor<40x96xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %p = arith.addf %x, %y : f32
    linalg.yield %p : f32
  } -> tensor<40x96xf32>
  return %s : tensor<40x96xf32>
}
"""


def called(executable: Path, entry: str, before: np.ndarray) -> np.ndarray:
    """The benchmark's buffer after one call."""
    import iree.runtime as rt
    config = rt.Config("local-sync")
    loaded = rt.VmModule.mmap(config.vm_instance, str(executable))
    module = rt.SystemContext(vm_modules=[rt.create_hal_module(config.vm_instance, config.device), loaded], config=config).modules[loaded.name]
    placed = rt.asdevicearray(config.device, before)
    module["set_buffer"](placed)
    module[entry](1)
    return np.array(placed.to_host())


class Ran:
    """The dispatch, its benchmark, and the benchmark's buffer before and after one call."""

    def __init__(self, folder: Path) -> None:
        (folder / "mm.mlir").write_text(SOURCE)
        given = tuple(flag for flag in flags(target.find("cpu"), None) if "data-tiling" not in flag)
        task = Task(label="mm", mlir=folder / "mm.mlir", flags=(*given, *dumps.flags(folder)), folder=folder / "out", name="mm", log=folder / "log")
        list(compiler.compile_all([task], 1))
        zipped = folder / f"mm{dumps.SUFFIX}"
        dumps.pack(folder, zipped)
        self.dispatch, = dispatch_ir.dispatches(zipped)
        self.benchmark = dumps.read(zipped, f"benchmark/{self.dispatch.name}.mlir").decode()
        entry, size = tune_program.entry(self.benchmark)
        built = tune_program.build(tune_program.with_data(self.benchmark), folder / "built", given)
        self.before = np.random.default_rng(0).standard_normal(size // 4).astype(np.float32)
        self.after = called(built, entry, self.before)

    def samples(self) -> tuple[reference_sample.Sample, ...]:
        return reference_sample.samples(self.dispatch.configured_text, self.dispatch.name, self.benchmark, self.before)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return Ran(tmp_path_factory.mktemp("sampled"))


def test_what_the_compiler_made_is_right(ran):
    sample, = ran.samples()
    assert len(sample.positions) == len(set(sample.positions.tolist())) >= 200
    assert 0 < sample.tolerance < 1e-4 and sample.error(ran.after) < sample.tolerance


def test_one_wrong_element_is_found_and_an_untouched_buffer(ran):
    sample, = ran.samples()
    wrong = ran.after.copy()
    wrong.view(np.uint8)[sample.positions[7]:sample.positions[7] + 4].view(np.float32)[0] *= 1.01
    assert sample.error(wrong) > sample.tolerance
    assert sample.error(ran.before) > sample.tolerance
    wrong[:] = np.nan
    assert sample.error(wrong) == float("inf")


def test_ends_of_every_dimension_are_among_the_samples(ran):
    sample, = ran.samples()
    _, starts = reference_sample.layout(ran.benchmark)
    elements = (sample.positions - starts[-1]) // 4
    assert {0, 95} <= set((elements % 96).tolist()) and {0, 39} <= set((elements // 96).tolist())


def test_a_benchmark_of_another_form_is_refused(ran):
    with pytest.raises(CompileError, match="0 dispatches, one expected"):
        reference_sample.layout(ran.benchmark.replace("hal.command_buffer.dispatch<", "hal.other<"))
    with pytest.raises(CompileError, match="holds no function"):
        reference_sample.samples(ran.dispatch.configured_text, "absent", ran.benchmark, ran.before)


@pytest.mark.parametrize(("shape", "count"), [((), 16), ((1, 7), 16), ((2, 3, 5, 1000), 256), ((100000,), 64)])
def test_spread(shape, count):
    found = verify_inputs.spread(shape, count)
    assert [(part[0], part[-1]) for part in found] == [(0, size - 1) for size in shape]
    assert np.prod([len(part) for part in found]) <= 2 * count

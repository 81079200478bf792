"""The default of a dispatch judged by float64: what candidates are compared with must itself be right."""

from __future__ import annotations

from pathlib import Path

from compile import dumps, reference_sample, tune_runner
from compile.dispatch_ir import Dispatch
from compile.tune_search import Sweep
from ireeperf.errors import CompileError


def judge(one: Dispatch, zip_path: Path, sweep: Sweep) -> tuple[float | None, str]:
    """The default's largest error over its tolerance at sampled elements, above 1 when it is wrong, and that in words; None and why when the
    operations have no reference. `zip_path`: the dumps that the dispatch is of. Runs the default on this machine, on the runner's data."""
    import numpy as np

    request = sweep.request
    data = tune_runner.drawn(-(-request["bytes"] // np.dtype(request["dtype"]).itemsize), request["dtype"])
    try:
        benchmark = dumps.read(zip_path, f"benchmark/{one.name}.mlir").decode()
        wanted = reference_sample.samples(one.configured_text, one.name, benchmark, data)
    except CompileError as error:
        return None, f"its default is not judged by float64: {' '.join(str(error).split())[:200]}"
    config = tune_runner.configured(request["driver"])
    after, kept = tune_runner.answer(tune_runner.opened(str(sweep.default), config), config.device, data, request["entry"])
    errors = [(sample.error(after), sample) for sample in wanted]
    del kept
    worst = max((error / sample.tolerance if sample.tolerance else float("inf") if error else 0.0) for error, sample in errors)
    elements = sum(len(sample.positions) for sample in wanted)
    return worst, (f"its default's error against float64 is {max(error for error, _ in errors):.1e} at {elements} elements, "
                   f"{worst:.2f} of what its roundings explain")

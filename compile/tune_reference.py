"""The default of a dispatch judged by float64: what candidates are compared with must itself be right. Here, or where an archive runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from compile import dumps, reference_sample, tune_runner
from compile.dispatch_ir import Dispatch
from compile.reference_sample import Sample
from compile.tune_search import Sweep
from ireeperf.errors import CompileError


def judge(one: Dispatch, zip_path: Path, sweep: Sweep) -> tuple[float | None, str]:
    """The default's largest error over its tolerance at sampled elements, above 1 when it is wrong, and that in words; None and why when the
    operations have no reference. `zip_path`: the dumps that the dispatch is of. Runs the default on this machine, on the runner's data."""
    request, data, wanted = sweep.request, _data(sweep), samples(one, zip_path, sweep)
    if isinstance(wanted, str):
        return None, f"its default is not judged by float64: {wanted}"
    config = tune_runner.configured(request["driver"])
    after, kept = tune_runner.answer(tune_runner.opened(str(sweep.default), config), config.device, data, request["entry"])
    errors = [(sample.error(after), sample) for sample in wanted]
    del kept
    worst = max((error / sample.tolerance if sample.tolerance else float("inf") if error else 0.0) for error, sample in errors)
    elements = sum(len(sample.positions) for sample in wanted)
    return worst, (f"its default's error against float64 is {max(error for error, _ in errors):.1e} at {elements} elements, "
                   f"{worst:.2f} of what its roundings explain")


def samples(one: Dispatch, zip_path: Path, sweep: Sweep) -> tuple[Sample, ...] | str:
    """What the dispatch must write at sampled elements, on the runner's data; or why there is no reference."""
    try:
        benchmark = dumps.read(zip_path, f"benchmark/{one.name}.mlir").decode()
        return reference_sample.samples(one.configured_text, one.name, benchmark, _data(sweep))
    except CompileError as error:
        return " ".join(str(error).split())[:200]


def save(wanted: tuple[Sample, ...]) -> bytes:
    """The samples as the runner of an archive reads them (tune_runner.explained): an .npz."""
    import numpy as np

    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{f"{name}{index}": np.asarray(getattr(sample, name)) for index, sample in enumerate(wanted)
                                                     for name in ("positions", "expected", "tolerance")})
    return file.getvalue()


def _data(sweep: Sweep) -> Any:
    import numpy as np

    request = sweep.request
    return tune_runner.drawn(-(-request["bytes"] // np.dtype(request["dtype"]).itemsize), request["dtype"])

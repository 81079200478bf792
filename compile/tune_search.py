"""The search for one dispatch: Optuna proposes, candidates are compiled ahead while one is measured, every result is kept at once."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile import tune_program, tune_runner
from compile.tune_constraints import Constraints
from compile.tune_space import Space
from compile.tune_space_attention import AttentionSpace
from compile.tune_space_gpu import GpuSpace
from compile.tune_store import Result, Scope, Store
from ireeperf import document
from ireeperf.errors import CompileError

# relative to the default's output; another order of summation moves float32 by about 1e-6
TOLERANCE = {"f32": 1e-5, "f16": 5e-3}
DTYPE = {"f32": "float32", "f16": "float16"}
ROUND_US = 5000.0
TRIES = 200  # proposals in a row that are known or invalid: the space is searched out


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One dispatch to be tuned. `text`: its benchmark, stripped, with `set_buffer`; `default`: the same, compiled."""

    space: Space | GpuSpace | AttentionSpace
    scope: Scope
    text: str
    entry: str
    bytes: int
    default: Path
    flags: tuple[str, ...]
    driver: str
    rounds: int
    result_type: str  # element type of what the dispatch writes
    constraints: Constraints | None = None  # IREE's own, where it emits them and its own choice keeps them

    @property
    def request(self) -> dict[str, Any]:
        """What the runner is asked, but for the two executables."""
        kind = "f16" if "f16" in self.space.match.types else "f32"
        return {"entry": self.entry, "bytes": self.bytes, "driver": self.driver, "dtype": DTYPE[kind], "result_dtype": DTYPE[self.result_type],
                "tolerance": TOLERANCE[kind], "rounds": self.rounds, "round_us": ROUND_US}


def search(sweep: Sweep, store: Store, folder: Path, *, deadline: float, candidates: int, workers: int) -> int:
    """Try up to `candidates` new points until `deadline` (time.monotonic); how many results were added. What the store knows is
    told to Optuna first and not tried again."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    known: set[str] = set()
    for point, result in store.results(sweep.scope):
        known.add(json.dumps(point, sort_keys=True))
        study.add_trial(_told(sweep.space, point, result))
    added, waiting = 0, list[tuple[Any, dict[str, int], Future[Path | Result]]]()
    with ThreadPoolExecutor(workers) as pool:
        while time.monotonic() < deadline:
            while len(waiting) < workers + 1 and added + len(waiting) < candidates:
                proposal = _propose(study, sweep, known, store)
                if proposal is None:
                    break
                trial, point = proposal
                waiting.append((trial, point, pool.submit(build, sweep, point, folder / f"candidate{trial.number}")))
            if not waiting:
                break
            trial, point, future = waiting.pop(0)
            built = future.result()
            result = built if isinstance(built, Result) else measure(sweep, built, sweep.rounds)
            store.add(sweep.scope, point, result)
            study.tell(trial, 1 / result.ratio) if result.ratio else study.tell(trial, state=optuna.trial.TrialState.FAIL)
            added += result.outcome != "invalid"
        for _, _, future in waiting:
            future.cancel()
    return added


def _propose(study: Any, sweep: Sweep, known: set[str], store: Store) -> tuple[Any, dict[str, int]] | None:
    """A new point; None when none turns up. Invalid ones are kept and told, and do not count as tried."""
    import optuna

    for _ in range(TRIES):
        trial = study.ask()
        point = {name: trial.suggest_categorical(name, values) for name, values in sweep.space.parameters.items()}
        key = json.dumps(point, sort_keys=True)
        if key not in known:
            known.add(key)
            if (why := sweep.space.invalid(point)) is None:
                return trial, point
            store.add(sweep.scope, point, Result(outcome="invalid", detail=why))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return None


def _told(space: Space | GpuSpace | AttentionSpace, point: Mapping[str, int], result: Result) -> Any:
    """A stored result as a trial that Optuna has seen."""
    import optuna

    choices: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(values) for name, values in space.parameters.items()}
    if result.ratio is None:
        return optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, params=dict(point), distributions=choices)
    return optuna.trial.create_trial(value=1 / result.ratio, params=dict(point), distributions=choices)


def build(sweep: Sweep, point: Mapping[str, int], folder: Path) -> Path | Result:
    """The candidate compiled; what the compiler said when it would not, or its constraints beforehand."""
    setting = sweep.space.setting(point)
    if sweep.constraints is not None and (why := sweep.constraints.refused(setting)) is not None:
        return Result(outcome="invalid", detail=why)
    try:
        text = tune_program.configured(sweep.text, sweep.space.match, setting, sweep.scope.target)
        return tune_program.build(text, folder, sweep.flags)
    except CompileError as error:
        return Result(outcome="compile failed", detail=" ".join(str(error).split())[:500])


def measure(sweep: Sweep, candidate: Path, rounds: int) -> Result:
    """Run the default and the candidate in turns, in a process of its own: a candidate that crashes is a result."""
    request = candidate.with_suffix(".request.json")
    files = {"default": str(sweep.default), "candidate": str(candidate), "rounds": rounds}
    document.write_text(request, json.dumps(sweep.request | files))
    return judged(tune_runner.started("--one", request), sweep.request["tolerance"], "cpu")


def judged(answer: Mapping[str, Any], tolerance: float, clock: str) -> Result:
    """What the runner's answer says of a candidate. `clock`: cpu, which other work on the machine distorts least; wall for a GPU."""
    if "failed" in answer:
        return Result(outcome="run failed", detail=answer["failed"])
    if answer["error"] is None or answer["error"] > tolerance:
        return Result(outcome="wrong", detail=f"relative error {answer['error']} to the default's output, at most {tolerance}")
    if (answer.get("float64") or 0.0) > 1:
        return Result(outcome="wrong", detail=f"its error against float64 is {answer['float64']:.3g} times what its roundings explain")
    rounds = answer["rounds"]
    low, middle, high = interval([one[f"baseline_{clock}"] / one[clock] for one in rounds])
    return Result(outcome="time", detail=judged_by(answer), ratio=middle, ratio_low=low, ratio_high=high,
                  baseline_us=statistics.median(one[f"baseline_{clock}"] for one in rounds),
                  tuned_us=statistics.median(one[clock] for one in rounds), runs=len(rounds))


def judged_by(answer: Mapping[str, Any]) -> str:
    """How right a candidate is, in words."""
    against = "" if answer.get("float64") is None else f", {answer['float64']:.2g} of what its roundings explain against float64"
    return f"relative error {answer['error']:.1e} to the default's output{against}"


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median with its 95 % interval from order statistics (binomial, normal approximation); the extremes when there are few."""
    ordered = sorted(values)
    skipped = max(0, math.floor(len(ordered) / 2 - 0.98 * math.sqrt(len(ordered))) - 1)  # at either end: 9 of 31
    return ordered[skipped], statistics.median(ordered), ordered[-1 - skipped]

"""AMD's record in MLPerf Inference v5.1 (SDXL, 5.1-0004) beside the simulator's, and the fit that makes the one explain the other.

What was fitted to what, and what was held out, is in docs/SIMULATOR.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from harness.virtual_run import KINDS, Kind, MachineModel, VirtualRun, from_model, scaled, simulate

SEEDS = range(8)
# LoadGen's figures, seconds and samples per second: AMD's article of 2025-09-09 for Offline and Server, whose full-precision
# Server rate and the two compliance scores are in inference_results_v5.1 (summary_results.json, compliance/.../TEST0x)
RECORD: Mapping[Kind, Mapping[str, float]] = {
    "Offline": {"samples_per_second": 18.5856, "min": 107.574744790, "mean": 2954.453799716, "p50": 2965.965347259,
                "p90": 5224.408938958, "p95": 5510.491274623, "p97": 5628.167067300, "p99": 5734.881585613,
                "p99.9": 5769.285663572, "max": 5778.682867542},
    "Server": {"samples_per_second": 16.2044, "min": 6.861142555, "mean": 10.165896851, "p50": 8.919662797, "p90": 15.313217419,
               "p95": 17.300266456, "p97": 17.580579392, "p99": 18.010059342, "p99.9": 18.533803943, "max": 18.656990527},
    "TEST01": {"samples_per_second": 17.3997},
    "TEST04": {"samples_per_second": 17.4257},
}
FITTED: Mapping[Kind, tuple[str, ...]] = {"Offline": ("samples_per_second", "min"), "Server": ("min", "p50", "p90", "p99"), "TEST01": (), "TEST04": ()}
TOLERANCE: Mapping[tuple[Kind, str], float] = {
    ("Offline", "samples_per_second"): 0.01, ("TEST01", "samples_per_second"): 0.005, ("TEST04", "samples_per_second"): 0.005,
    ("Server", "p50"): 0.1, ("Server", "p90"): 0.1, ("Server", "p99"): 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of the record."""

    kind: Kind
    figure: str
    recorded: float
    low: float  # of the seeds
    simulated: float  # mean of the seeds
    high: float
    fitted: bool  # False: held out of the fit

    @property
    def error(self) -> float:
        """Relative, of the mean."""
        return self.simulated / self.recorded - 1

    @property
    def tolerance(self) -> float | None:
        """What was asked; None: shown, not judged."""
        return TOLERANCE.get((self.kind, self.figure))

    @property
    def holds(self) -> bool:
        """Within the tolerance, if there is one."""
        return self.tolerance is None or abs(self.error) <= self.tolerance


def figures(run: VirtualRun) -> dict[str, float]:
    """What LoadGen would print of one simulated run, by RECORD's names."""
    verdict = simulate(run).verdict
    return {"samples_per_second": verdict.samples_per_second, **verdict.latency}


def over_seeds(run: VirtualRun, seeds: range = SEEDS) -> dict[str, np.ndarray]:
    """Each figure of `run` with other seeds of its jitter and spread: [seeds]."""
    found = [figures(replace(run, seed=seed)) for seed in seeds]
    return {name: np.array([each[name] for each in found]) for name in found[0]}


def compare(model: MachineModel, seeds: range = SEEDS, kinds: tuple[Kind, ...] = KINDS) -> list[Compared]:
    """The record and AMD's policy on `model`, figure by figure."""
    rows = []
    for kind in kinds:
        found = over_seeds(from_model(model, kind, "amd"), seeds)
        rows += [Compared(kind=kind, figure=name, recorded=recorded, low=float(found[name].min()), simulated=float(found[name].mean()),
                          high=float(found[name].max()), fitted=name in FITTED[kind]) for name, recorded in RECORD[kind].items()]
    return rows


def table(rows: list[Compared]) -> str:
    """Markdown."""
    lines = ["| run | figure | record | simulated (8 seeds: least to most) | error | asked | use |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        asked = "-" if row.tolerance is None else f"{row.tolerance:.1%}" + ("" if row.holds else " **missed**")
        lines.append(f"| {row.kind} | {row.figure} | {row.recorded:.4f} | {row.simulated:.4f} ({row.low:.4f} to {row.high:.4f}) "
                     f"| {row.error:+.2%} | {asked} | {'fitted' if row.fitted else 'held out'} |")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the fit is free to choose."""

    mean_s: float  # service time of the one batch size
    jitter: float
    spread: float
    contention: float
    start_stagger_s: float


# least and most of each; equal: fixed. Offline's jitter and spread are fixed at what its figures allow (0 to 0.5 % fit alike)
BOXES: Mapping[Kind, Mapping[str, tuple[float, float]]] = {
    "Offline": {"mean_s": (106.5, 109.5), "jitter": (0.002, 0.002), "spread": (0.001, 0.001), "contention": (1, 1), "start_stagger_s": (0, 4)},
    "Server": {"mean_s": (6.86, 7.4), "jitter": (0, 0.03), "spread": (0, 0.03), "contention": (0.95, 1.25), "start_stagger_s": (0, 0)},
}


def fit(model: MachineModel, kind: Kind, *, tries: int = 300, seeds: range = range(2),
        report: Callable[[str], None] = lambda _: None) -> tuple[Parameters, float]:
    """Random search, half of it near the best so far; the parameters and their worst relative error on the fitted figures."""
    random = Random(0)
    run, box = from_model(model, kind, "amd"), BOXES[kind]
    best: tuple[float, dict[str, float]] | None = None
    for attempt in range(tries):
        reach = 1.0 if best is None or attempt < tries // 2 else 0.15
        chosen = {name: low if high == low else _draw(random, low, high, best[1][name] if best and reach < 1 else (low + high) / 2, reach)
                  for name, (low, high) in box.items()}
        found = over_seeds(with_parameters(run, Parameters(**chosen)), seeds)
        error = max(abs(found[name].mean() / RECORD[kind][name] - 1) for name in FITTED[kind])
        if best is None or error < best[0]:
            best = (error, chosen)
            report(f"{attempt}: worst error {error:.2%} with " + ", ".join(f"{name} {value:.4g}" for name, value in chosen.items()))
    assert best is not None
    return Parameters(**best[1]), best[0]


def with_parameters(run: VirtualRun, parameters: Parameters) -> VirtualRun:
    """`run` on a machine with these parameters."""
    times = run.machine.service_times
    times = scaled(times, parameters.mean_s / times.of(run.sizes[0]), parameters.jitter)
    return replace(run, machine=replace(run.machine, service_times=times, spread=parameters.spread, contention=parameters.contention,
                                        start_stagger_s=parameters.start_stagger_s))


def _draw(random: Random, low: float, high: float, middle: float, reach: float) -> float:
    half = (high - low) * reach / 2
    return min(high, max(low, random.uniform(middle - half, middle + half)))

"""How well the static score of compile/static_rank.py ranks candidates that were measured: a table, and docs/STATIC_RANKING.md.

    python -m scripts.static_ranking --build build/sdxl_fp16_bs1-sm_80 --database tuning.sqlite --output docs/STATIC_RANKING.md

A database holds what compile.tune measured, by machine; a build's dumps say what its dispatches are. Both may be given several times: every
machine that a database knows gets its table. Only dispatches with at least five timed candidates count.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])
from compile import dispatch_ir, dumps, manifest, static_rank, tune_confirm
from compile.dispatch_ir import Dispatch
from ireeperf import document
from ireeperf.errors import ConfigError, MissingFileError, exit_code

ENOUGH, TOP, BAR = 5, 5, 0.10  # timed candidates; picks; the regret that static records may have (issue 5, part 6)
_ROWS = "SELECT source_sha256, target, machine, configuration, ratio FROM result WHERE phase = 'search' AND outcome = 'time' ORDER BY rowid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The command line."""

    build: tuple[Path, ...]
    database: tuple[Path, ...]
    output: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One dispatch on one machine. Regrets: time of the pick over the best measured candidate's, less one."""

    machine: str
    target: str  # what the code was compiled for: a CPU with AVX-512 runs that of AVX2 too
    dispatch: str
    timed: int
    correlation: float | None  # Spearman, of score and time; None where all scores or all times are equal
    top1_regret: float
    top5_regret: float
    random5_regret: float  # expected, of five candidates drawn without looking
    pick_over_default: float  # default's time over that of the static first choice: above 1 it is faster
    best_over_default: float


def parse(argv: Sequence[str] | None = None) -> Settings:
    parser = argparse.ArgumentParser(prog="scripts.static_ranking", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, action="append", required=True, help="build folder whose dispatches were measured (repeatable)")
    parser.add_argument("--database", type=Path, action="append", required=True, help="results of compile.tune (repeatable)")
    parser.add_argument("--output", type=Path, help="write the page (Markdown) here")
    given = vars(parser.parse_args(argv))
    return Settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def measured(path: Path) -> list[tuple[str, str, str, dict[str, int], float]]:
    """Timed candidates of a database: IR hash, target, machine, configuration and time in units of the default's."""
    if not path.is_file():
        raise MissingFileError(f"no database {path}; compile.tune makes it")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return [(sha, target, machine, json.loads(configuration), 1 / ratio) for sha, target, machine, configuration, ratio in
                    connection.execute(_ROWS)]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ConfigError(f"{path} is no database of compile.tune: {error}") from error


def rank(dispatches: Iterable[Dispatch], rows: Iterable[tuple[str, str, str, dict[str, int], float]], target: str) -> list[Ranked]:
    """Score the candidates of each dispatch and set the scores beside the times, machine by machine."""
    known = {one.source_sha256: one for one in dispatches}
    times: dict[tuple[str, str], dict[str, float]] = {}
    for sha, on, machine, configuration, time in rows:
        if sha in known and on == target:
            times.setdefault((machine, sha), {}).setdefault(json.dumps(configuration, sort_keys=True), time)
    found = []
    for (machine, sha), by_point in times.items():
        if len(by_point) >= ENOUGH and (scores := _scores(known[sha], by_point, target, machine)) is not None:
            found.append(compare(machine, target, known[sha].name, scores, list(by_point.values())))
    return found


def _scores(one: Dispatch, points: Iterable[str], target: str, machine: str) -> list[float] | None:
    space = tune_confirm.space_of(one, target, machine)
    if isinstance(space, str):
        return None
    scores = [static_rank.estimate(space.match, space.setting(json.loads(point)), target, wide="avx512f" in machine) for point in points]
    return None if None in scores else [score for score in scores if score is not None]


def compare(machine: str, target: str, name: str, scores: Sequence[float], times: Sequence[float]) -> Ranked:
    """Times in units of the default's. Equal scores keep the order of measurement."""
    order = sorted(range(len(scores)), key=lambda index: scores[index])
    best = min(times)
    picked = [times[index] for index in order]
    return Ranked(machine=machine, target=target, dispatch=name, timed=len(times), correlation=spearman(scores, times), top1_regret=picked[0] / best - 1,
                  top5_regret=min(picked[:TOP]) / best - 1, random5_regret=expected_best(times, TOP) / best - 1, pick_over_default=1 / picked[0],
                  best_over_default=1 / best)


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Rank correlation: Pearson's of the ranks, ties at their mean rank; None when either side has one value only."""
    a, b = _ranks(first), _ranks(second)
    middle_a, middle_b = statistics.fmean(a), statistics.fmean(b)
    spread = math.sqrt(sum((x - middle_a) ** 2 for x in a) * sum((y - middle_b) ** 2 for y in b))
    return sum((x - middle_a) * (y - middle_b) for x, y in zip(a, b, strict=True)) / spread if spread else None


def _ranks(values: Sequence[float]) -> list[float]:
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    return [statistics.fmean(places[value]) for value in values]


def expected_best(times: Sequence[float], count: int) -> float:
    """Expected minimum of `count` of `times` drawn without replacement."""
    ordered, total = sorted(times), len(times)
    count = min(count, total)
    return sum(time * math.comb(total - place - 1, count - 1) for place, time in enumerate(ordered)) / math.comb(total, count)


def short(machine: str) -> str:
    """A CPU's name without its instruction sets, but for whether AVX-512 is among them (the model of a virtual machine does not say)."""
    name, found, _ = machine.partition(" fpu ")
    return f"{name} (has {'AVX-512' if 'avx512f' in machine else 'AVX2'})" if found else machine


def summary(rows: Sequence[Ranked]) -> dict[str, float | int | bool]:
    """Of one machine's dispatches."""
    correlations = [row.correlation for row in rows if row.correlation is not None]
    return {"dispatches": len(rows), "candidates": sum(row.timed for row in rows),
            "correlation_median": round(statistics.median(correlations), 2) if correlations else float("nan"),
            "top1_regret_mean": round(statistics.fmean(row.top1_regret for row in rows), 3),
            "top5_regret_mean": round(statistics.fmean(row.top5_regret for row in rows), 3),
            "top5_regret_max": round(max(row.top5_regret for row in rows), 3),
            "random5_regret_mean": round(statistics.fmean(row.random5_regret for row in rows), 3),
            "top5_within_bar": sum(row.top5_regret <= BAR for row in rows),
            "pick_over_default_median": round(statistics.median(row.pick_over_default for row in rows), 2),
            "picks_slower_than_default": sum(row.pick_over_default < 1 for row in rows)}


def page(machines: dict[str, list[Ranked]]) -> str:
    """docs/STATIC_RANKING.md."""
    text = ["# Is static ranking any good?\n",
            "Written by `python -m scripts.static_ranking` from tuning databases; the score is that of `compile/static_rank.py`, a formula over tiles",
            "and published figures that was not fitted to these times. Times are those of `compile.tune`, each candidate beside the compiler's default",
            "in turns. Regret: time of the pick over the best measured candidate's, less one; top-5: the best of the score's first five. Random 5:",
            "the same expected of five candidates drawn blindly: what the score has to beat. Few candidates make every top-5 look good, and the",
            "candidates were chosen partly by the score itself, in later packs also around the best measured (compile/tune_pack.py), which narrows",
            "what it has to tell apart.\n",
            f"The bar: mean top-5 regret at most {BAR:.0%} on at least 30 dispatches, or static records stay off by default.\n"]
    for name, rows in machines.items():
        said = summary(rows)
        held = said["dispatches"] >= 30 and said["top5_regret_mean"] <= BAR
        text += [f"## {name}\n", "| " + " | ".join(key.replace("_", " ") for key in said) + " |", "|" + "---|" * len(said),
                 "| " + " | ".join(map(str, said.values())) + " |\n", f"Bar: {'met' if held else 'not met'}. {_plainly(said)}\n",
                 "| dispatch | timed | rank correlation | top-1 regret | top-5 regret | random 5 | static first choice | best measured |",
                 "|---|---|---|---|---|---|---|---|"]
        text += [f"| {row.dispatch.rpartition('_dispatch_')[2]} | {row.timed} | {'-' if row.correlation is None else f'{row.correlation:.2f}'} | "
                 f"{row.top1_regret:.0%} | {row.top5_regret:.0%} | {row.random5_regret:.0%} | {row.pick_over_default:.2f}x | {row.best_over_default:.2f}x |"
                 for row in rows]
        text += ["\nThe last two columns: the compiler's default over it, above 1 it is faster.\n"]
    return "\n".join(text).rstrip() + "\n"


def _plainly(said: dict[str, float | int | bool]) -> str:
    """What the bar does not say."""
    blind = (f"Five blind picks meet it as well ({said['random5_regret_mean']:.1%}), so it says little here. " if said["random5_regret_mean"] <= BAR else
             f"Five blind picks: {said['random5_regret_mean']:.1%}. ")
    return blind + (f"A static record is one pick, not five: {said['top1_regret_mean']:.0%} behind the best on average, and slower than the compiler's "
                    f"default on {said['picks_slower_than_default']} of {said['dispatches']} dispatches.")


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    print(f"static_ranking builds {', '.join(map(str, settings.build))} databases {', '.join(map(str, settings.database))} "
          f"output {settings.output}", flush=True)
    rows = [row for path in settings.database for row in measured(path)]
    ranked: list[Ranked] = []
    for build in settings.build:
        found = manifest.read(build)
        folder = build if build.is_dir() else build.parent
        every = [one for executable in found.executables for one in dispatch_ir.dispatches(folder / f"{Path(executable.path).stem}{dumps.SUFFIX}")]
        ranked += rank(every, rows, found.target)
    if not ranked:
        raise ConfigError(f"no dispatch of the builds has {ENOUGH} timed candidates in the databases; measure with compile.tune first")
    machines: dict[str, list[Ranked]] = {}
    for row in ranked:
        machines.setdefault(f"{short(row.machine)}, code for {row.target}", []).append(row)
    text = page(machines)
    print(text, flush=True)
    if settings.output is not None:
        document.write_text(settings.output, text)
    print(json.dumps({name: summary(rows) | {"rows": [asdict(row) | {"machine": name} for row in rows]} for name, rows in machines.items()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

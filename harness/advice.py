"""When a run went wrong: what it means and what to do, from its own figures.

    python -m harness.advice runs/<run>                      or any mlperf_log_summary.txt, ours or another harness's
    python -m harness.advice --machine                       fewer devices than the mode gives?
    python -m harness.advice --quantization-hours 5

The cases are those of the troubleshooting section of AMD's article "Reproducing the AMD Instinct GPUs MLPerf Inference v5.1
Submission" (INVALID on latency, fewer than 64 devices, slow quantization), and LoadGen's other conditions.

`highest_qps` is an estimate from the heavy-traffic behaviour of a queue with Poisson arrivals and a constant service time:
waiting is exponential at rate 2 (C - q), q the arrival rate and C the capacity in samples/s, so p99 of the latency is S +
ln(100) / (2 (C - q)), S the latency of an idle machine, taken as the run's least.
- Where the machine fell behind (completed < 98 % of scheduled), C is what it completed: it was never idle.
- Where it kept up and only the tail was late, C is what makes the formula give the run's own p99.
Never above what the run completed. A run of 600 s can be VALID a little above it, because it begins with an empty queue:
AMD's record completed 16.20 of 16.66 scheduled. On simulated queues like SDXL's (64 devices, pairs, 6.86 s, limit 20 s) it
is 3 to 4 % below the highest rate that holds, and holds; where the limit leaves less than one batch's time to wait it can be
18 % too high, which is said.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import run_result, summary_log
from harness.loadgen_rules import PERCENTILE, queries_needed
from ireeperf.errors import ConfigError, RunError, exit_code
from runtime import sysfs, topology
from runtime.partition import Partition

BEHIND = 0.98  # completed / scheduled below this: a backlog grew. A run that keeps up differs by its last queries only
QUANTIZATION_HOURS = 2.0  # AMD's figure for its quantization on GPUs
ADVICE_OF_AMD = "AMD's advice for its 8 x MI325X, where its target is 16.5: 16.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How the run was started, for commands that can be pasted."""

    scenario: str
    model: str = "*"  # LoadGen's model key
    user_conf: str = "user.conf"
    command: tuple[str, ...] = ()  # of the run
    batch_s: float | None = None  # seconds of its slowest batch, where they are known


def highest_qps(figures: Mapping[str, Any]) -> float | None:
    """Arrival rate (samples/s) that this run's machine could have held within its latency limit; None when no rate can.

    `figures` are those of the detail log. ConfigError when it is not a Server run with latencies.
    """
    try:
        completed = float(figures["result_completed_samples_per_sec"])
        scheduled = float(figures.get("result_scheduled_samples_per_sec", figures.get("effective_target_qps", completed)))
        limit, tail, least = (float(figures[key]) / 1e9 for key in (
            "effective_target_latency_ns", _latency_key(figures), "result_min_latency_ns"))
    except KeyError as error:
        raise ConfigError(f"the run's log has no {error.args[0]}; a Server performance run is needed to tell its highest "
                          "QPS") from None
    room = limit - least
    if room <= 0 or completed <= 0:
        return None
    capacity, decay = completed, -math.log(1 - _share(figures)) / 2
    if completed >= BEHIND * scheduled and tail > least:
        capacity += decay / (tail - least)
    qps = min(capacity - decay / room, completed)
    return qps if qps > 0 else None


def _share(figures: Mapping[str, Any]) -> float:
    """The share of queries that must be in time: MLPerf's 0.99, or what user.conf lowered it to."""
    return float(figures.get("effective_target_latency_percentile", PERCENTILE))


def _latency_key(figures: Mapping[str, Any]) -> str:
    return f"result_{100 * _share(figures):.2f}_percentile_latency_ns"


def advise(figures: Mapping[str, Any], context: Context) -> tuple[str, ...]:
    """What to change, one line each; empty for a run that LoadGen calls VALID and logged no error in."""
    void = "LoadGen logged an error, which voids a run whatever its figures"
    lines = [f"{void}: {error}" for error in figures.get("errors", ())]
    if figures.get("result_validity") == "VALID":
        return tuple(lines)
    if "result_completed_tokens_per_second" in figures:  # LoadGen prints it of a Server run with token latencies only
        lines += _token_latencies(figures, context)
    elif figures.get("result_perf_constraints_met") is False:
        lines += _latency(figures, context)
    elif figures.get("early_stopping_met") is False:
        lines += _early_stopping(figures, context)
    if figures.get("result_min_duration_met") is False:
        lines += _duration(figures, context)
    if figures.get("result_min_queries_met") is False:
        lines.append(f"fewer queries than min_query_count {figures.get('effective_min_query_count', '')}: the run ended "
                     f"early; take max_duration and max_query_count out of {context.user_conf}, and run again")
    return tuple(lines)


def _token_latencies(figures: Mapping[str, Any], context: Context) -> list[str]:
    """A decoder's Server run: which of its two limits is not met. No rate is estimated: its queue is none of equal batches."""
    lines = []
    for what, key, limit in (("to the first token", "result_first_token_{}_percentile_latency_ns", "requested_server_ttft_latency"),
                             ("per output token", "result_time_per_output_token_{}_percentile_ns", "requested_server_tpot_latency")):
        took, most = (float(figures.get(name, math.nan)) / 1e6 for name in (key.format(f"{100 * _share(figures):.2f}"), limit))
        if not (math.isnan(took) or math.isnan(most)):  # a run of an earlier release kept neither
            lines.append(f"p{100 * _share(figures):g} of the time {what} is {took:.1f} ms, the limit {most:g} ms")
    if figures.get("result_perf_constraints_met") is False:
        return [*lines, f"lower target_qps {float(figures.get('effective_target_qps', math.nan)):g} in {context.user_conf}, or take fewer sequences at a "
                "time (--batch-size), and run again"]
    if figures.get("early_stopping_met") is False:
        return [*lines, f"LoadGen cannot be 99 % sure of both: raise min_duration in {context.user_conf}, and run again"]
    return []


def _latency(figures: Mapping[str, Any], context: Context) -> list[str]:
    limit, tail = (float(figures[key]) / 1e9 for key in ("effective_target_latency_ns", _latency_key(figures)))
    said = f"p{100 * _share(figures):g} latency is {tail:.2f} s, the limit {limit:g} s"
    qps = highest_qps(figures)
    least = float(figures["result_min_latency_ns"]) / 1e9
    if qps is None:
        return [f"{said}: on an idle machine a sample takes {least:.2f} s already, which leaves no room to wait at any QPS; "
                "compile a smaller batch size, or set the partition mode with fewer, larger devices (SPX)"]
    completed = float(figures["result_completed_samples_per_sec"])
    scheduled = float(figures.get("result_scheduled_samples_per_sec", figures.get("effective_target_qps", completed)))
    how = f"the machine fell behind: it completed {completed:.2f} of {scheduled:.2f} samples/s that arrived" \
        if completed < BEHIND * scheduled else \
        f"the machine kept up with {completed:.2f} samples/s, but the queue's tail was late"
    target = math.floor(qps * 100) / 100
    lines = [f"{said}; {how}", f"the highest QPS this run could have held is about {target:g} (an estimate from what it "
             f"completed and its least latency, {least:.2f} s; see harness/advice.py)"]
    if context.model == "stable-diffusion-xl":
        lines.append(ADVICE_OF_AMD)
    if limit - least < (context.batch_s or least):
        lines.append("a rough estimate, because the limit leaves less than one batch's time to wait: if that run is "
                     "INVALID too, ask again with its figures, or compile smaller batch sizes")
    return lines + _again(context, {"target_qps": f"{target:g}"})


def _early_stopping(figures: Mapping[str, Any], context: Context) -> list[str]:
    """Latency is met, but too few queries were late for too few queries: run longer."""
    queries, late = int(figures.get("result_query_count", 0)), int(figures.get("result_overlatency_query_count", 0))
    share = _share(figures)
    wanted = queries_needed(late, share)
    count = f"{late} of {queries} queries were late, which needs {wanted} queries" if queries else \
        f"at least {wanted} queries are needed when none is late"
    rate = float(figures.get("effective_target_qps", 0)) or 1.0
    seconds = math.ceil(1.05 * wanted / rate)  # arrivals are random: 5 % more time than the mean needs
    return [f"p{100 * share:g} is within the limit, but LoadGen cannot be 99 % sure of it: {count}",
            *_again(context, {"min_duration": str(max(seconds * 1000, int(figures.get("effective_min_duration_ms", 0))))})]


def _duration(figures: Mapping[str, Any], context: Context) -> list[str]:
    """Offline: the query held too few samples. LoadGen makes 1.1 x min_duration x target_qps of them."""
    least_s = float(figures.get("effective_min_duration_ms", 0)) / 1e3
    if context.scenario != "Offline":
        return [f"the run was shorter than min_duration {least_s:g} s: it ended early; take max_duration and "
                f"max_query_count out of {context.user_conf}, and run again"]
    rate, asked = float(figures.get("result_samples_per_second", 0)), float(figures.get("effective_target_qps", 0))
    took = float(figures.get("result_max_latency_ns", 0)) / 1e9
    return [f"the query was drawn in {took:.1f} s, min_duration is {least_s:g} s: target_qps {asked:g} is below the "
            f"{rate:.4g} samples/s that "
            "the machine draws, so LoadGen's query (1.1 x min_duration x target_qps samples) was too small",
            *_again(context, {"target_qps": f"{math.ceil(rate * 10) / 10:g}"})]


def _again(context: Context, change: Mapping[str, str]) -> list[str]:
    """The command that runs again with changed lines of user.conf (the last line of a key counts in LoadGen)."""
    lines = "".join(f"{context.model}.{context.scenario}.{key} = {value}\\n" for key, value in change.items())
    command = list(context.command) or [".venv/bin/python", "-m", f"harness.{context.scenario.lower()}"]
    for flag in ("--user-conf", "--output"):  # the old ones; an output folder must be new
        if flag in command:
            at = command.index(flag)
            del command[at:at + 2]
    name = f"user_{'_'.join(f'{key}_{value}' for key, value in change.items())}.conf"
    return [f"run again: {{ cat {context.user_conf}; printf '{lines}'; }} > {name} && {' '.join(command)} --user-conf "
            f"{name}"]


def few_devices(machine: Partition, root: Path = Path("/")) -> tuple[str, ...]:
    """Why fewer devices show than the mode gives (63 of 64); empty when all do."""
    return topology.absence(machine, sysfs.foreign_drm_nodes(root)) if machine.absent else ()


def slow_quantization(hours: float, compute_mode: str) -> tuple[str, ...]:
    """AMD's FAQ: more than two hours means another mode than SPX, or take the public weights."""
    if hours <= QUANTIZATION_HOURS:
        return ()
    weights = "or skip it: AMD's quantized weights are public, amd-shark/sdxl-quant-models on Hugging Face"
    if compute_mode != "SPX":
        return (f"quantization takes {hours:.1f} hours on a device of mode {compute_mode}: calibrate on whole GPUs, sudo "
                "amd-smi set --gpu all --compute-partition SPX, and back to CPX for the runs", weights)
    return (f"quantization takes {hours:.1f} hours in SPX; AMD names {QUANTIZATION_HOURS:g}: is it running on the "
            "CPU?", weights)


def of_run(folder: Path) -> tuple[str, ...]:
    """Advice on a run folder of ours."""
    result, conf = run_result.read(folder), folder / "user.conf"
    lost = tuple(f"{device} was lost: {cause}" for device, cause in result.lost.items())
    if result.status == "failed":
        return (f"the run failed: {result.cause}", *lost)
    try:
        argv = json.loads((folder / run_result.SETTINGS).read_text())["command"]
        keys = [line.split(".")[:2] for line in conf.read_text().splitlines() if line.strip() and not line.startswith("#")]
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise RunError(f"{folder} is not a whole run folder: {error}") from error
    # LoadGen prefers a line of the model's own key to one of "*"
    scenario, interactive = ("Server", True) if result.scenario == "Interactive" else (result.scenario, False)
    model = next((key[0] for key in keys if key[1:] == [scenario] and key[0] != "*" and key[0].endswith("-interactive") == interactive), "*")
    command = (".venv/bin/python", "-m", f"harness.{result.scenario.lower()}", *map(str, argv[1:]))
    slowest = max((batch.completed_ns - batch.started_ns for batch in run_result.read_timeline(folder).batches), default=0)
    context = Context(scenario=scenario, model=model, user_conf=str(conf), command=command,
                      batch_s=slowest / 1e9 or None)
    return (*advise(result.loadgen, context), *lost)


def of_summary(path: Path) -> tuple[str, ...]:
    """Advice on a summary log, and where it contradicts itself."""
    summary = summary_log.read(path)
    return (*advise(summary.figures, Context(scenario=summary.scenario)), *summary_log.inconsistencies(summary))


def main(argv: Sequence[str] | None = None) -> int:
    """Say what to change after a run, when devices are absent, or when quantization takes long; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m harness.advice", allow_abbrev=False, description=main.__doc__)
    about = parser.add_mutually_exclusive_group(required=True)
    about.add_argument("run", type=Path, nargs="?", help="run folder, or a mlperf_log_summary.txt")
    about.add_argument("--machine", action="store_true", help="do all devices of this machine's mode show?")
    about.add_argument("--quantization-hours", type=float, metavar="H", help="quantization on this machine's GPUs takes H "
                                                                             "hours")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the machine's sys/ lies (default %(default)s)")
    arguments = parser.parse_args(argv)
    path, root = arguments.run, arguments.root
    print(f"harness.advice: {path or 'this machine'}, root {root}")
    if path is not None:
        lines = of_run(path) if path.is_dir() else of_summary(path)
    else:
        machine = topology.read_machine(root)
        lines = few_devices(machine, root) if arguments.machine else \
            slow_quantization(arguments.quantization_hours, machine.compute_mode)
    print("\n".join(lines) or "nothing to change")
    print(json.dumps({"about": str(path or "machine"), "advice": list(lines)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

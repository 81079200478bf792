"""The folder of one run: settings before it starts, result and timeline when it ends, however it ends."""

from __future__ import annotations

import math
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from harness import advice, detail_log, machine, supervisor, unfinished
from harness.inputs import REHEARSALS, Inputs, loadgen_key, loadgen_scenario
from harness.run_result import LOADGEN, NAME, SETTINGS, TIMELINE, BatchEvent, Plan, RunResult, Scenario, Timeline, Timing
from harness.settings import RunSettings
from ireeperf import document
from ireeperf.errors import ConfigError, RunError
from runtime.decoder_policy import DecoderPolicy, Tell
from runtime.partition import Partition
from runtime.policy import FifoPolicy, Respond
from runtime.pool import DevicePool

USER_CONF = "user.conf"
ACCURACY_LOG = "mlperf_log_accuracy.json"
UNSAID = "the run's process and its supervisor ended without a word"


class RunRecord:
    """Gathers what a run did and writes it. `settings.json` and `running.json` are on disk before the first device opens."""

    def __init__(self, settings: RunSettings, inputs: Inputs, scenario: Scenario, uris: tuple[str, ...],
                 partition: Partition | None = None) -> None:
        self.settings, self.inputs, self.scenario, self.uris = settings, inputs, scenario, uris
        self.partition = partition
        self.folder = inputs.output
        self._plan: Plan | None = None
        self.policy: FifoPolicy | DecoderPolicy | None = None
        self.tokens = 0  # of all answers
        self._batches: list[BatchEvent] = []
        self._pool: DevicePool | None = None
        self._clock_ns = time.monotonic_ns()
        self._cpu = (self._cpu_seconds(), 0.0)
        self._started = datetime.now(UTC)
        self._interpreter, self._versions, self._host = machine.interpreter(), machine.versions(), machine.host()
        (self.folder / LOADGEN).mkdir()
        shutil.copyfile(inputs.user_conf, self.folder / USER_CONF)  # what LoadGen read, kept with what it led to
        document.write({"command": sys.argv, "settings": settings, "resolved": self._resolved(), "interpreter": self._interpreter,
                        "versions": self._versions, "host": self._host}, self.folder / SETTINGS)
        unfinished.begin(self.folder, self._result("failed", UNSAID, {}, self._timing()))
        supervisor.announce(self.folder)

    @property
    def loadgen_folder(self) -> Path:
        """Where LoadGen writes."""
        return self.folder / LOADGEN

    def start_clock(self, pool: DevicePool) -> None:
        """Devices are warm: the run begins now."""
        self._pool, self.policy = pool, pool.policy
        self._started = datetime.now(UTC)
        self._cpu = (self._cpu_seconds(), pool.executable_cpu_seconds())
        self._clock_ns = time.monotonic_ns()

    def add(self, answer: Respond | Tell) -> None:
        """Note an answered batch, or a decoder's call."""
        zero, completion = self._clock_ns, answer.completion
        if isinstance(answer, Tell):
            first, samples, size = -1, answer.rows, answer.call.size
            self.tokens += sum(len(request.answer) for request in answer.ended)
        else:
            first, samples, size = answer.batch.samples[0].index, len(answer.batch.samples), answer.batch.size
        self._batches.append(BatchEvent(
            device=completion.device, first_sample=first, samples=samples,
            size=size, submitted_ns=answer.submitted_ns - zero, started_ns=completion.started_ns - zero,
            completed_ns=completion.completed_ns - zero))

    def finish(self, samples: int) -> RunResult:
        """LoadGen ended after `samples`: read its logs, judge, write."""
        timing = self._timing()  # before the logs are read: that is not part of the run
        self._plan = self._waves(samples, timing) if self.scenario == "Offline" and not self.tokens else None
        log = detail_log.read(self.loadgen_folder / detail_log.NAME)
        status, cause = self._judge(log)
        result = replace(self._result(status, cause, log, timing), advice=self._advice(status, log))
        document.write(Timeline(batches=tuple(self._batches)), self.folder / TIMELINE)
        document.write(result, self.folder / NAME)  # last: a folder with a result is complete
        unfinished.end(self.folder)
        return result

    def fail(self, error: BaseException) -> None:
        """The run did not finish: say why. Never hides `error` behind one of its own; what was written as a result stands."""
        if (self.folder / NAME).exists():
            return
        cause = "interrupted (Ctrl-C)" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
        result = self._result("failed", cause, {}, self._timing())
        try:
            document.write(Timeline(batches=tuple(self._batches)), self.folder / TIMELINE)
        except ConfigError as second:  # a full disk, most likely
            print(f"warning: {second}", file=sys.stderr)
        try:
            unfinished.fail(self.folder, result)
        except OSError as second:  # a missing result.json is truthful too
            print(f"cannot write {self.folder / NAME}: {second}", file=sys.stderr)

    def _judge(self, log: dict[str, Any]) -> tuple[Literal["valid", "invalid"], str | None]:
        """LoadGen's verdict; in accuracy mode, which it does not judge, that the log holds every sample whole."""
        if log["errors"]:
            return "invalid", f"LoadGen logged an error: {log['errors'][0]}"
        if self.settings.mode != "accuracy":
            if log.get("result_validity") == "VALID":
                return "valid", None
            limits = {"min_duration": "result_min_duration_met", "min_queries": "result_min_queries_met",
                      "latency limit": "result_perf_constraints_met", "early stopping": "early_stopping_met"}
            unmet = [name for name, key in limits.items() if log.get(key) is False]
            return "invalid", f"{' and '.join(unmet) or 'a limit'} not met; LoadGen: {log.get('result_invalid_reason', 'no reason')}"
        found = (self.loadgen_folder / ACCURACY_LOG).stat().st_size
        if found < self.inputs.data_digits:
            raise RunError(f"{ACCURACY_LOG} has {found} bytes, {self.inputs.data_digits} digits of answers were given: it is "
                           "cut off, most likely by a full disk; free it and run again")
        return "valid", None

    def _advice(self, status: str, log: dict[str, Any]) -> tuple[str, ...]:
        """What to change when LoadGen calls the run invalid, with the command to run again."""
        if status != "invalid":
            return ()
        command = (sys.executable, "-m", f"harness.{self.scenario.lower()}", *sys.argv[1:])
        slowest = max((batch.completed_ns - batch.started_ns for batch in self._batches), default=0) / 1e9
        return advice.advise(log, advice.Context(scenario=loadgen_scenario(self.scenario), model=loadgen_key(self.inputs.manifest, self.scenario),
                                                 user_conf=str(self.inputs.user_conf), command=command, batch_s=slowest))

    def _timing(self) -> Timing:
        """CPU seconds outside executables: all of this process (LoadGen's threads too) and its children less what executables took."""
        wall = (time.monotonic_ns() - self._clock_ns) / 1e9
        cpu = self._cpu_seconds() - self._cpu[0]
        executables = self._pool.executable_cpu_seconds() - self._cpu[1] if self._pool else 0.0
        busy = sum(batch.completed_ns - batch.started_ns for batch in self._batches) / 1e9
        return Timing(wall=wall, cpu=cpu, device_busy=busy, host=max(0.0, cpu - executables))

    def _cpu_seconds(self) -> float:
        """User + system of this process and of the devices' child processes."""
        if self._pool is None or self.settings.isolation == "thread":
            return time.process_time()
        from runtime.process_device import children_cpu_seconds  # here: threads need no multiprocessing

        return time.process_time() + children_cpu_seconds(self._pool.devices)

    def _waves(self, samples: int, timing: Timing) -> Plan:
        """How full the waves were planned to be, and how busy the devices were from first submit to last completion."""
        wave = len(self.uris) * self.inputs.batch_size
        waves = math.ceil(samples / wave)
        span = (max(b.completed_ns for b in self._batches) - min(b.submitted_ns for b in self._batches)) / 1e9
        return Plan(samples=samples, waves=waves, planned_efficiency=samples / (waves * wave),
                    achieved_efficiency=timing.device_busy / (len(self.uris) * span),
                    padded=self.policy.padded if self.policy else 0)

    def _result(self, status: Literal["valid", "invalid", "failed"], cause: str | None, log: dict[str, Any],
                timing: Timing) -> RunResult:
        inputs, policy = self.inputs, self.policy
        return RunResult(
            run=self.folder.name, scenario=self.scenario, mode=self.settings.mode, status=status, cause=cause,
            started_utc=self._started.isoformat(timespec="seconds"), model=inputs.manifest.model.model,
            manifest=str(inputs.manifest_path), manifest_key=inputs.manifest.key, sample_set=str(inputs.samples_path),
            sample_set_digest=inputs.samples.digest, samples_issued=policy.issued if policy else 0,
            samples_completed=policy.completed if policy else 0, devices=self.uris, batch_size=inputs.batch_size,
            loadgen=log, interpreter=self._interpreter, timing=timing, versions=self._versions, host=self._host, plan=self._plan,
            null_pictures=None if self.settings.null_pictures is None else str(self.settings.null_pictures),
            isolation=self.settings.isolation, partition=self.partition.name if self.partition else None,
            lost=dict(policy.lost) if policy else {}, reissued=policy.reissued if policy else 0,
            reopened=len(policy.rebuilt) if policy else 0, rebuilt=tuple(policy.rebuilt) if policy else ())

    def _resolved(self) -> dict[str, Any]:
        inputs = self.inputs
        return {"manifest": inputs.manifest_path, "manifest_key": inputs.manifest.key, "samples": inputs.samples_path,
                "sample_count": len(inputs.samples), "user_conf": inputs.user_conf, "batch_sizes": inputs.sizes,
                "devices": self.uris, "partition": self.partition}


def headline(settings: RunSettings, inputs: Inputs, uris: tuple[str, ...]) -> str:
    """The settings of the run, printed before it starts."""
    model = inputs.manifest.model
    chosen = "as given" if settings.manifest else "the last build"
    lines = [
        f"build     {inputs.manifest_path} ({chosen}): {model.model} for {inputs.manifest.target}, key {inputs.manifest.key[:8]}",
        f"samples   {inputs.samples_path}: {inputs.samples.name}, {len(inputs.samples)} samples",
        f"LoadGen   {settings.mode}, model key {model.loadgen_model}, {inputs.user_conf}",
        f"devices   {', '.join(uris[:4])}{f' ... ({len(uris)})' if len(uris) > 4 else ''}, "
        f"batch size {', '.join(map(str, inputs.sizes))}, isolation {settings.isolation}",
        f"run       {inputs.output}",
    ]
    if settings.preset:
        lines.append(f"preset    {settings.preset}")
    if settings.device == "null":
        lines.append("NULL DEVICES: " + ("answers are tags, not images; this run is never scored" if settings.null_pictures is None else
                                         f"answers are the stored pictures of {settings.null_pictures}; a score is theirs"))
    if model.loadgen_model in REHEARSALS:
        lines.append(f"REHEARSAL: {model.loadgen_model} is not an MLPerf benchmark, its LoadGen limits are our own")
    return "\n".join(lines)


def samples_per_second(result: RunResult) -> float | None:
    """LoadGen's figure: of Offline the samples over the last one's latency, of Server those completed per second."""
    return result.loadgen.get("result_samples_per_second" if result.scenario == "Offline" else "result_completed_samples_per_sec")


def summary(result: RunResult, folder: Path) -> dict[str, Any]:
    """The last line of stdout."""
    tokens = tokens_per_second(result)
    return {
        "valid": result.status == "valid", "samples_per_second": samples_per_second(result), **({} if tokens is None else {"tokens_per_second": tokens}),
        "run": str(folder), "mode": result.mode, "cause": result.cause, "samples": result.samples_completed,
        "lost": len(result.lost), "seconds": round(result.timing.wall, 2), "host_cost": round(result.timing.host / max(result.timing.wall, 1e-9), 4),
        "gil_enabled": result.interpreter.gil_enabled, "null": result.is_null,
    }


def tokens_per_second(result: RunResult) -> float | None:
    """LoadGen's score of a decoder; None of an image model."""
    return result.loadgen.get("result_tokens_per_second" if result.scenario == "Offline" else "result_completed_tokens_per_second")


@contextmanager
def terminated_as_error() -> Iterator[None]:
    """Turn SIGTERM into a RunError, so that a terminated run leaves a result that says so."""
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise RunError("terminated (SIGTERM)")
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)

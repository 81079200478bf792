"""MLPerf LoadGen: the only module that imports it.

LoadGen's StartTest blocks and cannot be interrupted, so it runs in a daemon thread, and the thread that answers is the
caller's, which outlives it: a thread that called QuerySamplesComplete and ended before StartTest returned crashes the
process in LoadGen's TlsLogger (measured with 5.1.1, 9 of 10 runs).
"""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import mlperf_loadgen as lg
import numpy as np

from harness.inputs import CONF, loadgen_scenario
from harness.run_result import COMPLIANCE, Mode, Scenario
from ireeperf.errors import ConfigError, RunError
from runtime.batch import Ended, Event, Issue, Sample
from runtime.decoder_policy import Tell
from runtime.policy import Respond

AUDIT = "audit.config"  # of a compliance run, beside its logs
OFFLINE_SLACK = 1.1  # kSlack in LoadGen's test_settings_internal.cc: samples = slack x min_duration x target_qps


class LoadGen:
    """One LoadGen test. One per process: FromConfig counts its calls, and the second one voids the log."""

    _made: ClassVar[bool] = False

    def __init__(self, *, model: str, scenario: Scenario, mode: Mode, user_conf: Path, samples: int) -> None:
        if LoadGen._made:
            raise RunError("LoadGen was already started in this process; start each run in a process of its own")
        LoadGen._made = True
        self._samples = samples
        self._loaded = np.zeros(samples, np.bool_)
        self.settings = lg.TestSettings()
        # loads LoadGen's embedded mlperf.conf for this model first, then the user's file
        if self.settings.FromConfig(str(user_conf), model, loadgen_scenario(scenario)) != 0:
            raise ConfigError(f"LoadGen cannot read {user_conf}; a line is `model.scenario.key = number`")
        self.settings.scenario = getattr(lg.TestScenario, loadgen_scenario(scenario))
        self.settings.mode = lg.TestMode.AccuracyOnly if mode == "accuracy" else lg.TestMode.PerformanceOnly
        self.audit = CONF / f"{mode}.config" if mode in COMPLIANCE else None
        in_memory = int(self.settings.performance_sample_count_override)
        if in_memory > samples:
            raise ConfigError(f"{model} needs performance_sample_count {in_memory}, the sample set has {samples}; use a larger "
                              "set, or for a rehearsal lower performance_sample_count_override in --user-conf")

    def offline_samples(self) -> int:
        """Samples that the conf files ask of an Offline performance or compliance run."""
        wanted = OFFLINE_SLACK * self.min_duration_s * float(self.settings.offline_expected_qps)
        return max(int(self.settings.min_query_count), math.floor(wanted))

    @property
    def target_latency_s(self) -> float:
        """Server: the latency limit of its percentile."""
        return float(self.settings.server_target_latency_ns) / 1e9

    @property
    def counts_tokens(self) -> bool:
        """Whether LoadGen takes answers for tokens: it then reports tokens per second, and of Server the token latencies."""
        return bool(self.settings.use_token_latencies)

    @property
    def wants_first_tokens(self) -> bool:
        """Whether LoadGen must hear of every first token: of Server with token latencies; in Offline it never does."""
        return self.counts_tokens and self.settings.scenario == lg.TestScenario.Server

    @property
    def limits(self) -> str:
        """Server: what is asked of its latencies, in words."""
        if self.wants_first_tokens:
            return f"limits {1e3 * self.ttft_s:g} ms to the first token and {1e3 * self.tpot_s:g} ms a token"
        return f"latency limit {self.target_latency_s:g} s"

    @property
    def ttft_s(self) -> float:
        """Server with token latencies: the limit of the time to the first token."""
        return float(self.settings.ttft_latency) / 1e9

    @property
    def tpot_s(self) -> float:
        """Server with token latencies: the limit of the mean time per output token."""
        return float(self.settings.tpot_latency) / 1e9

    @property
    def target_qps(self) -> float:
        """Server: the mean arrival rate, samples per second."""
        return float(self.settings.server_target_qps)

    @property
    def min_duration_s(self) -> float:
        """How long a valid performance run must last."""
        return float(self.settings.min_duration_ms) / 1e3

    def ask_for(self, samples: int) -> None:
        """Let the Offline query hold at least `samples` (never fewer than the conf files say)."""
        self.settings.min_query_count = max(int(self.settings.min_query_count), samples)

    def start(self, folder: Path, post: Callable[[Event], None]) -> None:
        """Run the test in a daemon thread with its logs in `folder`: `post` gets Issue events, then Ended."""
        threading.Thread(target=self._run, args=(folder, post), name="loadgen", daemon=True).start()

    def respond(self, answer: Respond | Tell) -> None:
        """Answer a batch's samples straight from the images' memory; LoadGen copies what it logs before it returns. Of a decoder's call, first
        tokens where LoadGen measures them, then whole answers with their lengths."""
        if isinstance(answer, Tell):
            if answer.first and self.wants_first_tokens:
                first = [np.array(request.answer[:1], np.int32) for request in answer.first]
                lg.FirstTokenComplete([lg.QuerySampleResponse(request.id, token.ctypes.data, token.nbytes)
                                       for request, token in zip(answer.first, first, strict=True)])
            whole = [np.array(request.answer, np.int32) for request in answer.ended]
            if not whole:  # most calls of decode
                return
            lg.QuerySamplesComplete([lg.QuerySampleResponse(request.id, tokens.ctypes.data, tokens.nbytes, len(tokens))
                                     for request, tokens in zip(answer.ended, whole, strict=True)])
            return
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, image.ctypes.data, image.nbytes)
                                 for sample, image in zip(answer.batch.samples, answer.completion.answers, strict=True)])

    def _run(self, folder: Path, post: Callable[[Event], None]) -> None:
        try:
            outputs = lg.LogOutputSettings()
            outputs.outdir = str(folder)
            outputs.copy_summary_to_stdout = False
            logs = lg.LogSettings()
            logs.log_output = outputs
            logs.enable_trace = False  # a trace is 4 MiB and more per run
            sut = lg.ConstructSUT(lambda query: post(self._issue(query)), lambda: None)
            qsl = lg.ConstructQSL(self._samples, self._samples, self._load, self._unload)
            # named in the run's folder, so that an audit.config in the current directory never takes part unseen
            if self.audit is not None:
                shutil.copyfile(self.audit, folder / AUDIT)
            lg.StartTestWithLogSettings(sut, qsl, self.settings, logs, str(folder / AUDIT))
            lg.DestroyQSL(qsl)
            lg.DestroySUT(sut)
            post(Ended(cause=None))
        except BaseException as error:
            post(Ended(cause=f"LoadGen failed: {type(error).__name__}: {error}"))

    def _issue(self, query: list[lg.QuerySample]) -> Event:
        samples = tuple(Sample(sample.id, sample.index) for sample in query)
        if not all(self._loaded[sample.index] for sample in samples):
            return Ended(cause="LoadGen issued a sample that it had not loaded")
        return Issue(samples=samples)

    def _load(self, indices: list[int]) -> None:
        self._loaded[indices] = True  # the sample set lies in memory already

    def _unload(self, indices: list[int]) -> None:
        self._loaded[indices] = False

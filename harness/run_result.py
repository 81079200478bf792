"""RunResult: what one LoadGen run gave. One run is one process and one folder:

    runs/<UTC>-<scenario>-<mode>-<key>/result.json  settings.json  loadgen/  timeline.json  score/

TEST01 and TEST04 are MLPerf's compliance tests: performance runs under an audit.config, which the folder keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ireeperf import document

Scenario = Literal["Offline", "Server", "Interactive"]  # Interactive: a decoder's Server run under tighter limits
Mode = Literal["performance", "accuracy", "TEST01", "TEST04"]
COMPLIANCE = ("TEST01", "TEST04")
NAME, SETTINGS, TIMELINE, LOADGEN, SCORE = "result.json", "settings.json", "timeline.json", "loadgen", "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The Python that ran the harness."""

    version: str
    free_threaded: bool  # built without the GIL
    gil_enabled: bool  # sys._is_gil_enabled() after all imports


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the run's time went, in seconds."""

    wall: float
    cpu: float  # user + system of this process
    device_busy: float  # summed over devices: from submit to completion of each batch
    host: float  # CPU seconds of the harness's own threads outside executables


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Offline in whole waves (every device draws one full batch): a half-empty last wave costs 1-6 % of a score."""

    samples: int  # in the query
    waves: int
    planned_efficiency: float  # samples / (waves x devices x batch size)
    achieved_efficiency: float  # device_busy / (devices x seconds from the first submit to the last completion)
    padded: int  # rows drawn and discarded to fill a batch


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Identity, settings digest and outcome of one run."""

    schema_version: ClassVar[int] = 1
    run: str  # folder name
    scenario: Scenario
    mode: Mode
    status: Literal["valid", "invalid", "failed"]
    cause: str | None  # why it is invalid or failed
    started_utc: str
    model: str
    manifest: str  # path of the manifest as given
    manifest_key: str
    sample_set: str  # path as given
    sample_set_digest: str
    samples_issued: int
    samples_completed: int
    devices: tuple[str, ...]
    batch_size: int
    loadgen: dict[str, Any]  # figures parsed from mlperf_log_detail.txt: result_samples_per_second, seeds, ...
    interpreter: Interpreter
    timing: Timing
    versions: dict[str, str]
    host: dict[str, str]  # machine, cpu, cores, memory
    plan: Plan | None = None  # of Offline; None when the run failed, too
    isolation: Literal["thread", "process"] = "thread"
    partition: str | None = None  # what the machine was checked against
    lost: dict[str, str] = field(default_factory=dict)  # device -> cause, when the run went on without it
    reissued: int = 0  # samples that a device held when it failed, drawn by another
    reopened: int = 0  # times that a device was built anew
    rebuilt: tuple[str, ...] = ()  # device and cause of each of them
    null_pictures: str | None = None  # null devices answered with these stored pictures, not with tags
    advice: tuple[str, ...] = ()  # what to change when the run is invalid

    @property
    def is_null(self) -> bool:
        """Whether null devices answered: such a run is a rehearsal of the harness. Tags are never scored, stored pictures may be."""
        return any(uri.startswith("null:") for uri in self.devices)

    @property
    def decodes(self) -> bool:
        """Whether a decoder answered: LoadGen was asked for token latencies."""
        return bool(self.loadgen.get("requested_use_token_latencies"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEvent:
    """One batch on one device; times in nanoseconds since the run's clock started."""

    device: str
    first_sample: int  # data set index of the first sample; -1 of a decoder's call, whose sequences change from call to call
    samples: int
    size: int  # compiled batch size
    submitted_ns: int
    started_ns: int
    completed_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All batches of a run in completion order."""

    schema_version: ClassVar[int] = 1
    batches: tuple[BatchEvent, ...]


def read(folder: Path) -> RunResult:
    """Read the result of a run folder; ConfigError when it has none."""
    return document.read(RunResult, folder / NAME)


def read_timeline(folder: Path) -> Timeline:
    """Read the timeline of a run folder; ConfigError when it has none."""
    return document.read(Timeline, folder / TIMELINE)

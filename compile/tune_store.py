"""All results of all sweeps in one SQLite file: a row per measurement, written as soon as it is known, never overwritten."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ireeperf.errors import ConfigError

Outcome = Literal["invalid", "compile failed", "run failed", "wrong", "time"]
# search: each candidate once; again: the best, with more rounds; module: the whole module, with and without the records
Phase = Literal["search", "again", "module"]
APPLICATION = 0x49524550  # SQLite's application_id: "IREP"
VERSION = 2
_TABLE = """CREATE TABLE IF NOT EXISTS result (
    source_sha256 TEXT NOT NULL, target TEXT NOT NULL, compiler TEXT NOT NULL, flags TEXT NOT NULL, machine TEXT NOT NULL,
    phase TEXT NOT NULL, configuration TEXT NOT NULL,
    outcome TEXT NOT NULL, detail TEXT NOT NULL, ratio REAL, ratio_low REAL, ratio_high REAL, baseline_us REAL, tuned_us REAL, runs INTEGER) STRICT"""
_ONCE = """CREATE UNIQUE INDEX IF NOT EXISTS candidate ON result (source_sha256, target, compiler, flags, machine, configuration)
    WHERE phase = 'search'"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a measurement holds for: nothing is reused across any of these."""

    source_sha256: str  # of the dispatch's IR
    target: str
    compiler: str
    flags: str  # sha256 of the compiler's flags
    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One candidate. Times are CPU microseconds a call, medians; `ratio` is default over candidate, above 1 the candidate is faster."""

    outcome: Outcome
    detail: str = ""
    ratio: float | None = None
    ratio_low: float | None = None  # 95 % interval of the median
    ratio_high: float | None = None
    baseline_us: float | None = None
    tuned_us: float | None = None
    runs: int | None = None

    def __post_init__(self) -> None:
        assert self.outcome in get_args(Outcome), self.outcome


class Store:
    """The database at `path`, made when absent. ConfigError when it is damaged, foreign, of another release, or the disk is full."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30)
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def _prepare(self) -> None:
        tables = [name for name, in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        application, = self._connection.execute("PRAGMA application_id").fetchone()
        version, = self._connection.execute("PRAGMA user_version").fetchone()
        if tables and application != APPLICATION:
            raise ConfigError(f"{self.path} is a database of something else (tables {', '.join(tables)}); give another --database")
        if tables and version != VERSION:
            raise ConfigError(f"{self.path} holds results of version {version}, this release reads {VERSION}; give another --database")
        # write-ahead: after kill -9 every result that was told of is there, and none is half there
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self._connection:
            self._connection.execute(f"PRAGMA application_id = {APPLICATION}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
            self._connection.execute(_TABLE)
            self._connection.execute(_ONCE)

    def add(self, scope: Scope, configuration: Mapping[str, int], result: Result, phase: Phase = "search") -> None:
        """Keep one result, in a transaction of its own. Of a search, the first result of a configuration stays."""
        row = (scope.source_sha256, scope.target, scope.compiler, scope.flags, scope.machine, phase, _key(configuration), result.outcome, result.detail,
               result.ratio, result.ratio_low, result.ratio_high, result.baseline_us, result.tuned_us, result.runs)
        try:
            with self._connection:
                self._connection.execute(f"INSERT OR IGNORE INTO result VALUES ({', '.join('?' * len(row))})", row)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def results(self, scope: Scope, phase: Phase = "search") -> list[tuple[dict[str, int], Result]]:
        """What `phase` found within `scope`, in that order."""
        try:
            rows = self._connection.execute(
                "SELECT configuration, outcome, detail, ratio, ratio_low, ratio_high, baseline_us, tuned_us, runs FROM result "
                "WHERE source_sha256 = ? AND target = ? AND compiler = ? AND flags = ? AND machine = ? "
                "AND phase = ? ORDER BY rowid",
                (scope.source_sha256, scope.target, scope.compiler, scope.flags, scope.machine, phase)).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        names = ("outcome", "detail", "ratio", "ratio_low", "ratio_high", "baseline_us", "tuned_us", "runs")
        return [(json.loads(row[0]), Result(**dict(zip(names, row[1:], strict=True)))) for row in rows]

    def machines(self, target: str, compiler: str) -> list[str]:
        """Names of those that measured anything for `target`."""
        try:
            return [name for name, in self._connection.execute("SELECT DISTINCT machine FROM result WHERE target = ? AND compiler = ? ORDER BY machine",
                                                               (target, compiler))]
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        self._connection.close()

    def _failed(self, error: Exception) -> ConfigError:
        return ConfigError(f"tuning database {self.path}: {error}; results written so far are kept. Free the disk if it is full; "
                           "if the file is damaged, move it away or give another --database")


def _key(configuration: Mapping[str, int]) -> str:
    return json.dumps(dict(configuration), sort_keys=True)

"""The parent's side of one child process: starts it, hears its devices, says why it died, starts another one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final, Literal

import numpy as np

from runtime.batch import Batch, Completion, Failure, Ready
from runtime.child_process import describe_end
from runtime.children import Children
from runtime.device import Post, describe
from runtime.device_child import Draw, End, Heard, Open, Order, Park, Region, Report, Stop, Stopped

GRACE_SECONDS: Final = 1.0  # for a child to answer or to end, beyond what the caller gave, before it is killed
START: Final = "from runtime.device_child import main; main()"


@dataclass(slots=True, kw_only=True, eq=False)
class Member:
    """What a group knows of one of its devices."""

    uri: str
    slots: tuple[np.ndarray, ...]  # each [max_batch, H, W, 3] uint8, written by the child
    reopen: int  # how often it may still be rebuilt
    next_slot: int = 0
    state: Literal["closed", "opening", "ready", "lost", "stopped"] = "closed"
    ticket: int | None = None  # of the batch that it holds
    stop_asked: bool = False
    ended: bool = True  # no thread of it runs in a child
    stop_answered: threading.Event = field(default_factory=threading.Event)
    cpu_seconds: float = 0.0  # in executables of the present child
    past_cpu_seconds: float = 0.0  # of those before it

    @property
    def alive(self) -> bool:
        """Drawing, or on its way to."""
        return self.state in ("opening", "ready")


class Group:
    """One child process and its devices. Methods without a remark are called by the pool's thread."""

    def __init__(self, members: list[Member], region: Region, children: Children, post: Post) -> None:
        self.members = {member.uri: member for member in members}
        self.cpu_seconds = self.past_cpu_seconds = 0.0  # of the present child, all threads, and of those before it
        self._region, self._children, self._post = region, children, post
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._broken: str | None = None  # why the child could not work, in its own words
        self._ending = False
        self._over = threading.Event()  # there is no child, and none will be started

    @property
    def process_id(self) -> int | None:
        """Of the child, while there is one."""
        with self._lock:
            return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the child, once."""
        with self._lock:
            if any(member.state != "closed" for member in self.members.values()):
                return
            for member in self.members.values():
                member.state, member.ended = "opening", False
            self._children.ask(self._spawn)

    def submit(self, member: Member, batch: Batch) -> int:
        """Nothing is sent to a device that is not ready: its Failure is on its way to the pool and frees the batch."""
        count, most = len(batch.samples), self._region.max_batch
        assert count <= most, f"a batch of {count} samples, and slots for {most}"
        with self._lock:
            if member.state == "ready":
                member.ticket = batch.ticket
                self._send(Draw(member.uri, batch, member.next_slot))
                member.next_slot = (member.next_slot + 1) % len(member.slots)
        return batch.ticket

    def park(self, member: Member) -> None:
        """Hear no more of `member`; tell the child, or kill it when it has no other."""
        with self._lock:
            if member.alive:
                member.state = "lost"
                if self._living():
                    self._send(Park(member.uri))
                else:
                    self._end(kill=True)

    def stop(self, member: Member, timeout_s: float) -> bool:
        """Stop `member`; after the last one the child is ended, by force if it must be. False: `member` is still busy."""
        with self._lock:
            waits = member.alive and self._process is not None
            if waits:
                self._send(Stop(member.uri, timeout_s))
            member.state = "lost" if member.state == "lost" else "stopped"
            member.stop_asked = True
        if waits:
            member.stop_answered.wait(timeout_s + GRACE_SECONDS)
        if all(other.stop_asked for other in self.members.values()):
            self._end(kill=False)
            if not self._over.wait(GRACE_SECONDS):
                self._end(kill=True)
                self._over.wait(GRACE_SECONDS)
        return member.ended or self._over.is_set()

    def _living(self) -> list[Member]:
        return [member for member in self.members.values() if member.alive]

    def _end(self, *, kill: bool) -> None:
        """Ask the child to exit, or kill it. From any thread."""
        with self._lock:
            self._ending = True
            if self._process is None:
                self._finish()
            elif kill:
                self._process.kill()
            else:
                self._send(End())

    def _finish(self) -> None:
        self._ending = True
        if not self._over.is_set():
            self._over.set()
            self._children.leave()

    def _send(self, order: Order) -> None:
        try:
            if self._connection is not None:
                self._connection.send(order)
        except OSError:
            pass  # the child is gone: the thread of Children is about to hear of it

    def _spawn(self) -> None:
        """Start a child for the devices that are opening. In the thread of Children, like all below."""
        with self._lock:
            if self._ending:
                return
            ours, theirs = Pipe()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", START, str(os.getpid()), str(theirs.fileno()), str(self._children.file)],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # a driver that prints must not get into the JSON line of the run's stdout
                    pass_fds=(theirs.fileno(), self._children.file), env=_environment(),
                    process_group=0)  # a terminal's Ctrl-C is the parent's business
            except OSError as error:
                ours.close()
                self._lose(f"no process could be started for it: {error.strerror}", again=False)
                self._finish()
                return
            finally:
                theirs.close()
            self._connection, self._broken = ours, None
            self._children.watch(ours, self._hear)
            self._send(Open(self._region, {member.uri: member.reopen for member in self._living()}))

    def _hear(self) -> None:
        """One report, or the end of the child."""
        assert self._connection is not None and self._process is not None
        try:
            report: Report = self._connection.recv()
        except Exception as error:  # a process that overwrote its own memory may say anything before it dies
            if not isinstance(error, (EOFError, OSError)):
                self._broken = f"its process sent what cannot be read ({describe(error)})"
                self._process.kill()
            self._children.unwatch(self._connection)
            # in a thread: a driver may take seconds to let go of a process, and the other children go on
            threading.Thread(target=self._reap, args=(self._process,), daemon=True).start()
            return
        with self._lock:
            if isinstance(report, Heard):
                self._heard(report)
            elif isinstance(report, Stopped):
                member = self.members[report.device]
                member.ended = report.ended
                member.stop_answered.set()
            else:
                self._broken = report.cause

    def _heard(self, report: Heard) -> None:
        event = report.event
        member = self.members[event.device]
        member.cpu_seconds, self.cpu_seconds = report.executable_cpu_seconds, report.process_cpu_seconds
        if not member.alive:  # given up, or told to stop
            return
        if isinstance(event, Completion):
            assert report.slot is not None
            member.ticket = None if member.ticket == event.ticket else member.ticket
            event = replace(event, answers=tuple(member.slots[report.slot][:report.count]))
        elif isinstance(event, Ready):
            member.state = "ready"
        else:
            member.state, member.ticket = "opening" if event.reopening else "lost", None
            member.ended = not event.reopening
            member.reopen -= 1
        self._post(event)
        if not self._living():
            self._end(kill=False)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for a child that closed its socket. In a thread of its own."""
        code = None
        for _ in range(2):
            try:
                code = process.wait(GRACE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                process.kill()
        self._children.ask(lambda: self._died(code))

    def _died(self, code: int | None) -> None:
        """Say why the child ended, and start another one for the devices that may be rebuilt. None: it does not end."""
        with self._lock:
            assert self._connection is not None
            self._connection.close()
            self._process = self._connection = None
            self.past_cpu_seconds, self.cpu_seconds = self.past_cpu_seconds + self.cpu_seconds, 0.0
            for member in self.members.values():
                member.past_cpu_seconds, member.cpu_seconds = member.past_cpu_seconds + member.cpu_seconds, 0.0
                member.ended = True
                member.stop_answered.set()
            if not self._ending:
                others = len(self.members) - 1
                shared = f", which drives {others} other device{'s' if others > 1 else ''}," if others else ""
                end = "closed its socket and cannot be killed: its driver holds it" if code is None else describe_end(code)
                self._lose(self._broken or f"its process{shared} {end}", again=code is not None)
            if self._ending or not self._living():
                self._finish()
            else:
                self._spawn()

    def _lose(self, cause: str, *, again: bool) -> None:
        """A Failure for every device that lives, first those that held a batch: an idle one is hardly to blame."""
        for member in sorted(self._living(), key=lambda member: member.ticket is None):
            reopening = again and member.reopen > 0
            member.reopen -= 1
            member.state, member.ended = "opening" if reopening else "lost", not reopening
            self._post(Failure(device=member.uri, ticket=member.ticket, cause=cause, reopening=reopening))
            member.ticket = None


def _environment() -> dict[str, str]:
    """The child finds modules where this process does. Its numpy starts no BLAS threads: 64 children x 64, unused."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {"OPENBLAS_NUM_THREADS": "1"} | dict(os.environ) | {"PYTHONPATH": path}

"""All dispatches of a build's dumps through the emulator, most FLOPs first, with what earlier runs found kept beside the build."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from compile import compiler, dispatch_ops, dumps, emulator_launch, emulator_object, verify_dispatch
from compile.dispatch_ir import Dispatch
from compile.emulator import Emulator, EmulatorDied
from compile.match_report import Verification
from ireeperf import document
from ireeperf.errors import CompileError

NAME = "verification.json"
VERSION = 2  # of the reference, the inputs and the judges: another one makes every verdict void
_COMPILE_S = 300.0
_FROM_CONFIGURED = ("--compile-from=executable-configurations", "--compile-to=executable-targets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A Verification with what its table needs besides."""

    verification: Verification
    seconds: float  # in the emulator
    coverage: str
    misaligned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What was found, by kernel code, IR, number of workgroups and VERSION (`key`)."""

    schema_version: ClassVar[int] = 1
    verdicts: dict[str, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One dispatch to verify."""

    dumps: Path
    dispatch: Dispatch
    kernel: emulator_object.Kernel
    member: str  # of the dumps: the code object

    def key(self, workgroups: int) -> str:
        """Two dispatches with one key are one."""
        text = hashlib.sha256(self.dispatch.configured_text.encode()).hexdigest()
        return f"{self.kernel.sha256[:32]}-{text[:16]}-{workgroups}-v{VERSION}"


def items(path: Path, found: tuple[Dispatch, ...]) -> list[Item]:
    """The dispatches `found` of one executable's dumps with their kernels; CompileError when the object is for another GPU or has no such
    kernel."""
    kernels: dict[str, tuple[emulator_object.Kernel, str]] = {}
    for file in dumps.names(path, "object"):
        code = emulator_object.parse(dumps.read(path, f"object/{file}"), file)
        if code.machine != emulator_object.GFX942:
            raise CompileError(f"{path.name} holds code of another GPU ({code.machine:#x}); the emulator runs gfx942 only")
        kernels |= {name: (kernel, f"object/{file}") for name, kernel in code.kernels.items()}
    if missing := [one.name for one in found if one.name not in kernels]:
        raise CompileError(f"{path.name} holds no code of {missing[0]} and {len(missing) - 1} more; compile again for mi325x or gfx942")
    return [Item(dumps=path, dispatch=one, kernel=kernels[one.name][0], member=kernels[one.name][1]) for one in found]


class Verifier:
    """Workers for `parallel` dispatches at a time, and the verdicts kept in `store`."""

    def __init__(self, folder: Path, store: Path, workgroups: int, timeout_s: float) -> None:
        self._folder, self._store, self._timeout_s = folder, store, timeout_s
        self.workgroups = workgroups
        self.verdicts = document.read(Verdicts, store).verdicts if store.is_file() else {}
        self._lock = threading.Lock()
        self._idle: list[Emulator] = []

    def run(self, wanted: list[Item], parallel: int, deadline: float, say: Callable[[str], None]) -> None:
        """Verify what has no verdict yet until `deadline` (time.monotonic()), one line each; all verdicts are in `self.verdicts`."""
        new = {item.key(self.workgroups): item for item in wanted}
        # what could not be run is tried again: another version of the launcher or of the reference may be able to
        todo = [(key, item) for key, item in new.items() if key not in self.verdicts or self.verdicts[key].verification.verdict == "not run"]
        say(f"{len(wanted)} dispatches, {len(new)} distinct, {len(new) - len(todo)} verified before")

        def one(pair: tuple[str, Item]) -> None:
            key, item = pair
            if time.monotonic() > deadline:
                return
            verdict = self.judge(item)
            with self._lock:
                self.verdicts[key] = verdict
                document.write(Verdicts(verdicts=self.verdicts), self._store)
                say(line(item.dispatch.name, verdict))
        try:
            with ThreadPoolExecutor(parallel) as pool:
                list(pool.map(one, todo))
        finally:
            self.close()

    def close(self) -> None:
        """End the workers; a later dispatch starts new ones."""
        for worker in self._idle:
            worker.close()
        self._idle = []

    @property
    def emulator(self) -> str:
        """Name of the emulator's folder."""
        return self._folder.name

    def of(self, item: Item) -> Verdict | None:
        """The verdict of a dispatch; None: not reached."""
        return self.verdicts.get(item.key(self.workgroups))

    def judge(self, item: Item) -> Verdict:
        """Run one dispatch now, whatever was found before; nothing is kept. Several threads may ask at a time."""
        def verdict(kind: Any, reason: str, outcome: verify_dispatch.Outcome | None = None) -> Verdict:
            made = Verification(verdict=kind, reason=reason, workgroups=outcome.workgroups if outcome else 0,
                                wave_orders=outcome.wave_orders if outcome else 0, max_error=outcome.max_error if outcome else None,
                                tolerance=outcome.tolerance if outcome else None, emulator=self.emulator,
                                object_sha256=item.kernel.sha256)
            return Verdict(verification=made, seconds=round(outcome.seconds, 2) if outcome else 0.0,
                           coverage=outcome.coverage if outcome else "", misaligned=outcome.misaligned if outcome else 0)
        from iree.compiler import ir  # a verdict from an earlier run must not need the compiler
        with tempfile.TemporaryDirectory() as name, ir.Context():
            object_path = Path(name, "kernels.hsaco")
            object_path.write_bytes(dumps.read(item.dumps, item.member))
            try:
                grid = emulator_launch.grid(_compiled(item, Path(name)))
                module = ir.Module.parse(item.dispatch.configured_text)
                function = next(found for found in dispatch_ops.functions(module.operation) if _symbol(found) == item.dispatch.name)
                with self._worker() as worker:
                    outcome = verify_dispatch.verify(worker, object_path, item.dispatch.name, function, grid, self.workgroups, self._timeout_s)
            except CompileError as error:
                return verdict("not run", str(error))
            except EmulatorDied as error:
                return verdict("wrong" if "memory" in str(error) else "not run", str(error))
        if odd := next((text for text in outcome.problems if "is not a multiple of" in text), None):
            return verdict("not run", f"{odd}: gfx942 allows it in its unaligned mode, the emulator rounds such addresses down", None)
        return verdict("wrong" if outcome.problems else "right", "; ".join(outcome.problems[:3]), outcome)

    @contextmanager
    def _worker(self) -> Iterator[Emulator]:
        """An idle worker or a new one; one that died is not used again."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or Emulator(self._folder)
        try:
            yield worker
        except EmulatorDied:
            worker.close()
            raise
        except BaseException:
            self._idle.append(worker)
            raise
        self._idle.append(worker)


def line(name: str, verdict: Verdict) -> str:
    """One dispatch in words."""
    found = verdict.verification
    if found.max_error is None:
        return f"{found.verdict:8} {name}: {found.reason}"
    error = f"error {found.max_error:.1e} of {found.tolerance:.1e}, {found.workgroups} workgroups, {verdict.seconds:.1f} s"
    return f"{found.verdict:8} {name}: {error}{': ' + found.reason if found.reason else ''}"


def _compiled(item: Item, folder: Path) -> str:
    """The dispatch's executable after code generation, which states its workgroup counts."""
    source, output = folder / "dispatch.mlir", folder / "compiled.mlir"
    source.write_text(item.dispatch.configured_text)
    command = [str(compiler.compiler_path()), str(source), *_FROM_CONFIGURED, "-o", str(output)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_S, check=False)
    except subprocess.TimeoutExpired:
        raise CompileError(f"code generation for the workgroup counts did not end in {_COMPILE_S:.0f} s") from None
    if done.returncode or not output.is_file():
        raise CompileError(f"code generation for the workgroup counts failed: {done.stderr.strip()[-300:]}")
    return output.read_text()


def _symbol(function: Any) -> str:
    return str(function.attributes["sym_name"].value)

"""Candidates for gfx942 on the emulator before they are packed: what computes wrongly there is no candidate (docs/EMULATOR.md has what it cannot see)."""

from __future__ import annotations

from pathlib import Path

from compile import dispatch_ir, dumps, target, verify_build
from ireeperf.errors import ConfigError

WORKGROUPS = 2  # of each candidate, in both wave orders: the first and the last
_TIMEOUT_S = 600.0


class Gate:
    """Workers of the emulator in `folder`; they end with close(). ConfigError when `on` is no target whose code it executes."""

    def __init__(self, folder: Path, on: target.Target, workgroups: int = WORKGROUPS) -> None:
        if on.architecture != "gfx942":
            raise ConfigError(f"--emulator executes gfx942, and the build is for {on.name}; leave it out, the measuring machine compares results too")
        self._verifier = verify_build.Verifier(folder, Path(), workgroups, _TIMEOUT_S)

    def judge(self, folder: Path, name: str) -> tuple[bool, str]:
        """Whether the candidate may go, and the verdict in words: one that the emulator cannot execute goes, its numbers are compared with the
        default's where it is measured. `folder`: its dumps (dumps.flags)."""
        path = folder / f"{name}{dumps.SUFFIX}"
        dumps.pack(folder, path)
        found = verify_build.items(path, dispatch_ir.dispatches(path))
        if not found:
            return True, "on the emulator not run: its dumps hold no dispatch"
        for item in found:
            verdict = self._verifier.judge(item).verification
            if verdict.verdict != "right":
                return verdict.verdict == "not run", f"on the emulator {verdict.verdict}: {verdict.reason}"[:300]
        return True, f"right on the emulator, {self._verifier.workgroups} workgroups"

    def close(self) -> None:
        """End the workers."""
        self._verifier.close()

"""Rows of a match report as people read them: in the terminal, on the page and in docs/dispatches."""

from __future__ import annotations

from compile.match_report import DispatchMatch, MatchReport

COLUMNS = ("dispatch", "GFLOP", "MB", "launches", "roofline us", "share %", "matrix", "VGPR", "spills", "LDS", "occupancy", "workgroups", "fill",
           "record", "checked")


def order(report: MatchReport, times: dict[tuple[str, str], int]) -> list[tuple[DispatchMatch, float, int]]:
    """Dispatches that a batch runs with their share of its roofline time and their launches, largest share first.

    Without a roofline (CPU) the share is of the FLOPs."""
    rows = [(one, times[one.executable, one.dispatch]) for one in report.dispatches if times.get((one.executable, one.dispatch))]
    timed = all(one.roofline_us is not None for one, _ in rows)
    weights = [(one, ((one.roofline_us or 0.0) if timed else one.flops) * runs, runs) for one, runs in rows]
    total = sum(weight for _, weight, _ in weights) or 1
    return sorted(((one, weight / total, runs) for one, weight, runs in weights), key=lambda row: -row[1])


def cells(one: DispatchMatch, share: float, runs: int) -> list[str]:
    """One row under COLUMNS; "-" for what is not known."""
    static = one.static
    figures = [static.matrix_instructions, static.vgprs, _spills(one), static.lds_bytes, static.occupancy, static.workgroups,
               static.fill] if static else [None] * 7
    checked = one.verification.verdict if one.verification else None
    record = "static, no gain" if one.evidence == "static" and not one.gains else one.evidence or (one.record and "by hand")
    values = [one.flops / 1e9, one.bytes / 1e6, runs, one.roofline_us, 100 * share, *figures]
    return [one.name, *(_text(value) for value in values), record or "default", checked or "-"]


def differing(report: MatchReport, other: MatchReport) -> list[tuple[str, DispatchMatch]]:
    """Dispatches of `report` that `other` has with another configuration or does not have, most FLOPs first, in words.

    Dispatches are the same when their source is; fused differently, they are not. Executables that only one of the builds has
    are left out."""
    theirs, shared = {one.source_sha256: one for one in other.dispatches}, {one.executable for one in other.dispatches}
    found = []
    for one in sorted((row for row in report.dispatches if row.executable in shared), key=lambda row: -row.flops * row.calls):
        twin = theirs.get(one.source_sha256)
        if twin is None:
            found.append((f"{one.name}: not in the other build", one))
        elif twin.configuration != one.configuration:
            found.append((f"{one.name} ({one.calls} calls): {_figures(one)} here, {_figures(twin)} there", one))
    return found


def _figures(one: DispatchMatch) -> str:
    if one.static is None:
        return one.configuration
    static = one.static
    return (f"workgroups {_text(static.workgroups)} fill {_text(static.fill)} VGPRs {_text(static.vgprs)} LDS {_text(static.lds_bytes)} "
            f"occupancy {_text(static.occupancy)}")


def _spills(one: DispatchMatch) -> int | None:
    if one.static is None or one.static.vgpr_spills is None:
        return None
    return one.static.vgpr_spills + (one.static.sgpr_spills or 0)


def _text(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.2f}" if value < 100 else f"{value:.0f}"

"""Whether records do what they are kept for: each tunes a dispatch, and a static one is a gain by its own figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compile.dispatch_ir import Dispatch
from compile.match_report import DispatchMatch
from specs.match import Match
from specs.record import TuningRecord

_WORSE = 1.1  # a static record may worsen another figure by this factor at most
# Figures that a static record is judged by, and whether more of it is better. Registers and LDS count through the occupancy that
# they bound. Matrix instructions are judged by whether there are any: a longer unrolled loop has more of them and is no faster for it
_FIGURES = {"vgpr_spills": False, "sgpr_spills": False, "scratch_bytes": False, "occupancy": True, "fill": True}


def unmatched(records: Sequence[TuningRecord], dispatches: Sequence[Dispatch]) -> list[str]:
    """A message for each record that tuned none of `dispatches`: the nearest dispatch and the fields that differ."""
    tuned = {one.tuned_by for one in dispatches}
    return [_message(record, dispatches) for record in records if record.name not in tuned]


def differences(wanted: Match, found: Match) -> list[str]:
    """Fields in which `found` is not what `wanted` matches, in words: "types[1] f16 in the record, f32 in the dispatch"."""
    told = [f"kind {wanted.kind} in the record, {found.kind} in the dispatch"] if wanted.kind != found.kind else []
    for name in ("types", "maps", "dims"):
        ours, theirs = getattr(wanted, name), getattr(found, name)
        if len(ours) != len(theirs):
            told.append(f"{len(ours)} {name} in the record, {len(theirs)} in the dispatch")
            continue
        told += [f"{name}[{index}]{_role(wanted, index) if name == 'dims' else ''} {one} in the record, {other} in the dispatch"
                 for index, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other and not (name == "dims" and one < 0)]
    for index, multiple in enumerate(wanted.multiples[:len(found.dims)]):
        if wanted.dims[index] < 0 and found.dims[index] % multiple:
            told.append(f"dims[{index}]{_role(wanted, index)} a multiple of {multiple} in the record, {found.dims[index]} in the dispatch")
    if wanted.body is not None and wanted.body != found.body:
        told.append(f"body {wanted.body!r} in the record, {found.body!r} in the dispatch")
    return told


def static_gain(default: DispatchMatch, tuned: DispatchMatch) -> dict[str, str]:
    """Figures that `tuned` improves over `default`, "94 -> 0" each; empty when the record does not count: the configuration is
    the default one, nothing improves, or some figure is worse by more than 10 %."""
    before, after = default.static, tuned.static
    if before is None or after is None or default.configuration == tuned.configuration:
        return {}
    if before.matrix_instructions and not after.matrix_instructions:
        return {}
    gains = {} if before.matrix_instructions or not after.matrix_instructions else {"matrix_instructions": f"0 -> {after.matrix_instructions}"}
    for name in _FIGURES:
        old, new = getattr(before, name), getattr(after, name)
        if old is None or new is None or old == new:
            continue
        less, more = (old, new) if _FIGURES[name] else (new, old)
        if more > less:
            gains[name] = f"{old:.4g} -> {new:.4g}"
        elif less > more * _WORSE:
            return {}
    return gains


def _message(record: TuningRecord, dispatches: Sequence[Dispatch]) -> str:
    nearest = min(_candidates(record.match, dispatches), default=None)
    if nearest is None:
        return f"record {record.name} tuned nothing, and no dispatch is of a kind that records match; delete it or compile another model"
    _, _, name, told = nearest
    if not told and record.set.within is not None:
        return (f"record {record.name} matches {name} and was not applied; within.operations is {record.set.within.operations}, and a dispatch of "
                "another number of linalg.generic operations is left alone: count those that the spec sees (docs/SPECS.md)")
    if not told:
        return (f"record {record.name} matches {name} and was not applied; another record may come before it, or the configuration is one "
                "that the compiler does not take: see the record's lowering_config")
    return f"record {record.name} tuned nothing; nearest is {name}, which differs in: {'; '.join(told)}; mend or delete the record"


def _candidates(wanted: Match, dispatches: Sequence[Dispatch]) -> Iterator[tuple[bool, int, str, list[str]]]:
    """Every operation of every dispatch: another kind last, then by how many fields differ."""
    for one in dispatches:
        for match in one.matches:
            told = differences(wanted, match)
            yield match.kind != wanted.kind, len(told), one.name, told


def _role(match: Match, index: int) -> str:
    return next((f" ({role})" for role, indices in match.roles.items() if index in indices), "")

"""Records to one transform-dialect tuning spec a folder: `python -m specs.render [FOLDER ...] [--check]`.

The spec stamps `compilation_info` (attention: `decomposition_config` too) on each operation that a record is for, and
`tuned_by = "<record name>"`, which survives into the configured dump. Rendering is a function of the records alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ireeperf import document
from ireeperf.errors import ConfigError, exit_code
from specs import attribute_text, matcher_text, tiling_check
from specs import record as records_module
from specs.lowering_keys import architecture
from specs.match import Match
from specs.record import TuningRecord

SPECS = Path(__file__).parent
OP, PARAM = "!transform.any_op", "!transform.any_param"
EMULATED = "gfx942"  # compile.verify executes its kernels, and no other's


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """Flags of specs.render."""

    folders: list[Path]
    check: bool


def parse(argv: Sequence[str] | None = None) -> RenderSettings:
    parser = argparse.ArgumentParser(prog="specs.render", description="render tuning records into IREE's form", allow_abbrev=False)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of records; default: all of specs/<target>/<model>/")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the .mlir beside a folder is not what its records give")
    return RenderSettings(**vars(parser.parse_args(argv)))


def read_all(folder: Path) -> tuple[TuningRecord, ...]:
    """Records of `folder`, checked one by one and against each other, in the order in which they are tried."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder of records")
    found = [records_module.read(path) for path in sorted(folder.glob("*.toml"))]
    if not found:
        raise ConfigError(f"{folder} holds no records (.toml)")
    wanted = folder.parent.name if _is_target(folder.parent.name) else found[0].target
    for one in found:
        if one.target != wanted:
            raise ConfigError(f"{folder / one.name}.toml is for {one.target}, the folder for {wanted}; move it to specs/{one.target}/{folder.name}/")
    for one, other in combinations(found, 2):
        if _same(one.match, other.match):
            raise ConfigError(f"two records in {folder} are for one dispatch: {one.name} and {other.name}; delete one")
    # an exact record before one that takes any size
    return tuple(sorted(found, key=lambda one: (sum(size < 0 for size in one.match.dims), one.match.kind, one.name)))


def render(folder: Path) -> str:
    """The spec of a folder of records."""
    return text(read_all(folder), folder.name)


def text(records: Sequence[TuningRecord], title: str) -> str:
    """The spec of `records`, tried in their order; `title` goes into its header. ConfigError names the record that cannot be rendered."""
    for one in records:
        tiling_check.check(one)
        if one.verified is not None and one.verdict == "wrong":
            raise ConfigError(f"the kernel of record {one.name} computes wrong numbers ({one.verified.reason}); delete the record, or mend it "
                              "and run python -m compile.verify BUILD --records FOLDER again")
    aliases = _Aliases()
    sequences = [_sequence(one, aliases) for one in records]
    target = records[0].target
    module = re.sub(r"\W", "_", f"{target}_{title}")
    chosen = ",\n".join(f"    @{one.name} -> @{_action_of(one)}" for one in records)
    return "\n".join([
        *_header(records, title), *aliases.lines(),
        f"module @{module} attributes {{transform.with_named_sequence, iree_codegen.tuning_spec_with_default_entrypoint}} {{",
        *_action("apply", ()), *(_action("apply_attention", ("decomposition",)) if any(one.set.decomposition for one in records) else []),
        *(line for one in records for line in _action_within(one)), *sequences,
        f"transform.named_sequence @__kernel_config(%root: {OP} {{transform.consumed}}) -> {OP} attributes {{iree_codegen.tuning_spec_entrypoint}} {{",
        f"  %done = transform.foreach_match in %root\n{chosen} : ({OP}) -> {OP}",
        f"  transform.yield %done : {OP}", "}", "}", ""])


class _Aliases:
    """Attributes that several records share, each written once. MLIR allows digits after a letter only: #maps0, #maps1, ..."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def name(self, prefix: str, attribute: str) -> str:
        if attribute not in self._names:
            self._names[attribute] = f"#{prefix}{self._counts[prefix]}"
            self._counts[prefix] += 1
        return self._names[attribute]

    def lines(self) -> list[str]:
        return [f"{name} = {attribute}" for attribute, name in self._names.items()]


def _header(records: Sequence[TuningRecord], title: str) -> list[str]:
    evidence = ", ".join(f"{count} {name}" for name, count in sorted(Counter(one.evidence for one in records).items()))
    target = records[0].target
    lines = [f"// Tuning spec of {title} for {target} ({architecture(target)}): {len(records)} records, {evidence}.",
             f"// Evidence is of compiler {', '.join(sorted({one.compiler for one in records}))}.",
             "// Rendered by `python -m specs.render`; edit the records, not this file."]
    if target.startswith("sm_"):
        lines.append("// CUDA of IREE 3.13 takes it with --iree-codegen-transform-dialect-library, not --iree-codegen-tuning-spec-path.")
    return lines


def _action(name: str, more: tuple[str, ...]) -> list[str]:
    """What is done to a matched operation: its parameters become attributes."""
    attributes = {"info": "compilation_info", "decomposition": "decomposition_config", "name": "tuned_by"}
    parameters = ("info", *more, "name")
    arguments = ", ".join(f"%{one}: {PARAM} {{transform.readonly}}" for one in parameters)
    return [f"transform.named_sequence @{name}(%op: {OP} {{transform.readonly}}, {arguments}) {{",
            *(f'  transform.annotate %op "{attributes[one]}" = %{one} : {OP}, {PARAM}' for one in parameters), "  transform.yield", "}"]


def _action_of(record: TuningRecord) -> str:
    return "apply_attention" if record.set.decomposition else f"apply_{record.name}" if record.set.within else "apply"


def _action_within(record: TuningRecord) -> list[str]:
    """The action of a record that configures several operations of a dispatch: compilation_info on one brings the function's pipeline and threads,
    the others get their lowering_config as it stands after that. Handles are empty where the number of operations is another, and nothing is set."""
    within = record.set.within
    if within is None:
        return []
    handles = ", ".join([OP] * within.operations)
    lines = [f"transform.named_sequence @{_action_of(record)}(%op: {OP} {{transform.readonly}}, %info: {PARAM} {{transform.readonly}}, "
             f"%name: {PARAM} {{transform.readonly}}) {{",
             f"  transform.sequence %op : {OP} failures(suppress) {{", f"  ^bb0(%root: {OP}):",
             f'    %function = transform.get_parent_op %root <{{op_name = "func.func"}}> : ({OP}) -> {OP}',
             f'    %all = transform.structured.match ops{{["linalg.generic"]}} in %function : ({OP}) -> {OP}',
             f"    %each:{within.operations} = transform.split_handle %all : ({OP}) -> ({handles})"]
    for index, other in enumerate(within.others):
        config = attribute_text.lowering_config(other.lowering_config, record.target)
        lines += [f"    %config{index} = transform.param.constant {config} -> {PARAM}",
                  f'    transform.annotate %each#{other.operation} "lowering_config" = %config{index} : {OP}, {PARAM}']
    return [*lines, f'    transform.annotate %each#{within.root} "compilation_info" = %info : {OP}, {PARAM}',
            f'    transform.annotate %each#{within.root} "tuned_by" = %name : {OP}, {PARAM}', "  }", "  transform.yield", "}"]


def _sequence(record: TuningRecord, aliases: _Aliases) -> str:
    """The matcher of one record: guards, then what it sets."""
    setting, target = record.set, record.target
    try:
        guards = matcher_text.lines(record.match, "" if record.match.kind == "reduction" else aliases.name("maps", matcher_text.maps(record.match)))
        translation = aliases.name("translation", attribute_text.translation_info(setting, target))
        config = attribute_text.lowering_config(setting.lowering_config, target)
        parts = [("info", f"#iree_codegen.compilation_info<lowering_config = {config}, translation_info = {translation}>")]
        if setting.decomposition:
            parts.append(("decomposition", aliases.name("decomposition", attribute_text.decomposition(setting.decomposition, target))))
    except ConfigError as error:
        raise ConfigError(f"record {record.name}: {error}") from None
    parts.append(("name", f'"{record.name}"'))
    types, values = ", ".join([OP] + [PARAM] * len(parts)), ", ".join(["%op"] + [f"%{name}" for name, _ in parts])
    return "\n".join([f"transform.named_sequence @{record.name}(%op: {OP} {{transform.readonly}}) -> ({types}) {{",
                      *(f"  {line}" for line in guards), *(f"  %{name} = transform.param.constant {value} -> {PARAM}" for name, value in parts),
                      f"  transform.yield {values} : {types}", "}"])


def _same(one: Match, other: Match) -> bool:
    """Whether some operation fits both, and neither is the more exact one (which would be tried first)."""
    if (one.kind, one.types, one.maps, one.body) != (other.kind, other.types, other.maps, other.body):
        return False
    meet = all(a == b or min(a, b) < 0 for a, b in zip(one.dims, other.dims, strict=True))
    return meet and sum(size < 0 for size in one.dims) == sum(size < 0 for size in other.dims)


def _unverified(records: Sequence[TuningRecord]) -> str:
    """Which records of gfx942 no emulator has executed; nothing for targets that have none."""
    if architecture(records[0].target) != EMULATED:
        return ""
    missing = [one.name for one in records if one.verdict != "right"]
    return f", {len(records) - len(missing)} verified" + (f"; not verified: {', '.join(missing)}" if missing else "")


def _is_target(name: str) -> bool:
    try:
        return bool(architecture(name))
    except ConfigError:
        return False


def folders(root: Path = SPECS) -> tuple[Path, ...]:
    """Every specs/<target>/<model>/ that holds records."""
    return tuple(sorted({path.parent for path in root.glob("*/*/*.toml")}))


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    print(f"specs.render {settings}")
    written, stale = [], []
    for folder in settings.folders or folders():
        path, spec = folder.parent / f"{folder.name}.mlir", render(folder)
        if settings.check:
            if not path.is_file() or path.read_text() != spec:
                stale.append(path)
        else:
            document.write_text(path, spec)
        written.append(str(path))
        print(f"  {path}: {spec.count('-> @apply')} records{_unverified(read_all(folder))}")
    if stale:
        raise ConfigError(f"not what the records give: {', '.join(map(str, stale))}; run python -m specs.render")
    print(json.dumps({"specs": written, "checked": settings.check}))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))

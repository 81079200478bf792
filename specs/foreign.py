"""What is outdated in a hand-written tuning spec: line, words and remedy, told before the compiler says it in MLIR's terms, or not at all.

Reads text, not MLIR: a spec of another compiler does not parse. What is named here was tried on IREE 3.13: some of it is a syntax
error there, some is taken and does nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from specs import lowering_keys as keys

_PIPELINES = {f"LLVMGPU{name}": f"#iree_gpu.pipeline<{name}>" for name in keys.PIPELINES["gpu"]} | {
    f"CPU{name}": f"#iree_cpu.pipeline<{name}>" for name in keys.PIPELINES["cpu"]}
_INTRINSICS = tuple(sorted({one for names in (*keys.MMA.values(), *keys.VIRTUAL_MMA.values()) for one in names}))
# pattern, whose first group is told, and remedy
_OUTDATED = (
    (re.compile(r"pipeline = ((?:LLVMGPU|CPU|SPIRV)\w+|None)\b"), "write pipeline = {pipeline}"),
    (re.compile(r"translation_info<((?:LLVMGPU|CPU|SPIRV)\w+)\b"), "write pipeline = {pipeline} inside translation_info"),
    (re.compile(r"\b(prefetch_shared_memory) = true"), "write prefetch_num_stages = 2"),
    (re.compile(r"\b(prefetch_shared_memory) = false"), "write prefetch_num_stages = 0"),
    (re.compile(r"(virtual_mma_layout<intrinsic = \w+)"), "write the intrinsic alone: virtual_mma_layout<V...>"),
    (re.compile(r"(?<!virtual_)\b(mma_layout<intrinsic = \w+)"), "write the intrinsic alone: mma_layout<...>"),
    (re.compile(r'operation_name %\w+ \[("iree_linalg_ext\.attention")\]'),
     "attention is iree_linalg_ext.online_attention when specs are applied: match it with transform.iree.match.online_attention; as it stands nothing matches"),
    (re.compile(r"(transform\.iree\.match\.attention)\b"),
     "attention is online_attention when specs are applied: use transform.iree.match.online_attention; as it stands nothing matches"),
    (re.compile(r'("denormal-fp-math-f32" = "[\w,-]+")'),
     'write iree_codegen.denormal_fp_math_f32 = #iree_codegen.denormal_fp_math<"preserve-sign"> beside llvm_func_attrs'),
    (re.compile(r"\b(subgroup_[mn]_count) = "), "not read any more: TileAndFuse takes subgroup, VectorDistribute subgroup_basis"),
)
_WHERE = ", ".join(keys.MMA)
_MMA = re.compile(r"mma_layout<(?:intrinsic = )?(V?D?[A-Z]\w+)")
_CONFIG = re.compile(r"#iree_gpu\.lowering_config<\{")
_ERROR = re.compile(r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?P<column>\d+): error: (?P<text>.*)$", re.MULTILINE)
_READ_ELSEWHERE = ("subgroup_m_count", "subgroup_n_count")  # told with their remedy already


def diagnose(text: str) -> list[str]:
    """One message for each thing of the spec `text` that IREE 3.13 does not take as it was meant, by line; empty: nothing is known of."""
    plain = re.sub(r"//[^\n]*", "", text)
    found = sorted({*_outdated(plain), *_unknown_intrinsics(plain), *_unknown_keys(plain)})
    told: dict[str, list[int]] = {}
    for line, message in found:
        told.setdefault(message, []).append(line)
    messages = [f"line {lines[0]}{f' and {len(lines) - 1} more' if len(lines) > 1 else ''}: {message}" for message, lines in told.items()]
    if "foreach_match" in plain and "@__kernel_config" not in plain:
        messages.append("no sequence is called @__kernel_config: the compiler looks for that one; rename yours")
    if "tuning_spec_with_default_entrypoint" in plain and "tuning_spec_entrypoint" not in plain:
        messages.append("@__kernel_config lacks `attributes {iree_codegen.tuning_spec_entrypoint}`, which the module's own attribute asks for; add it")
    return messages


def refusal(text: str, name: str, said: str) -> list[str]:
    """Why iree-compile, whose words are `said`, refused the spec `name` (as it was given to it) with the content `text`: what is outdated in
    it, else the syntax error; empty when what it says is not about the spec."""
    first = next((one for one in _ERROR.finditer(said) if one["file"] == name), None)
    if first is None:
        return []
    if outdated := diagnose(text):
        return outdated
    line = int(first["line"])
    lines = text.splitlines()
    shown = f": {lines[line - 1].strip()[:120]}" if 0 < line <= len(lines) else ""
    return [f"syntax error at line {line}, column {first['column']}: {first['text'][:200]}{shown}"]


def _at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _outdated(text: str) -> Iterator[tuple[int, str]]:
    for pattern, remedy in _OUTDATED:
        for found in pattern.finditer(text):
            pipeline = _PIPELINES.get(found[1], "#iree_gpu.pipeline<...> or #iree_cpu.pipeline<...>")
            yield _at(text, found.start(1)), f"{found[1]} is of an older IREE; {remedy.format(pipeline=pipeline)}"


def _unknown_intrinsics(text: str) -> Iterator[tuple[int, str]]:
    for found in _MMA.finditer(text):
        if found[1] not in _INTRINSICS:
            nearest = difflib.get_close_matches(found[1], _INTRINSICS, n=1, cutoff=0.5)
            yield _at(text, found.start(1)), (f"matrix instruction {found[1]} is none of {_WHERE}" +
                                              (f"; did you mean {nearest[0]}?" if nearest else ""))


def _unknown_keys(text: str) -> Iterator[tuple[int, str]]:
    """Keys of GPU lowering configurations that nothing reads: the compiler takes any."""
    for found in _CONFIG.finditer(text):
        for position, key in _top_level_keys(text, found.end()):
            if key not in keys.KEYS["gpu"] and key not in _READ_ELSEWHERE:
                nearest = difflib.get_close_matches(key, keys.KEYS["gpu"], n=1, cutoff=0.5)
                yield _at(text, position), (f"lowering_config key {key} is taken and read by nothing" +
                                            (f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(keys.KEYS['gpu'])}"))


def _top_level_keys(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Keys of the dictionary whose content starts at `start`, with their positions."""
    depth, at, fresh = 1, start, True
    while at < len(text) and depth:
        sign = text[at]
        if fresh and depth == 1 and (word := re.compile(r"[A-Za-z_]\w*").match(text, at)):
            yield at, word[0]
            at, fresh = word.end(), False
            continue
        depth += (sign in "{[<(") - (sign in "}])>")
        fresh = (fresh and sign.isspace()) or (sign == "," and depth == 1)
        at += 1

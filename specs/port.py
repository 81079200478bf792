"""Tuning specs of MLPerf v5.1 as records for IREE 3.13: `python -m specs.port OLD.mlir --target mi325x-cpx --output FOLDER`.

What changed between the two compilers, and what is done about it:
    pipeline = LLVMGPUX                   #iree_gpu.pipeline<X>
    prefetch_shared_memory = true, false  prefetch_num_stages = 2, 0
    virtual_mma_layout<intrinsic = V>     virtual_mma_layout<V>
    "denormal-fp-math-f32" in             an attribute of translation_info, which 3.13 turns into LLVM's
      llvm_func_attrs
    subgroup_m_count, subgroup_n_count    TileAndFuse: dropped, `subgroup` says the same; VectorDistribute: subgroup_basis
    attention                             online_attention, with all seven types and maps; any size: a multiple of its tile
    reduction                             same units: TileAndFuse counts MMA K steps, VectorDistribute elements
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ireeperf.errors import ConfigError, exit_code
from specs import old_text, tiling_check, toml_text
from specs.lowering_keys import OPTIONS
from specs.match import Kind, Match, uses
from specs.old_text import OldMatcher
from specs.record import Setting, TuningRecord

COMPILER = "3.13.0"
_ATTENTION = tuple("(d0, d1, d2, d3, d4, d5) -> " + results for results in (
    "(d0, d1, d2, d4)", "(d0, d1, d5, d4)", "(d0, d1, d3, d5)", "()", "(d0, d1, d2, d3)", "(d0, d1, d2)", "(d0, d1, d2)"))
_NHWC = tuple("(d0, d1, d2, d3, d4, d5, d6) -> " + results for results in (
    "(d0, d1{s} + d4, d2{s} + d5, d6)", "(d4, d5, d6, d3)", "(d0, d1, d2, d3)"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSettings:
    """Flags of specs.port."""

    old: Path
    target: str
    output: Path
    source: str | None
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ported:
    """What became of one matcher: a record, or why there is none."""

    matcher: OldMatcher
    record: TuningRecord | None
    reason: str = ""


def parse(argv: Sequence[str] | None = None) -> PortSettings:
    parser = argparse.ArgumentParser(prog="specs.port", description="tuning specs of 2025 as records for IREE 3.13", allow_abbrev=False)
    parser.add_argument("old", type=Path, metavar="OLD.mlir", help="a spec as IREE took it in 2025")
    parser.add_argument("--target", required=True, help="whose records they become: mi325x-cpx, ...")
    parser.add_argument("--output", type=Path, required=True, help="folder for the records")
    parser.add_argument("--source", help="what the records say of their source, before the matcher's name (default: the file's name)")
    parser.add_argument("--date", required=True, help="of the port, YYYY-MM-DD: stands in every record")
    return PortSettings(**vars(parser.parse_args(argv)))


def port(text: str, target: str, source: str, date: str) -> tuple[Ported, ...]:
    """Every matcher of an old spec in the order in which it was tried. Two for one dispatch: the first is ported, as it was the one used."""
    found: list[Ported] = []
    taken: dict[str, Ported] = {}
    for old in old_text.matchers(text):
        try:
            if not old.listed:
                raise ConfigError("__kernel_config does not list it")
            match, setting = _match(old), _setting(old)
            record = TuningRecord(target=target, match=_whole_tiles(match, setting), set=setting, evidence="ported",
                                  source=f"{source} {old.name}", compiler=COMPILER, date=date)
            if before := taken.get(record.name):
                raise ConfigError(f"{before.matcher.name} is tried before it and " + (
                    "takes the same operation" if before.record and before.record.match == record.match else
                    f"is the same work with its operands in another order, whose record has the same name, {record.name}"))
            tiling_check.check(record)
        except ConfigError as error:
            found.append(Ported(matcher=old, record=None, reason=str(error)))
        else:
            found.append(Ported(matcher=old, record=record))
            taken[record.name] = found[-1]
    return tuple(found)


def _match(old: OldMatcher) -> Match:
    """ConfigError: an operation that no record can describe."""
    types = tuple(kind for _, kind in old.tensors)
    if old.operation == "iree_linalg_ext.attention":
        if len(old.tensors) != 1 or len(old.tensors[0][0]) != 4:
            raise ConfigError("an attention is known by a query of four dimensions here; this one says something else")
        query, kind = old.tensors[0]
        return Match(kind="attention", types=(kind, kind, kind, "f32", "f32", "f32", "f32"), maps=_ATTENTION,
                     dims=(query[0], query[1], query[2], -1, query[3], -1))
    if old.results > 1 or len(old.tensors) > 3:
        raise ConfigError(f"{old.results} products fused into one operation: IREE 3.13 has no matcher for it, and our graphs have them apart")
    if old.operation not in ("linalg.generic", "linalg.conv_2d_nhwc_hwcf") or len(old.tensors) != 3:
        raise ConfigError(f"matches {old.operation or 'no operation that is written out'}, which the port does not read")
    stride = f" * {old.strides}" if old.strides != 1 else ""
    maps = old.maps or tuple(text.format(s=stride) for text in _NHWC)
    if len(maps) != 3:
        raise ConfigError(f"{len(maps)} indexing maps for 3 operands")
    work: Kind = "convolution" if any(len(part) > 1 for part in uses(maps[0])) else "contraction"
    return Match(kind=work, types=types, maps=maps, dims=_sizes(maps, old.tensors))


def _whole_tiles(match: Match, setting: Setting) -> Match:
    """A loop of any size is to be a multiple of its tile: a record for any attention also meets those of text encoders, 64 rows and less."""
    tiles = [max(pair) for pair in zip(*(setting.lowering_config.get(name, [0] * len(match.dims)) for name in ("workgroup", "reduction")), strict=True)]
    multiples = tuple(tile if size < 0 and tile > 1 else 1 for size, tile in zip(match.dims, tiles, strict=False))
    return dataclasses.replace(match, multiples=multiples) if max(multiples, default=1) > 1 else match


def _sizes(maps: Sequence[str], tensors: Sequence[tuple[tuple[int, ...], str]]) -> tuple[int, ...]:
    """Loop sizes, each read off a dimension that the loop alone indexes."""
    loops = maps[0].partition(" ->")[0].count("d")
    sizes: dict[int, int] = {}
    for text, (shape, _) in zip(maps, tensors, strict=True):
        if len(uses(text)) != len(shape):
            raise ConfigError(f"a map of {len(uses(text))} results, {text}, for a tensor of {len(shape)} dimensions")
        for part, size in zip(uses(text), shape, strict=True):
            if len(part) == 1:
                (loop,) = part
                if sizes.setdefault(loop, size) != size:
                    raise ConfigError(f"loop d{loop} has {sizes[loop]} and {size} iterations: the matcher can match nothing")
    if len(sizes) != loops:
        raise ConfigError(f"no operand tells the size of loop d{min(set(range(loops)) - set(sizes))}")
    return tuple(sizes[loop] for loop in range(loops))


def _setting(old: OldMatcher) -> Setting:
    if not old.info:
        raise ConfigError("sets no compilation_info")
    translation = old.info.get("translation_info", {})
    pipeline = translation.get("pipeline", "")
    name = next((key for key in pipeline if key != "#"), "") if isinstance(pipeline, dict) else str(pipeline).removeprefix("LLVMGPU")
    threads = translation.get("workgroup_size", [])
    count = 1
    for size in threads:
        count *= size
    functions = dict(translation.get("llvm_func_attrs", {}))
    denormal = functions.pop("denormal-fp-math-f32", None)
    attributes = ({"llvm_func_attrs": functions} if functions else {}) | ({"denormal_fp_math_f32": denormal} if denormal else {})
    attention = old.operation == "iree_linalg_ext.attention"
    # VectorDistribute numbers its threads in one dimension in 3.13
    return Setting(pipeline=name, lowering_config=_lowering(old.info["lowering_config"], name), attributes=attributes,
                   workgroup_size=(count, 1, 1) if name == "VectorDistribute" else tuple(threads), subgroup_size=translation.get("subgroup_size"),
                   options=_options(translation.get("gpu_pipeline_options", {})),
                   decomposition={part: {"lowering_config": _product(old.decomposition[part]["lowering_config"], part)}
                                  for part in ("qk_attrs", "pv_attrs")} if attention and old.decomposition else {})


def _options(old: dict[str, Any]) -> dict[str, Any]:
    options = {}
    for key, value in old.items():
        if key == "prefetch_shared_memory":
            options["prefetch_num_stages"] = 2 if value else 0
        elif key in OPTIONS["gpu"]:
            options[key] = value
        elif key != "#":
            raise ConfigError(f"option {key} = {value!r} has no successor in IREE 3.13")
    return options


def _lowering(old: dict[str, Any], pipeline: str) -> dict[str, Any]:
    config = {key: value for key, value in old.items() if key not in ("#", "subgroup_m_count", "subgroup_n_count")}
    if "mma_kind" in config:
        config["mma_kind"] = _intrinsic(config["mma_kind"])
    if pipeline == "VectorDistribute" and "subgroup_m_count" in old:
        raise ConfigError("VectorDistribute of a product: its subgroup counts say not over which loops they go")
    return config


def _product(old: dict[str, Any], part: str) -> dict[str, Any]:
    """One of attention's two products: subgroups lie along M (d2); the loops are those of the product: d4 is K1, d3 is N."""
    if old.get("subgroup_n_count", 1) != 1:
        raise ConfigError(f"{part} splits N over {old['subgroup_n_count']} subgroups; the port knows M only")
    config: dict[str, Any] = {"subgroup_basis": [[1, 1, old["subgroup_m_count"], 1, 1, 1], [0, 1, 2, 4 if part == "qk_attrs" else 3, 5]]}
    if "promote_operands" in old:
        config["promote_operands"] = old["promote_operands"]
    # 3.13 chains the two products through registers only when both say so, as its own configurations do
    config["mma_kind"] = {"intrinsic": _intrinsic(old["mma_kind"]), "col_major": True}
    return config


def _intrinsic(old: dict[str, Any]) -> str:
    return str(old.get("intrinsic") or next(key for key in old if key != "#"))


def fit(record: TuningRecord, wanted: Match) -> TuningRecord | None:
    """`record` for `wanted`, the same work with its loops or operands in another order (NHWC and NCHW); None when it is other work."""
    here, there = record.match, wanted
    if (here.kind, here.types) != (there.kind, there.types) or len(here.dims) != len(there.dims):
        return None
    place: dict[int, int] = {}
    for role, loops in there.roles.items():
        ours = here.roles[role]
        if len(ours) != len(loops) or any(here.dims[one] not in (-1, there.dims[other]) for one, other in zip(ours, loops, strict=True)):
            return None
        place |= dict(zip(loops, ours, strict=True))
    if _strides(here) != _strides(there):
        return None
    if any(here.dims[loop] < 0 and size and there.dims[other] % size for other, loop in place.items()
           for size in here.multiples[loop:loop + 1]):
        return None
    dims, multiples = (tuple(sizes[place[loop]] for loop in range(len(there.dims))) if sizes else () for sizes in (here.dims, here.multiples))
    order = [place[loop] for loop in range(len(there.dims))]
    if here.kind == "convolution" and record.set.options.get("use_igemm_convolution"):
        kept = [loop for loop in range(len(here.dims)) if loop not in (*here.roles["filter"], *here.roles["input_channel"])]
        order = [kept.index(loop) for loop in order if loop in kept] + [len(kept)]
    config = {key: [value[at] for at in order] if key in ("workgroup", "reduction", "subgroup") else value
              for key, value in record.set.lowering_config.items()}
    return dataclasses.replace(record, match=dataclasses.replace(there, dims=dims, multiples=multiples),
                               set=dataclasses.replace(record.set, lowering_config=config))


def _strides(match: Match) -> list[str]:
    """Factors of the sliding dimensions of the input, in loop order: [" * 2", " * 2"], or empty ones."""
    if match.kind != "convolution":
        return []
    return [text.partition(" * ")[2].partition(" ")[0] for text in match.maps[0].partition("-> ")[2].split(",") if " + " in text]


def main(argv: Sequence[str] | None = None) -> int:
    settings = parse(argv)
    print(f"specs.port {settings}")
    try:
        text = settings.old.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read {settings.old}: {error.strerror}") from error
    found = port(text, settings.target, settings.source or settings.old.name, settings.date)
    if not found:
        raise ConfigError(f"{settings.old} holds no matcher that sets a configuration; is it a tuning spec of 2025?")
    for one in found:
        print(f"  {one.matcher.name}: {one.record.name if one.record else f'not carried: {one.reason}'}")
        if one.record:
            toml_text.save(one.record, settings.output)
    carried = sum(one.record is not None for one in found)
    print(json.dumps({"matchers": len(found), "records": carried, "folder": str(settings.output)}))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""What a sweep may set for an attention on a GPU (VectorDistribute): queries and values of a workgroup, its subgroups, keys a step."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any

from compile.tune_space import Point, as_record
from ireeperf.errors import ConfigError
from specs import lowering_keys as keys
from specs import tiling_check
from specs.match import Match
from specs.record import Setting

ROWS, ROW, STEPS = (1, 2, 4, 8), (1, 2, 4), (16, 32, 64, 128)
ALL, KEYS_VALUES = 0, 1  # promoted to shared memory: queries, keys and values; or keys and values
_LIST = re.compile(r"(\w+) = (\[[\[\]\d, ]*\])")
PIPELINE = re.compile(r"#iree_gpu\.pipeline<(\w+)> workgroup_size = \[([\d, ]+)\] subgroup_size = (\d+)")
MMA = re.compile(r"mma_kind = #iree_gpu\.\w*mma_layout<(\w+)>")
_DENORMAL = re.compile(r'denormal_fp_math<"([\w-]+)">')


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSpace:
    """Parameters of one attention: `rows`: subgroups along the queries; `row`: instructions of each along them; `column`: elements of a
    value's head that a workgroup computes (what is less than all of them repeats the product of queries and keys); `step`: keys a step;
    `promote`: ALL or KEYS_VALUES. Prefetch stages are no parameter: on CUDA they change nothing in the code (IREE 3.13)."""

    match: Match
    default: Setting
    target: str
    parameters: dict[str, tuple[int, ...]]

    def setting(self, point: Point) -> Setting:
        """`point` as what a record sets."""
        roles, config = self.match.roles, self.default.lowering_config
        m, n, keys_loop = roles["m"][-1], roles["n"][-1], roles["k2"][-1]
        tiles, steps = list(config["workgroup"]), list(config["reduction"])
        rows = keys.mma_shape(self.default.decomposition["qk_attrs"]["lowering_config"]["mma_kind"])[0]
        tiles[m], tiles[n], steps[keys_loop] = point["rows"] * point["row"] * rows, point["column"], point["step"]
        kept = [0, 1, 2] if point["promote"] == ALL else [1, 2]
        parts = {name: {"lowering_config": self._part(part["lowering_config"], m, point, [i for i in within if name == "pv_attrs" or i in kept])}
                 for (name, part), within in zip(sorted(self.default.decomposition.items()), ([1], [0, 1]), strict=True)}
        return replace(self.default, lowering_config=config | {"workgroup": tiles, "reduction": steps} | _promoted(config, kept),
                       workgroup_size=(point["rows"] * self.default.subgroup_size, 1, 1), decomposition=parts)  # type: ignore[operator]

    def _part(self, config: dict[str, Any], m: int, point: Point, kept: list[int]) -> dict[str, Any]:
        counts, loops = config["subgroup_basis"]
        counts = [point["rows"] if place == m else 1 for place in range(len(counts))]
        return config | {"subgroup_basis": [counts, loops]} | _promoted(config, kept)

    def invalid(self, point: Point) -> str | None:
        """Why `point` cannot be a configuration, or None."""
        setting = self.setting(point)
        for name in ("workgroup", "reduction"):
            for loop, (size, tile) in enumerate(zip(self.match.dims, setting.lowering_config[name], strict=True)):
                if tile and size % tile:
                    return f"{name}[{loop}] {tile} does not divide {size}"
        used, limit = shared_bytes(self.match, setting), keys.LDS_BYTES[keys.architecture(self.target)]
        if used > limit:
            return f"its tiles take {used} bytes of shared memory, {limit} at most"
        try:
            tiling_check.check(as_record(self.match, setting, self.target))
        except ConfigError as error:
            return str(error)
        return None


def space(match: Match, configuration: str, target: str) -> AttentionSpace | str:
    """The space around the `configuration` that the dump of an attention shows, or why there is none."""
    default = setting_of(configuration)
    if isinstance(default, str):
        return default
    if min(match.dims) < 1:
        return f"its loops {match.dims} are not all of known size"
    head = math.prod(match.dims[i] for i in match.roles["n"])
    return AttentionSpace(match=match, default=default, target=target, parameters={
        "rows": ROWS, "row": ROW, "column": tuple(sorted({max(head // 2, 1), head})), "step": STEPS, "promote": (ALL, KEYS_VALUES)})


def setting_of(configuration: str) -> Setting | str:
    """The compiler's choice as a record would set it; or why it is none that candidates are made from."""
    pipeline = PIPELINE.search(configuration)
    if pipeline is None or pipeline[1] != "VectorDistribute":
        return f"its pipeline is {pipeline[1] if pipeline else 'not known'}; attention's candidates are generated for VectorDistribute"
    texts = {name: part for name in keys.DECOMPOSITION if (part := _part_text(configuration, name))}
    whole = configuration.partition(" decomposition ")[0]
    config = _lists(whole.partition("#iree_gpu.lowering_config")[2])
    parts = {name: {"lowering_config": {"mma_kind": kind[1]} | _lists(text)} for name, text in texts.items() if (kind := MMA.search(text))}
    if len(parts) != len(keys.DECOMPOSITION) or not {"workgroup", "reduction"} <= config.keys():
        return "it uses no matrix instruction for both of its products"
    products = [part["lowering_config"] for part in parts.values()]
    if any("promote_operands" not in one for one in (config, *products)) or any("subgroup_basis" not in one for one in products):
        return "its configuration has no promoted operands or no basis of subgroups, which candidates would have to fit"
    denormal = _DENORMAL.search(configuration)
    return Setting(pipeline=pipeline[1], lowering_config=config, subgroup_size=int(pipeline[3]), decomposition=parts,
                   workgroup_size=tuple(int(size) for size in pipeline[2].split(",")),
                   attributes={"denormal_fp_math_f32": denormal[1]} if denormal else {})


def shared_bytes(match: Match, setting: Setting) -> int:
    """Shared memory that the promoted operands of one step take."""
    roles, tiles = match.roles, [max(a, b) or size for a, b, size in zip(setting.lowering_config["workgroup"], setting.lowering_config["reduction"],
                                                                        match.dims, strict=True)]
    size = {name: math.prod(tiles[i] for i in loops) for name, loops in roles.items()}
    operands = (size["m"] * size["k1"], size["k2"] * size["k1"], size["k2"] * size["n"])
    width = 4 if match.types[0] == "f32" else 2
    return width * sum(operands[i] for i in setting.lowering_config.get("promote_operands", ()))


def _promoted(config: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    types = {"promotion_types": ["derived_thread_config"] * len(kept)} if "promotion_types" in config else {}
    return {"promote_operands": kept} | types


def _part_text(configuration: str, name: str) -> str:
    """The text of one product's configuration, up to its closing brace."""
    start = configuration.find(f"{name} = {{")
    if start < 0:
        return ""
    depth = 0
    for index in range(start, len(configuration)):
        depth += {"{": 1, "}": -1}.get(configuration[index], 0)
        if configuration[index] == "}" and depth == 0:
            return configuration[start:index + 1]
    return ""


def _lists(text: str) -> dict[str, Any]:
    """Lists of whole numbers of a configuration, and its promotions."""
    found: dict[str, Any] = {name: json.loads(value) for name, value in _LIST.findall(text) if name != "promotion_types"}
    if "promotion_types" in text:
        found["promotion_types"] = ["derived_thread_config"] * text.partition("promotion_types")[2].partition("]")[0].count("derived_thread_config")
    return found

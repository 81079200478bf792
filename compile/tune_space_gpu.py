"""What a sweep may set for a matrix dispatch on a GPU: tiles, instruction and stages around the compiler's own choice (TileAndFuse;
attention: compile/tune_space_attention.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from compile import tune_space_attention
from compile.tune_space import Point, as_record
from compile.tune_space_attention import MMA, PIPELINE, AttentionSpace
from ireeperf.errors import ConfigError
from specs import lowering_keys as keys
from specs import tiling_check
from specs.match import Match
from specs.record import Setting

SUBGROUPS, TILES, STEPS, STAGES = (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 3)
OUTER = (1, 2, 4, 8)
PADDINGS = (128,)
SHORT = 128  # an innermost loop of M or N up to this bounds the tile, and the loop around it is tiled as well
_CONFIG = re.compile(r"#iree_gpu\.lowering_config<\{(.*)\}>")
_LIST = re.compile(r"(\w+) = \[([\d, ]*)\]")
_OPTION = re.compile(r"(prefetch_num_stages|no_reduce_shared_memory_bank_conflicts|use_igemm_convolution) = (\w+)")
_FAMILY = re.compile(r"V?(\w+?)_\d+x\d+x\d+_(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpace:
    """Parameters of one dispatch: `rows`, `columns`: subgroups along M and N; `row`, `column`: instructions of each; `step`: along K;
    `mma`: index into `instructions`; `stages`: of the prefetch; `outer_m`, `outer_n`: subgroups along the loop around a short innermost
    one (an image's rows, a matrix's heads); `padding`: bits of a row in shared memory (CUDA, compile/bank_padding.py). The rest stays as in
    `default`."""

    match: Match
    default: Setting
    target: str
    instructions: tuple[str, ...]
    parameters: dict[str, tuple[int, ...]]
    sizes: tuple[int, ...]  # of the loops that tiles go over (specs/tiling_check.py), and their roles
    roles: dict[str, tuple[int, ...]]

    def setting(self, point: Point) -> Setting:
        """`point` as what a record sets."""
        m, n, k = self._loops()
        name = self.instructions[point["mma"]]
        rows, columns, _ = keys.mma_shape(name)
        tiles, shares, steps = (list(self.default.lowering_config[key]) for key in ("workgroup", "subgroup", "reduction"))
        tiles[m], tiles[n] = point["rows"] * point["row"] * rows, point["columns"] * point["column"] * columns
        shares[m], shares[n], steps[k] = point["row"], point["column"], point["step"]
        for role, loop in _outer(self.sizes, self.roles).items():
            tiles[loop], shares[loop] = point.get(f"outer_{role}", tiles[loop]), 1
        others = 1
        for loop, (tile, share) in enumerate(zip(tiles, shares, strict=True)):
            others *= 1 if loop in (m, n) or not tile or not share else tile // share
        threads = point["rows"] * point["columns"] * others * keys.SUBGROUP_SIZE[keys.architecture(self.target)]
        config = self.default.lowering_config | {"workgroup": tiles, "subgroup": shares, "reduction": steps, "mma_kind": name}
        return replace(self.default, lowering_config=config, workgroup_size=(threads, 1, 1),
                       options=self.default.options | {"prefetch_num_stages": point["stages"]},
                       attributes={"shared_memory_padding_bits": point["padding"]} if "padding" in point else {})

    def invalid(self, point: Point) -> str | None:
        """Why `point` cannot be a configuration, or None."""
        record = as_record(self.match, self.setting(point), self.target)
        for loop, (size, tile) in enumerate(zip(self.sizes, record.set.lowering_config["workgroup"], strict=True)):
            if tile and size % tile:
                return f"workgroup[{loop}] {tile} does not divide {size}"
        try:
            tiling_check.check(record)
        except ConfigError as error:
            return str(error)
        return None

    def _loops(self) -> tuple[int, int, int]:
        return self.roles["m"][-1], self.roles["n"][-1], self.roles["k"][-1]


def space(match: Match | None, configuration: str, target: str) -> GpuSpace | AttentionSpace | str:
    """The space around the `configuration` that the dump of a dispatch shows, or why there is none."""
    if match is not None and match.kind == "attention":
        return tune_space_attention.space(match, configuration, target)
    if match is None or match.kind not in ("contraction", "convolution"):
        return f"its root is {match.kind if match else 'no operation that records match'}; contractions, convolutions and attention are generated for"
    default = setting_of(configuration)
    if isinstance(default, str):
        return default
    if min(match.dims) < 1:
        return f"its loops {match.dims} are not all of known size"
    sizes, roles = tiling_check.loops(as_record(match, default, target))
    if not (roles.get("m") and roles.get("n") and roles.get("k")) or len(default.lowering_config["workgroup"]) != len(sizes):
        return "its tiles do not go over loops of M, N and K"
    where, chosen = keys.architecture(target), default.lowering_config["mma_kind"]
    family = _family(chosen)
    names = tuple(name for name in (*keys.MMA[where], *keys.VIRTUAL_MMA[where]) if _family(name) == family) or (chosen,)
    # On CUDA the compiler prefetches nothing whatever the stages, and rows of 128 bits more lie on all banks
    cuda = where.startswith("sm_")
    more = {"padding": PADDINGS} if cuda else {}
    outer = {f"outer_{role}": tuple(count for count in OUTER if sizes[loop] % count == 0) for role, loop in _outer(sizes, roles).items()}
    return GpuSpace(match=match, default=default, target=target, instructions=names, sizes=sizes, roles=roles, parameters={
        "rows": SUBGROUPS, "columns": SUBGROUPS, "row": TILES, "column": TILES, "step": STEPS, "mma": tuple(range(len(names))),
        "stages": (default.options.get("prefetch_num_stages", STAGES[0]),) if cuda else STAGES, **outer, **more})


def _outer(sizes: tuple[int, ...], roles: dict[str, tuple[int, ...]]) -> dict[str, int]:
    return {role: roles[role][-2] for role in ("m", "n") if len(roles[role]) > 1 and sizes[roles[role][-1]] <= SHORT}


def setting_of(configuration: str) -> Setting | str:
    """The compiler's choice as a record would set it; or why it is none that candidates are made from."""
    pipeline, config, kind = PIPELINE.search(configuration), _CONFIG.search(configuration), MMA.search(configuration)
    if pipeline is None or pipeline[1] != "TileAndFuse":
        return f"its pipeline is {pipeline[1] if pipeline else 'not known'}; candidates are generated for TileAndFuse"
    lists = {name: [int(size) for size in sizes.split(",") if size.strip()] for name, sizes in _LIST.findall(config[1])} if config else {}
    if kind is None or not {"workgroup", "subgroup", "reduction"} <= lists.keys():
        return "it uses no matrix instruction by tiles of subgroups"
    # padding goes with tiles that do not divide the loops; candidates' tiles do
    lists = {name: sizes for name, sizes in lists.items() if name not in ("padding", "padding_conv")}
    if strange := lists.keys() - {"workgroup", "subgroup", "reduction", "promote_operands"}:
        return f"its configuration has {', '.join(sorted(strange))}, which candidates would have to fit"
    # a batch loop of tile 1 has 0 there, which says the same as 1
    lists["subgroup"] = [share or min(tile, 1) for share, tile in zip(lists["subgroup"], lists["workgroup"], strict=False)]
    options = {name: int(value) if value.isdigit() else value == "true" for name, value in _OPTION.findall(configuration)}
    return Setting(pipeline=pipeline[1], lowering_config=lists | {"mma_kind": kind[1]}, subgroup_size=int(pipeline[3]), options=options,
                   workgroup_size=tuple(int(size) for size in pipeline[2].split(",")))


def _family(name: str) -> tuple[str, ...] | None:
    found = _FAMILY.fullmatch(name)
    return found.groups() if found else None

"""Whether a record's names are IREE's and its tile sizes fit together, told before anything is compiled.

What IREE does with a misfit is told in docs/SPECS.md: mostly "uses N bytes of shared memory", or nothing at all.
"""

from __future__ import annotations

import math
from typing import Any

from ireeperf.errors import ConfigError
from specs import lowering_keys as keys
from specs.record import Setting, TuningRecord

_BITS = {"f64": 64, "f32": 32, "i32": 32, "f16": 16, "bf16": 16, "i8": 8}


def check(record: TuningRecord) -> None:
    """ConfigError, opening with the record's name, at the first name or size that cannot be right on the record's target."""
    try:
        _names(record.set, record.target, record.match.kind)
        if keys.family(record.target) == "cpu":
            _cpu_tiles(record)
        else:
            _gpu_tiles(record)
        _within(record)
    except ConfigError as error:
        raise ConfigError(f"record {record.name}: {error}") from None


def loops(record: TuningRecord) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """Sizes and roles of the loops that tile sizes go over: the operation's, or for an implicit-GEMM convolution the parallel ones and one k."""
    match, roles = record.match, record.match.roles
    if match.kind != "convolution" or not record.set.options.get("use_igemm_convolution"):
        return match.dims, roles
    reduced = (*roles["filter"], *roles["input_channel"])
    parallel = [i for i in range(len(match.dims)) if i not in reduced]
    k = -1 if any(match.dims[i] < 0 for i in reduced) else math.prod(match.dims[i] for i in reduced)
    place = {loop: index for index, loop in enumerate(parallel)}
    found = {"m": tuple(sorted(place[i] for i in (*roles["batch"], *roles["image"]))), "n": tuple(place[i] for i in roles["output_channel"]),
             "k": (len(parallel),)}
    return (*(match.dims[i] for i in parallel), k), found


def _names(setting: Setting, target: str, kind: str) -> None:
    family, where = keys.family(target), keys.architecture(target)
    keys.known(setting.pipeline, keys.PIPELINES[family], "pipeline")
    keys.all_known(setting.lowering_config, keys.KEYS[family], "lowering_config key")
    keys.all_known(setting.options, keys.OPTIONS[family], "option")
    keys.all_known(setting.attributes, keys.ATTRIBUTES[family], "attribute")
    keys.all_known(setting.decomposition, keys.DECOMPOSITION, "decomposition key")
    if setting.decomposition and kind != "attention":
        raise ConfigError(f"decomposition is for attention; this is a {kind}")
    for name, part in setting.decomposition.items():
        keys.all_known(part, ("lowering_config",), f"key of {name}")
        keys.all_known(part.get("lowering_config", {}), keys.KEYS[family], f"lowering_config key of {name}")
    for config in (setting.lowering_config, *(part.get("lowering_config", {}) for part in setting.decomposition.values())):
        if "mma_kind" in config:
            names = (*keys.MMA[where], *keys.VIRTUAL_MMA[where])
            keys.known(keys.mma_name(config["mma_kind"]), names, f"mma_kind on {where}")
        for name in keys.TILINGS[family]:
            if name in config and not _integers(config[name]):
                raise ConfigError(f"{name} is {config[name]!r}; expected a list of whole numbers, one a loop")


def _integers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(type(size) is int and size >= 0 for size in value)


def _lengths(record: TuningRecord) -> None:
    sizes, _ = loops(record)
    for name in keys.TILINGS[keys.family(record.target)]:
        tiles = record.set.lowering_config.get(name)
        if tiles is not None and len(tiles) != len(sizes):
            raise ConfigError(f"{name} has {len(tiles)} sizes for {len(sizes)} loops ({'x'.join(map(str, sizes))}); one a loop, 0 where not tiled")


def _cpu_tiles(record: TuningRecord) -> None:
    setting = record.set
    if setting.workgroup_size or setting.subgroup_size is not None:
        raise ConfigError("workgroup_size and subgroup_size are for GPUs; leave them out")
    _lengths(record)
    vectors = [name for name in keys.TILINGS["cpu"] if name.startswith("vector_") and name in setting.lowering_config]
    for loop in range(len(record.match.dims)):
        tiling = [name for name in vectors if setting.lowering_config[name][loop]]
        if len(tiling) > 1:
            raise ConfigError(f"{' and '.join(tiling)} both tile loop d{loop}; one vector level a loop")


def _gpu_tiles(record: TuningRecord) -> None:
    setting, where = record.set, keys.architecture(record.target)
    wanted = keys.SUBGROUP_SIZE[where]
    if setting.subgroup_size != wanted:
        raise ConfigError(f"subgroup_size is {setting.subgroup_size}; {where} has {wanted}")
    if not 1 <= len(setting.workgroup_size) <= 3 or min(setting.workgroup_size) < 1:
        raise ConfigError(f"workgroup_size is {list(setting.workgroup_size)}; expected one to three numbers of threads")
    threads = math.prod(setting.workgroup_size)
    if threads > keys.WORKGROUP_THREADS:
        raise ConfigError(f"workgroup_size has {threads} threads; at most {keys.WORKGROUP_THREADS}")
    if record.match.kind != "convolution" or setting.options.get("use_igemm_convolution"):
        _lengths(record)
    promoted = setting.lowering_config.get("promotion_types")
    if promoted is not None and len(promoted) != len(setting.lowering_config.get("promote_operands", ())):
        raise ConfigError(f"promotion_types has {len(promoted)} entries for promote_operands {setting.lowering_config.get('promote_operands')}")
    configs = {"": setting.lowering_config} | {f" of {name}": part.get("lowering_config", {}) for name, part in setting.decomposition.items()}
    for name, config in configs.items():
        _bases(config, threads, wanted, name)
    if setting.pipeline == "TileAndFuse" and "mma_kind" in setting.lowering_config and "subgroup" in setting.lowering_config:
        _matrix_tiles(record, threads)


def _bases(config: dict[str, Any], threads: int, subgroup_size: int, where: str) -> None:
    for name, wanted in (("subgroup_basis", threads // subgroup_size), ("lane_basis", subgroup_size)):
        if name not in config:
            continue
        basis = config[name]
        if not (isinstance(basis, list) and len(basis) == 2 and all(map(_integers, basis))):
            raise ConfigError(f"{name}{where} is {basis!r}; expected [[counts], [loops]]")
        if math.prod(basis[0]) != wanted:
            raise ConfigError(f"{name}{where} {basis[0]} multiplies to {math.prod(basis[0])}; {threads} threads in subgroups of {subgroup_size} need {wanted}")


def _within(record: TuningRecord) -> None:
    """The other operations of a reduction's dispatch: places, names, and bases of the same threads."""
    within, family = record.set.within, keys.family(record.target)
    if within is None:
        return
    if record.match.kind != "reduction":
        raise ConfigError(f"within is for reductions; this is a {record.match.kind}")
    places = [within.root, *(other.operation for other in within.others)]
    if len(set(places)) < len(places) or min(places) < 0 or max(places) >= within.operations:
        raise ConfigError(f"within places root and others at {places}; expected different ones from 0 to {within.operations - 1}")
    for other in within.others:
        where = f" of operation {other.operation}"
        keys.all_known(other.lowering_config, keys.KEYS[family], f"lowering_config key{where}")
        for name in keys.TILINGS[family]:
            if name in other.lowering_config and not _integers(other.lowering_config[name]):
                raise ConfigError(f"{name}{where} is {other.lowering_config[name]!r}; expected a list of whole numbers, one a loop")
        if family == "gpu":
            _bases(other.lowering_config, math.prod(record.set.workgroup_size), keys.SUBGROUP_SIZE[keys.architecture(record.target)], where)


def _matrix_tiles(record: TuningRecord, threads: int) -> None:
    """TileAndFuse: workgroup_size = subgroup_size x prod(workgroup / (subgroup x instruction)); the K step divides K; LDS suffices."""
    setting, config = record.set, record.set.lowering_config
    sizes, roles = loops(record)
    if record.match.kind == "convolution" and "m" not in roles:
        return  # a direct convolution: its loops are tiled otherwise
    kind = config["mma_kind"]
    m, n, k = keys.mma_shape(keys.mma_name(kind))
    if not (roles.get("m") and roles.get("n") and roles.get("k")):
        raise ConfigError(f"mma_kind {keys.mma_name(kind)} needs loops of M, N and K; this operation lacks one")
    instruction = {roles["m"][-1]: m, roles["n"][-1]: n}
    subgroups = 1
    for loop in range(len(sizes)):
        tile, share = config.get("workgroup", [0] * len(sizes))[loop], config["subgroup"][loop]
        step = share * instruction.get(loop, 1)
        if tile and (not step or tile % step):
            raise ConfigError(f"workgroup[{loop}] {tile} is not a multiple of subgroup[{loop}] {share} x {instruction.get(loop, 1)} "
                              f"(M x N x K of {keys.mma_name(kind)}: {m}x{n}x{k})")
        subgroups *= tile // step if tile else 1
    if subgroups * setting.subgroup_size != threads:  # type: ignore[operator]
        raise ConfigError(f"workgroup_size has {threads} threads; workgroup {config.get('workgroup')} over subgroup {config['subgroup']} x "
                          f"{m}x{n} makes {subgroups} subgroups, {subgroups * setting.subgroup_size} threads")  # type: ignore[operator]
    _depth(record, sizes, roles, k)


def _depth(record: TuningRecord, sizes: tuple[int, ...], roles: dict[str, tuple[int, ...]], k: int) -> None:
    """`reduction` counts steps of the instruction along the innermost K loop."""
    config, where, loop = record.set.lowering_config, keys.architecture(record.target), roles["k"][-1]
    step = config.get("reduction", [0] * len(sizes))[loop] * k
    if step and sizes[loop] > 0 and sizes[loop] % step and "padding" not in config:
        raise ConfigError(f"reduction[{loop}] x {k} = {step} does not divide K = {sizes[loop]}")
    if not step or list(config.get("promote_operands", ())) != [0, 1]:
        return
    tiles = config.get("workgroup", [0] * len(sizes))
    elements = [math.prod(tiles[i] for i in roles[role] if tiles[i]) * step for role in ("m", "n")]
    used = sum(count * _BITS.get(kind, 8) // 8 for count, kind in zip(elements, record.match.types, strict=False))
    if used > keys.LDS_BYTES[where]:
        raise ConfigError(f"the tiles of both operands take {used} bytes of shared memory; {where} has {keys.LDS_BYTES[where]} a workgroup")

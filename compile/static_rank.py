"""A candidate's time as far as it can be told without running it: a stated formula over its tiles and the machine's published figures.

GPU (TileAndFuse matrix dispatches, VectorDistribute attention). Of one workgroup and one step along the reduction, in clocks of a compute unit:
    matrix    2 x tile x step FLOPs over the unit's rate
    shared    bytes written to and read from LDS over its 128 bytes a clock; every subgroup reads its own rows and columns
    global    bytes of the promoted operands over the unit's share of the cache's bandwidth
    latency   of global memory and the barriers: exposed without prefetch, with it only what the step's own work does not cover
A unit holds as many workgroups as LDS, threads and registers (accumulators, fragments, prefetched operands) allow; they share its rates and hide
each other's latency. Waves of workgroups follow each other. Registers above the thread's limit spill: each costs as a shared access.
CPU (DoubleTilingExpert and convolutions): per vector tile and reduction step the larger of multiply-adds at two a clock, loads at two a clock
and the latency of the chain; spilled accumulators are stored and loaded; columns that do not fill a vector are waste; a panel beyond the L1 or
L2 comes from the next level; workgroups cost a start each.

Nothing here was fitted to measurements: docs/STATIC_RANKING.md shows how well it ranks.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from compile.tune_space import as_record
from specs import lowering_keys as keys
from specs import tiling_check
from specs.match import Match
from specs.record import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One device. Rates are of one compute unit and clock."""

    units: int
    mhz: float
    matrix_flops: float  # dense, float16 operands
    lds_bytes: int
    registers: int  # 32 bit each, of the unit
    thread_registers: int
    threads: int
    cache_bytes: float = 64.0  # from the last shared cache, a clock
    lds_rate: float = 128.0
    exponentials: float = 16.0
    latency_clocks: float = 600.0
    schedulers: int = 4
    start_us: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """One thread."""

    lanes: int  # float32
    registers: int
    l1_bytes: int = 32 << 10
    l2_bytes: int = 1 << 20
    l2_bytes_clock: float = 32.0
    memory_bytes_clock: float = 8.0
    chain_clocks: float = 4.0
    start_clocks: float = 2000.0


# NVIDIA H100 SXM and A100 whitepapers (mma.sync on Hopper reaches about 0.6 of the wgmma peak of 4,096 a clock); AMD CDNA 3 and 4 whitepapers
GPUS = {
    "sm_80": Gpu(units=132, mhz=1755, matrix_flops=2560, lds_bytes=227 << 10, registers=65536, thread_registers=255, threads=2048),
    "gfx942": Gpu(units=38, mhz=2100, matrix_flops=2048, lds_bytes=64 << 10, registers=131072, thread_registers=512, threads=2048),
    "gfx950": Gpu(units=32, mhz=2400, matrix_flops=4096, lds_bytes=160 << 10, registers=131072, thread_registers=512, threads=2048),
}
GPUS["sm_89"] = GPUS["sm_80"]
CPUS = {"cpu-avx512": Cpu(lanes=16, registers=32), "cpu-avx2": Cpu(lanes=8, registers=16)}


def estimate(match: Match, setting: Setting, target: str, *, wide: bool = True) -> float | None:
    """Microseconds of a GPU candidate, clocks of a CPU one: fit to be compared with others of the same dispatch only. None: not a form
    that the formula is of. `wide`: for the target cpu, whether it has AVX-512."""
    if min(match.dims) < 1:
        return None
    where = keys.architecture(target)
    if where == "cpu":
        machine = CPUS.get(target, CPUS["cpu-avx512" if wide else "cpu-avx2"])
        return _cpu(match, setting, machine) if "vector_common_parallel" in setting.lowering_config else None
    if match.kind == "attention":
        return _attention(match, setting, GPUS[where])
    if setting.pipeline == "TileAndFuse" and "mma_kind" in setting.lowering_config:
        return _matrix(match, setting, target, GPUS[where])
    return None


def _matrix(match: Match, setting: Setting, target: str, gpu: Gpu) -> float | None:
    config = setting.lowering_config
    record = as_record(match, setting, target)
    sizes, roles = tiling_check.loops(record)
    if not (roles.get("m") and roles.get("n") and roles.get("k")):
        return None
    instruction = keys.mma_shape(keys.mma_name(config["mma_kind"]))
    tiles, shares = config["workgroup"], config["subgroup"]
    m, n = (math.prod(max(tiles[i], 1) for i in roles[role]) for role in ("m", "n"))
    own_m, own_n = (math.prod(max(shares[i], 1) for i in roles[role]) * instruction[place] for place, role in enumerate(("m", "n")))
    k = math.prod(sizes[i] for i in roles["k"])
    step = max(config["reduction"][roles["k"][-1]], 1) * instruction[2]
    groups = math.prod(-(-size // tile) for size, tile in zip(sizes, tiles, strict=True) if tile)
    threads, subgroups = math.prod(setting.workgroup_size), math.prod(setting.workgroup_size) // (setting.subgroup_size or 32)
    width = _bytes(match.types[0])
    stages = setting.options.get("prefetch_num_stages", 2)
    accumulators = m * n / threads
    fragments = (own_m + own_n) * instruction[2] * width / 4 / (setting.subgroup_size or 32)
    moved = (m + n) * step * width
    return _time(gpu, groups=groups, steps=k / step, threads=threads, matrix=2 * m * n * step / gpu.matrix_flops,
                 shared=(moved + subgroups * (own_m + own_n) * step * width) / gpu.lds_rate, moved=moved, stages=stages, lds=moved * max(stages - 1, 1),
                 registers=accumulators + 2 * fragments + (moved / 4 / threads if stages > 1 else 0) + 32, end=m * n * width)


def _attention(match: Match, setting: Setting, gpu: Gpu) -> float | None:
    config, roles = setting.lowering_config, match.roles
    if setting.pipeline != "VectorDistribute" or not {"workgroup", "reduction"} <= config.keys():
        return None
    tiles = [tile or size for tile, size in zip(config["workgroup"], match.dims, strict=True)]
    m, n = (math.prod(tiles[i] for i in roles[role]) for role in ("m", "n"))
    head, keys_all = (math.prod(match.dims[i] for i in roles[role]) for role in ("k1", "k2"))
    step = config["reduction"][roles["k2"][-1]] or keys_all
    groups = math.prod(-(-size // tile) for size, tile in zip(match.dims, config["workgroup"], strict=True) if tile)
    threads, width = math.prod(setting.workgroup_size), _bytes(match.types[0])
    subgroups = threads // (setting.subgroup_size or 32)
    moved = step * (head + n) * width
    promoted = config.get("promote_operands", ())
    queries = m * head * width if 0 in promoted else 0
    shared = (moved + subgroups * moved + queries) / gpu.lds_rate  # every subgroup reads all keys and values
    scores = m * step / gpu.exponentials + 8 * m * step / 128  # exponentials; maxima, sums and scaling on 128 lanes
    registers = (m * step + m * n) / threads * 1.5 + (0 if 0 in promoted else m * head / 2 / threads) + 48
    return _time(gpu, groups=groups, steps=keys_all / step, threads=threads, matrix=2 * m * step * (head + n) / gpu.matrix_flops + scores, shared=shared,
                 moved=moved, stages=setting.options.get("prefetch_num_stages", 1), lds=moved + queries, registers=registers, end=m * n * width)


def _time(gpu: Gpu, *, groups: int, steps: float, threads: int, matrix: float, shared: float, moved: float, stages: int, lds: float, registers: float,
          end: float) -> float:
    """Microseconds of `groups` workgroups, whose `matrix`, `shared` and `moved` are clocks and bytes of one of `steps`."""
    spilled = max(0.0, registers - min(gpu.thread_registers, gpu.registers / threads))
    held = max(1, int(min(gpu.lds_bytes // max(lds, 1), gpu.threads // threads, gpu.registers // (min(registers, gpu.thread_registers) * threads), 32)))
    shared += 2 * spilled * threads * 4 / gpu.lds_rate

    def wave(resident: int) -> float:
        work = resident * max(matrix, shared, moved / gpu.cache_bytes)
        alone = (matrix + shared) * gpu.schedulers / min(threads / 32, gpu.schedulers)  # a subgroup has one scheduler's share of the unit
        latency = gpu.latency_clocks if stages < 2 else max(0.0, gpu.latency_clocks - alone)
        return steps * max(work, alone + latency) + resident * end / gpu.cache_bytes + 2 * gpu.latency_clocks

    full, rest = divmod(groups, gpu.units * held)
    return gpu.start_us + (full * wave(held) + (wave(-(-rest // gpu.units)) if rest else 0)) / gpu.mhz


def _cpu(match: Match, setting: Setting, cpu: Cpu) -> float | None:
    config, roles = setting.lowering_config, match.roles
    reduced = {loop for name in ("k", "filter", "input_channel") for loop in roles.get(name, ())}
    columns_loop = next((roles[name][-1] for name in ("n", "output_channel", "depth") if roles.get(name)), None)
    parallel, distribution = config["vector_common_parallel"], config["distribution"]
    column = max(parallel[columns_loop], 1) if columns_loop is not None else 1
    rows = math.prod(max(size, 1) for loop, size in enumerate(parallel) if loop not in reduced and loop != columns_loop)
    vectors = -(-column // cpu.lanes)
    depth = math.prod(match.dims[loop] for loop in reduced)
    tiles = math.prod(-(-match.dims[loop] // max(parallel[loop], 1)) for loop in range(len(match.dims)) if loop not in reduced)
    spilled = max(0, rows * vectors + vectors + 1 - cpu.registers)
    step = max(rows * vectors / 2, (rows + vectors) / 2, cpu.chain_clocks) + spilled
    panel, part = depth * column * 4, depth * math.prod(min(distribution[i] or match.dims[i], match.dims[i]) for i in range(len(parallel))
                                                        if i not in reduced and i != columns_loop) * 4
    beyond = column * 4 / cpu.l2_bytes_clock if panel > cpu.l1_bytes else 0.0
    beyond += (rows * 4 + column * 4) / cpu.memory_bytes_clock if panel + part > cpu.l2_bytes else 0.0
    groups = math.prod(-(-size // tile) for size, tile in zip(match.dims, distribution, strict=True) if tile)
    return tiles * depth * max(step, beyond) + groups * cpu.start_clocks


def _bytes(kind: str) -> float:
    found = re.search(r"\d+", kind)
    return int(found[0]) / 8 if found else 4.0

"""A record's setting as IREE attributes. Every key is known here: the compiler itself accepts a misspelt one and drops it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

from ireeperf.errors import ConfigError
from specs.record import Setting, TuningRecord

# Keys of lowering_config that occur in IREE 3.13's own configured executables or in its getters' sources (iree_gpu's
# GPULoweringConfigUtils, iree_cpu's IREECPUAttrs); options of #iree_gpu.pipeline_options; pipelines of the two enums.
LOWERING_KEYS = {
    "gpu": ("workgroup", "reduction", "subgroup", "thread", "serial", "partial_reduction", "subgroup_basis", "lane_basis", "mma_kind",
            "promote_operands", "promotion_types", "convert_acc_gemm", "expand_dims", "padding", "padding_conv"),
    "cpu": ("distribution", "cache_parallel", "cache_reduction", "vector_common_parallel", "vector_reduction", "vector_inner_parallel"),
}
OPTION_KEYS = ("prefetch_num_stages", "no_reduce_shared_memory_bank_conflicts", "use_igemm_convolution", "reorder_workgroups_strategy")
PIPELINES = {
    "gpu": ("TileAndFuse", "VectorDistribute", "Distribute", "Vectorize", "WinogradVectorize", "None"),
    "cpu": ("DoubleTilingExpert", "ConvTileAndDecomposeExpert", "Mmt4dTilingExpert", "BufferOpsTileAndVectorize", "DataTiling", "Default",
            "LinalgExtTileAndVectorize", "None"),
}
DECOMPOSITION_KEYS = ("qk_attrs", "pv_attrs")


def family(target: str) -> str:
    """The dialect whose attributes a target takes: cpu, or gpu for HIP and CUDA."""
    return "cpu" if target.startswith("cpu") else "gpu"


def backend(target: str) -> str:
    """hip, cuda or cpu, by the target's name."""
    return "cpu" if target.startswith("cpu") else "cuda" if target.startswith("sm_") else "hip"


def check(record: TuningRecord) -> None:
    """ConfigError for a key or pipeline that IREE 3.13 does not know, and for a tiling that arithmetic can refuse."""
    dialect, setting = family(record.target), record.set
    _known(setting.lowering_config, LOWERING_KEYS[dialect], "lowering_config key", record)
    for name, attributes in setting.decomposition.items():
        _known([name], DECOMPOSITION_KEYS, "decomposition key", record)
        _known(attributes, ("lowering_config",), f"key of {name}", record)
        _known(attributes.get("lowering_config", {}), LOWERING_KEYS[dialect], f"lowering_config key of {name}", record)
    _known(setting.options, OPTION_KEYS if dialect == "gpu" else (), "option", record)
    _known([setting.pipeline], PIPELINES[dialect], "pipeline", record)
    loops = len(record.match.dims)
    if record.match.kind == "convolution" and setting.options.get("use_igemm_convolution"):
        loops -= len(record.match.roles["filter"]) + len(record.match.roles["input_channel"]) - 1  # one k loop for all
    for key, value in setting.lowering_config.items():
        if key in ("workgroup", "reduction", "subgroup", "thread", *LOWERING_KEYS["cpu"]) and len(value) != loops:
            raise ConfigError(f"record {record.name}: {key} has {len(value)} entries, the operation has {loops} loops"
                              f"{' as an implicit matmul' if loops != len(record.match.dims) else ''}")
    if dialect == "gpu" and setting.pipeline == "TileAndFuse":
        _check_waves(record)


def _known(given: Iterable[str], known: tuple[str, ...], what: str, record: TuningRecord) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known) or 'none'}"
            raise ConfigError(f"record {record.name}: unknown {what} {name!r}{hint}")


def _check_waves(record: TuningRecord) -> None:
    """TileAndFuse: workgroup_size = subgroup_size x product of workgroup / (subgroup x mma). What breaks it dies in the compiler with
    "uses N bytes of shared memory", which says nothing of the cause."""
    lowering, setting = record.set.lowering_config, record.set
    kind, subgroup, workgroup = lowering.get("mma_kind"), lowering.get("subgroup"), lowering.get("workgroup")
    if not kind or not subgroup or not workgroup or not setting.workgroup_size or setting.subgroup_size is None:
        return
    tile = mma_shape(str(kind))
    if tile is None:
        raise ConfigError(f"record {record.name}: mma_kind {kind!r} has no MxNxK in its name")
    roles = record.match.roles
    outer, inner = (roles["m"], roles["n"]) if record.match.kind == "contraction" else (roles["output_channel"], roles["image"])
    if not outer or not inner:
        return
    sizes = {outer[-1]: tile[0], inner[-1]: tile[1]}  # the instruction lies on the innermost loop of each side
    waves = 1.0
    for index, (of_group, of_wave) in enumerate(zip(workgroup, subgroup, strict=True)):
        if of_group and of_wave:
            waves *= of_group / (of_wave * sizes.get(index, 1))
    wanted = setting.subgroup_size * waves
    if wanted != math.prod(setting.workgroup_size) and record.match.kind == "contraction":
        raise ConfigError(f"record {record.name}: workgroup {list(workgroup)} over subgroup {list(subgroup)} tiles of {kind} is {waves:g} subgroups, "
                          f"so {wanted:g} threads; workgroup_size says {math.prod(setting.workgroup_size)}")


def mma_shape(kind: str) -> tuple[int, int, int] | None:
    """M, N, K of an instruction's name: MFMA_F32_16x16x16_F16 -> (16, 16, 16)."""
    for part in kind.split(",")[0].split("_"):
        numbers = part.split("x")
        if len(numbers) == 3 and all(number.isdigit() for number in numbers):
            return int(numbers[0]), int(numbers[1]), int(numbers[2])
    return None


def compilation_info(record: TuningRecord) -> str:
    """#iree_codegen.compilation_info<...> of a record."""
    setting, dialect = record.set, family(record.target)
    parts = [f"pipeline = #iree_{dialect}.pipeline<{setting.pipeline}>" if setting.pipeline != "None" else "pipeline = None"]
    if setting.workgroup_size:
        parts.append(f"workgroup_size = {_value(list(setting.workgroup_size))}")
    if setting.subgroup_size is not None:
        parts.append(f"subgroup_size = {setting.subgroup_size}")
    extra = dict(setting.attributes)
    if setting.options:
        extra["gpu_pipeline_options"] = f"#iree_gpu.pipeline_options<{_pairs(setting.options)}>"
    tail = f", {{{_pairs(extra)}}}" if extra else ""
    return (f"#iree_codegen.compilation_info<lowering_config = {lowering_config(setting.lowering_config, dialect)}, "
            f"translation_info = #iree_codegen.translation_info<{' '.join(parts)}{tail}>>")


def decomposition(setting: Setting) -> str:
    """The dictionary of an attention's decomposition_config."""
    inside = (f"{name} = {{lowering_config = {lowering_config(attributes['lowering_config'], 'gpu')}}}"
              for name, attributes in sorted(setting.decomposition.items(), reverse=True))
    return f"{{{', '.join(inside)}}}"


def lowering_config(values: dict[str, Any], dialect: str) -> str:
    """#iree_gpu.lowering_config<{...}> or #iree_cpu.lowering_config<...>."""
    return f"#iree_gpu.lowering_config<{{{_pairs(values)}}}>" if dialect == "gpu" else f"#iree_cpu.lowering_config<{_pairs(values)}>"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(key if value is True and key == "convert_acc_gemm" else f"{_key(key)} = {_value(value, key)}" for key, value in values.items())


def _key(key: str) -> str:
    return key if key.replace("_", "").replace(".", "").isalnum() else f'"{key}"'


def _value(value: Any, key: str = "") -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"{{{_pairs(value)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(one) for one in value)}]"
    if key == "mma_kind" and not str(value).startswith("#"):
        return f"#iree_gpu.{'virtual_' if str(value).startswith('V') else ''}mma_layout<{value}>"
    if isinstance(value, str) and not value.startswith("#"):
        return f'"{value}"'
    return str(value)

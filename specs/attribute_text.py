"""What a record sets, as MLIR attributes of IREE 3.13. Names are checked elsewhere (specs/tiling_check.py)."""

from __future__ import annotations

from typing import Any

from ireeperf.errors import ConfigError
from specs import lowering_keys as keys
from specs.record import Setting


def translation_info(setting: Setting, target: str) -> str:
    """#iree_codegen.translation_info<...>: pipeline, threads, options."""
    if keys.family(target) == "cpu":
        return f"#iree_codegen.translation_info<pipeline = #iree_cpu.pipeline<{setting.pipeline}>>"
    entries = []
    if setting.options:
        entries.append("gpu_pipeline_options = #iree_gpu.pipeline_options<"
                       f"{', '.join(f'{name} = {_option(name, value)}' for name, value in _in_order(setting.options, keys.OPTIONS['gpu']))}>")
    entries += [_attribute(name, value) for name, value in _in_order(setting.attributes, keys.ATTRIBUTES["gpu"])]
    threads = ", ".join(map(str, (*setting.workgroup_size, 1, 1)[:3] if len(setting.workgroup_size) < 3 else setting.workgroup_size))
    extra = f", {{{', '.join(entries)}}}" if entries else ""
    return (f"#iree_codegen.translation_info<pipeline = #iree_gpu.pipeline<{setting.pipeline}> workgroup_size = [{threads}] "
            f"subgroup_size = {setting.subgroup_size}{extra}>")


def lowering_config(config: dict[str, Any], target: str) -> str:
    """#iree_gpu.lowering_config<{...}> or #iree_cpu.lowering_config<...>."""
    family = keys.family(target)
    entries = ", ".join(entry(name, value) for name, value in _in_order(config, keys.KEYS[family]) if value is not False)
    return f"#iree_gpu.lowering_config<{{{entries}}}>" if family == "gpu" else f"#iree_cpu.lowering_config<{entries}>"


def decomposition(parts: dict[str, Any], target: str) -> str:
    """decomposition_config of an attention: the configurations of its two products."""
    entries = [f"{name} = {{lowering_config = {lowering_config(part['lowering_config'], target)}}}"
               for name, part in _in_order(parts, keys.DECOMPOSITION)]
    return f"{{{', '.join(entries)}}}"


def _in_order(values: dict[str, Any], names: tuple[str, ...]) -> list[tuple[str, Any]]:
    return [(name, values[name]) for name in names if name in values]


def entry(name: str, value: Any) -> str:
    """One item of a lowering_config, as the compiler prints it too."""
    if name == "convert_acc_gemm":
        return name
    if name == "mma_kind":
        intrinsic = keys.mma_name(value)
        layout = "virtual_mma_layout" if intrinsic.startswith("V") else "mma_layout"
        major = ", col_major = true" if isinstance(value, dict) and value.get("col_major") else ""
        return f"{name} = #iree_gpu.{layout}<{intrinsic}{major}>"
    if name == "promotion_types":
        return f"{name} = [{', '.join(map(_promotion, value))}]"
    return f"{name} = {_list(value)}"


def _promotion(value: Any) -> str:
    """derived_thread_config, use_global_load_dma, or {copy = one of them, xor_shuffle = [row, access]}."""
    if isinstance(value, str):
        keys.known(value, keys.PROMOTIONS, "promotion type")
        return f"#iree_gpu.{value}"
    if not isinstance(value, dict) or set(value) != {"copy", "xor_shuffle"}:
        raise ConfigError(f"promotion type {value!r}: expected one of {', '.join(keys.PROMOTIONS)}, or a table with copy and xor_shuffle")
    shuffle = ", ".join(map(str, value["xor_shuffle"]))
    return f"#iree_gpu.swizzle_operand<copy_config = {_promotion(value['copy'])}, swizzle = #iree_codegen.xor_shuffle<{shuffle}>>"


def _attribute(name: str, value: Any) -> str:
    if name == "denormal_fp_math_f32":
        return f"iree_codegen.{name} = #iree_codegen.denormal_fp_math<{_quoted(value)}>"
    if name == "shared_memory_padding_bits":
        return f"{keys.PADDING_MARK} = {_list(value)}"
    return f"{name} = {{{', '.join(f'{_quoted(key)} = {_quoted(text)}' for key, text in sorted(value.items()))}}}"


def _option(name: str, value: Any) -> str:
    if name == "reorder_workgroups_strategy":
        keys.known(value, ("None", "Transpose"), name)
        return f"<{value}>"
    wanted = int if name == "prefetch_num_stages" else bool
    if type(value) is not wanted:
        raise ConfigError(f"option {name} is {value!r}; expected {'a whole number' if wanted is int else 'true or false'}")
    return str(value).lower()


def _list(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_list, value))}]"
    if type(value) is not int:
        raise ConfigError(f"{value!r} is no whole number")
    return str(value)


def _quoted(text: Any) -> str:
    if not isinstance(text, str) or '"' in text or "\\" in text:
        raise ConfigError(f"{text!r}: expected plain text")
    return f'"{text}"'

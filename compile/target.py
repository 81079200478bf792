"""Targets: what an executable is compiled for, and which runtime driver runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ireeperf.errors import CompileError, ConfigError
from runtime.partition import PRESETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """What one device of a partitioned GPU has: its compute units, and as its budget its share of memory, bandwidth and peak rates.

    Under NPS1 the memory itself is interleaved over the whole GPU; the share is what a device gets when all of them work.
    """

    sku: str  # what --iree-rocm-target is given: mi325x
    compute_units: int
    memory_bytes: int
    bandwidth_tbps: float  # 10^12 bytes per second
    tflops: dict[str, float] = field(hash=False)  # dense matrix peaks by element type: fp16, fp8, int8, fp32

    @property
    def attribute(self) -> str:
        """The compiler's chip attribute with these figures."""
        rates = ", ".join(f"{name} = {rate:.6e} : f32" for name, rate in sorted(self.tflops.items()))
        return (f'chip = <wgp_count = {self.compute_units}, sku = "{self.sku}", memory_bandwidth_tbps = {self.bandwidth_tbps:.6e} : f32, '
                f"perf_tflops = {{{rates}}}>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One compile target. `backend` is cpu, hip or cuda; `driver` is iree.runtime's name."""

    name: str
    backend: str
    architecture: str  # what the backend's own flag is given
    driver: str
    caveat: str = ""  # printed before compiling
    chip: Chip | None = None  # None: the compiler is told the architecture only


# The attribute as the compiler prints it; it holds no ">" before its end
CHIP = re.compile(r"chip = <[^<>]*>")
# Whole GPUs, dense, from AMD's public product pages (MI325X: 1,307.4 TFLOP/s FP16, 2,614.9 FP8 and INT8, 163.4 FP32, 6 TB/s; MI355X:
# 2,500, 5,000, 5,000, 157.3, 8 TB/s). IREE 3.13's own table says the same but for MI325X's bandwidth, which it has as MI300X's 5.3.
_GPUS = {
    "mi325x": ("gfx942", 6.0, {"fp16": 1307.4, "fp8": 2614.9, "int8": 2614.9, "fp32": 163.4}),
    "mi355x": ("gfx950", 8.0, {"fp16": 2500.0, "fp8": 5000.0, "int8": 5000.0, "fp32": 157.3}),
}


def _partition(name: str) -> Target:
    """The target of a preset of runtime.partition: a GPU's figures divided by its devices."""
    preset, sku = PRESETS[name], name.partition("-")[0]
    architecture, bandwidth_tbps, tflops = _GPUS[sku]
    share = 1 / preset.devices_per_gpu
    chip = Chip(sku=sku, compute_units=preset.compute_units, memory_bytes=preset.memory_bytes, bandwidth_tbps=bandwidth_tbps * share,
                tflops={kind: rate * share for kind, rate in tflops.items()})
    return Target(name=name, backend="hip", architecture=architecture, driver="hip", chip=chip)


def set_chip(text: str, chip: Chip) -> str:
    """MLIR at the end of the preprocessing phase, with the chip of every target set; CompileError when it names none.

    No flag of IREE 3.13 says which partition of a GPU a device is; the attribute is all that the compiler reads.
    """
    changed, count = CHIP.subn(chip.attribute, text)
    if not count:
        raise CompileError(f"the compiler's target states no chip for {chip.sku}; this iree-compile writes it differently from 3.13")
    return changed


# IREE 3.13 has no CUDA target of sm_90 and later ("missing GPU target"). float32 is right to 1.8e-6
_CUDA_CAVEAT = ("IREE 3.13 computes some float16 dispatches wrongly on CUDA: a build with a contraction whose accumulator lies transposed is "
                "refused; tiles of a spec can be wrong too, and need a check of their numbers (docs/CUDA.md)")
TARGETS = {
    t.name: t for t in (
        Target(name="cpu", backend="cpu", architecture="host", driver="local-task"),
        Target(name="cpu-avx2", backend="cpu", architecture="x86-64-v3", driver="local-task"),
        Target(name="cpu-avx512", backend="cpu", architecture="x86-64-v4", driver="local-task"),
        Target(name="gfx942", backend="hip", architecture="gfx942", driver="hip"),
        Target(name="gfx950", backend="hip", architecture="gfx950", driver="hip"),
        # a partition of a product: the compiler is told it, and a run refuses a machine in another mode (runtime/topology.py)
        *(_partition(name) for name in PRESETS),
        Target(name="sm_80", backend="cuda", architecture="sm_80", driver="cuda", caveat=_CUDA_CAVEAT),
        Target(name="sm_89", backend="cuda", architecture="sm_89", driver="cuda", caveat=_CUDA_CAVEAT),
    )
}
# AMD names its specs by product as well as by architecture: attention_and_matmul_spec_gfx942_MI325.mlir
_PRODUCTS = {"mi300": "gfx942", "mi325": "gfx942", "mi350": "gfx950", "mi355": "gfx950"}
_IN_NAME = re.compile(r"(?<![a-z0-9])(gfx\d{3}|sm_\d{2,3}|cpu(?:-avx2|-avx512)?|mi3[0-9]{2})(?=[xa]?(?![a-z0-9]))")
_IN_TEXT = {"hip": re.compile(r"\bV?MFMA_"), "cuda": re.compile(r"\bNV_(?:MMA|WMMA)_"), "cpu": re.compile(r"#iree_cpu\.")}


def find(name: str) -> Target:
    """The target called `name`; ConfigError lists those there are."""
    if name not in TARGETS:
        raise ConfigError(f"target {name!r} is unknown; known are {', '.join(TARGETS)}")
    return TARGETS[name]


def choose(given: str | None, spec: Path | None, configured: str | None) -> Target:
    """The target: as given, else as the spec says, else as the model JSON says. A spec for another one is refused."""
    says = spec_target(spec) if spec else None
    source, name = next(((source, name) for source, name in (("--target", given), ("the spec", says), ("the model JSON", configured))
                         if name), ("", None))
    if name is None:
        raise ConfigError(f"no target: neither the spec nor the model JSON names one; give --target, one of {', '.join(TARGETS)}")
    target = find(name)
    if spec is None:
        return target
    for other_source, other in ((source, name), ("the model JSON", None if given else configured)):
        if says and other and says not in (other, find(other).architecture):
            raise ConfigError(f"{spec.name} is for {says} by its name, {other_source} says {other}; "
                              f"give the spec of {other}, or --target {says}")
    families = [family for family, pattern in _IN_TEXT.items() if pattern.search(_text(spec))]
    if families and target.backend not in families:
        raise ConfigError(f"{spec} sets {' and '.join(families)} instructions, {source} says {target.name}; "
                          f"give a spec of {target.backend}, or a {families[0]} target")
    return target


def spec_target(spec: Path) -> str | None:
    """The target that a spec's file name, or else its folder's, states; None when it states none."""
    for text in (spec.stem, spec.resolve().parent.name):
        names = {_PRODUCTS.get(name, name) for name in _IN_NAME.findall(text.lower())}
        if len(names) > 1:
            raise ConfigError(f"the name of {spec} states several targets: {', '.join(sorted(names))}; rename it")
        if names:
            return names.pop()
    return None


def _text(spec: Path) -> str:
    try:
        return spec.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the spec {spec}: {error}") from error

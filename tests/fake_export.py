"""Stand-ins for precompile's tests: an exporter that writes three small modules, and a checkpoint that only has file names."""

from __future__ import annotations

from pathlib import Path

from compile.cache import ROOT
from compile.precompile import CompileSettings
from export.checkpoint_files import COMPONENTS, WEIGHTS
from export.model_config import ModelConfig
from ireeperf import document

CONFIG = ROOT / "export/configs/sdxl_nano_bs2.json"
MODULE = """module @{name} {{
  func.func @{function}(%x: tensor<{size}xf32>) -> tensor<{size}xf32> {{
    %y = {operation} : tensor<{size}xf32>
    return %y : tensor<{size}xf32>
  }}
}}
"""


class Exporter:
    """Stands in for `python -m export.sdxl`: one function a module; counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.operation = "arith.addf %x, %x"

    def __call__(self, model_json: Path, checkpoint: str, output: Path, modules: list[str], architecture: str) -> None:
        self.asked.append(modules)
        config = document.read(ModelConfig, model_json)
        for module in modules:
            for size in config.batch_sizes[module]:
                (output / f"{module}_bs{size}.mlir").write_text(MODULE.format(
                    name=config.module_names[module], function=config.function_names[module][0], size=4 * size,
                    operation=self.operation if module == "vae" else "arith.mulf %x, %x"))
            if checkpoint != "none":
                (output / f"{module}.irpa").write_bytes(Path(checkpoint, COMPONENTS[module][0], "config.json").read_bytes())


def save_checkpoint(folder: Path) -> Path:
    """Every file a diffusers SDXL folder must have, with a few bytes in each."""
    for component in {name for names in COMPONENTS.values() for name in names}:
        (folder / component).mkdir(parents=True)
        name = "scheduler_config.json" if component == "scheduler" else "config.json"
        (folder / component / name).write_text(f'{{"of": "{component}"}}')
        if component in WEIGHTS:
            (folder / component / f"{WEIGHTS[component]}.safetensors").write_bytes(b"weights of " + component.encode())
    return folder


def settings(tmp_path: Path, folder: Path, **changes: object) -> CompileSettings:
    values = {"model_json": CONFIG, "checkpoint": str(folder), "td_spec": Path("none"), "target": None, "output": tmp_path / "build",
              "jobs": None, "processes_per_partition": 1}
    return CompileSettings(**values | changes)  # type: ignore[arg-type]

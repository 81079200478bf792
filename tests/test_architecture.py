"""docs/ARCHITECTURE.md holds: who may import whom, and what the free-threaded harness never loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = {
    "export.model_config", "compile.manifest", "compile.match_report", "specs.record", "specs.match", "runtime.partition",
    "runtime.service_times", "harness.run_result", "export.checkpoint_files", "export.export_key", "export.precision",
    "export.quantization", "export.decoder_config", "export.decoder_files", "export.model_json",
    "ireeperf.samples", "ireeperf.prompts", "ireeperf.arrays", "ireeperf.bounds", "ireeperf.document", "ireeperf.errors",
}
# the column "may import from other folders"; an entry with a dot is one module
MAY_IMPORT = {
    "ireeperf": set(),
    "export": {"ireeperf"},
    "specs": {"ireeperf"},
    "compile": {"ireeperf", "specs", "runtime.partition", *(name for name in CONTRACTS if name.startswith("export."))},
    "runtime": {"ireeperf", "compile.manifest", "export.model_config", "export.decoder_config"},
    "harness": {"ireeperf", "compile.manifest", "runtime"},
    "eval": {"ireeperf", "compile.manifest", "export.model_config", "harness.run_result"},
}
FOLDERS = tuple(MAY_IMPORT)
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
# table's last column: heavy packages, by import name
HEAVY = {"torch", "transformers", "diffusers", "iree.turbine", "iree.compiler", "iree.runtime", "mlperf_loadgen", "torchmetrics",
         "open_clip", "torchvision", "pytorch_fid", "scipy", "PIL", "safetensors", "gguf"}
MAY_LOAD = {
    "ireeperf": set(),
    "export": {"torch", "transformers", "diffusers", "iree.turbine", "iree.compiler", "safetensors", "torchvision", "gguf"},
    "specs": set(),
    "compile": {"iree.compiler", "iree.runtime"},  # to read MLIR, within functions; to time candidates, in tune_runner.py
    "runtime": {"iree.runtime"},
    "harness": {"mlperf_loadgen", "iree.runtime"},
    "eval": {"torch", "torchvision", "torchmetrics", "open_clip", "pytorch_fid", "scipy", "PIL", "safetensors", "transformers"},
}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that `path` imports, as a dotted name with its line; inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            # `from compile import manifest` imports the module compile.manifest
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def module_of(name: str) -> str:
    """The module that a dotted import reaches: compile.manifest.read -> compile.manifest."""
    parts = name.split(".")
    while parts and not (ROOT / "/".join(parts)).with_suffix(".py").is_file() and not (ROOT / "/".join(parts)).is_dir():
        parts.pop()
    return ".".join(parts)


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_follow_the_table(path):
    folder = path.relative_to(ROOT).parts[0]
    for name, line in imports(path):
        target = name.split(".")[0]
        if target in FOLDERS and target != folder:
            module = module_of(name)
            allowed = MAY_IMPORT[folder]
            assert target in allowed or module in allowed, f"{label(path)}:{line}: {folder} may not import {module}"


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_heavy_packages_stay_in_their_folder(path):
    folder = path.relative_to(ROOT).parts[0]
    for name, line in imports(path):
        for package in HEAVY - MAY_LOAD[folder]:
            assert name != package and not name.startswith(f"{package}."), f"{label(path)}:{line}: {folder} may not import {package}"


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_contract_modules_need_only_the_standard_library_and_numpy(name):
    path = ROOT / (name.replace(".", "/") + ".py")
    for imported, line in imports(path):
        top = imported.split(".")[0]
        ours = top in FOLDERS and module_of(imported) in CONTRACTS | {"ireeperf"}
        assert top in sys.stdlib_module_names or top == "numpy" or ours, f"{label(path)}:{line}: a contract may not import {imported}"


def test_only_one_module_imports_loadgen():
    users = {label(path) for path in MODULES for name, _ in imports(path) if name.split(".")[0] == "mlperf_loadgen"}
    assert users == {"harness/loadgen.py"}


def test_stages_never_import_scripts_or_tests():
    for path in MODULES:
        for name, line in imports(path):
            assert name.split(".")[0] not in ("scripts", "tests"), f"{label(path)}:{line}: {name} is not in the wheel"


@pytest.mark.parametrize("command", [
    "import harness.offline",
    "import runtime.iree_device, runtime.sdxl_loop, runtime.pool, runtime.null_device",
    "import compile.precompile",
    "import " + ", ".join(sorted(CONTRACTS)),
])
def test_torch_is_not_loaded(command):
    """Followed at run time as well: what these import, in turn, must not bring torch in."""
    program = f"import sys; {command}; print(sorted(sys.modules.keys() & {{'torch', 'transformers', 'diffusers', 'iree.turbine'}}))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_no_work_at_import():
    """A stage that is imported prints nothing and starts no thread."""
    program = ("import sys, threading, importlib\n"
               "for name in sys.argv[1:]: importlib.import_module(name)\n"
               "assert threading.active_count() == 1, threading.enumerate()")
    light = [label(path)[:-3].replace("/", ".") for path in MODULES if path.name != "__init__.py" and path.name != "__main__.py"
             and path.relative_to(ROOT).parts[0] in ("ireeperf", "specs", "compile", "runtime", "harness")]
    result = subprocess.run([sys.executable, "-W", "error", "-c", program, *light], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_table_here_is_the_one_in_the_document():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    documented = {folder: allowed.strip() for folder, allowed, _ in rows if folder in FOLDERS}
    assert set(documented) == set(FOLDERS), "a folder is missing from the document's table, or from this test"
    for folder, allowed in documented.items():
        for module in MAY_IMPORT[folder] - {"ireeperf"}:
            owner = module.split(".")[0]
            assert owner in allowed, f"docs/ARCHITECTURE.md does not let {folder} import {module}: {allowed!r}"

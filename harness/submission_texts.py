"""Texts and small JSON files of a tree that follow from the build: what was measured, how, with which code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import ireeperf
from compile.manifest import Manifest
from harness.run_result import SETTINGS
from harness.submission_limits import BENCHMARK, MEASUREMENT_KEYS
from harness.submission_runs import Run, ScenarioRuns
from ireeperf import document
from ireeperf.errors import ConfigError


def measurement(manifest: Manifest, said: Mapping[str, str]) -> dict[str, str]:
    """The five keys of measurements/<...>.json; what the user `said` wins. A quantized build needs the last two said."""
    model = manifest.images
    types = sorted({model.clip_dtype, model.vae_dtype, model.unet_dtype})
    found = {
        "input_data_types": "int64",  # token ids; latents are made from a seed
        "retraining": "no",
        "starting_weights_filename": Path(manifest.checkpoint).name,
    }
    if model.quantization is None:
        found |= {"weight_data_types": ", ".join(types),
                  "weight_transformations": "rounding to float16" if "float16" in types else "none"}
    values = found | dict(said)
    if absent := [key for key in MEASUREMENT_KEYS if not values.get(key)]:
        raise ConfigError(f"the build's UNet is quantized ({model.quantization}), and its manifest does not say how: "
                          "give "
                          f"--measurement {absent[0]}=... (AMD's v5.1: 'fp8, fp16, int8')")
    return {key: values[key] for key in MEASUREMENT_KEYS}


def measurement_readme(runs: ScenarioRuns, implementation: str) -> str:
    """README.md of a measurements folder: the build and the commands of each run."""
    manifest = runs.manifest
    build = f"python compile/precompile.py --model-json {Path(manifest.model_json).name} --target {manifest.target}"
    lines = [f"# {runs.model}, {runs.scenario}: {implementation}", "",
             f"Build (key {manifest.key[:16]}, IREE {manifest.compiler_version}):",
             "", f"    {build}", "", "Runs, each a process of its own:", ""]
    lines += [f"    {command_line(run)}" for _, run in sorted(runs.runs.items())]
    first = runs.runs["performance"].result
    lines += ["", f"{len(first.devices)} devices ({first.devices[0]} and on), batch size {first.batch_size}. The accuracy "
                  "run was scored with",
              "`python -m eval.score`; the code is described in code/."]
    return "\n".join(lines) + "\n"


def command_line(run: Run) -> str:
    """How a run was started, from its settings.json, without the folder that the program lay in."""
    path = run.folder / SETTINGS
    try:
        program, *arguments = json.loads(path.read_text())["command"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} does not say how the run was started ({error}); repeat the run") from error
    return " ".join([f"python -m harness.{Path(program).stem}", *arguments])


def calibration(manifest: Manifest) -> str:
    """documentation/calibration.md of a build that is not quantized; for another the user says how it was (--calibration)."""
    model = manifest.images
    if model.quantization is not None:
        raise ConfigError(f"the build's UNet is quantized ({model.quantization}); say how it was calibrated with "
                          "--calibration FILE.md")
    return ("# Calibration\n\nNothing is quantized: weights and activations are floating point "
            f"(UNet {model.unet_dtype}, CLIP {model.clip_dtype}, VAE {model.vae_dtype}).\nNo calibration data was used.\n")


def code_readme(model: str, implementation: str) -> str:
    """code/<model>/<implementation>/README.md: which source made these results, and where its parts are."""
    return f"""# {implementation}: {model} through IREE

These results were made by ireeperf {ireeperf.__version__}, source commit {source_commit()}.

| part | folder of the source |
|---|---|
| PyTorch modules to MLIR and parameter archives | export/ |
| tuning records and the transform-dialect spec | specs/ |
| compiler command lines and the manifest | compile/ |
| device pool and the SDXL loop | runtime/ |
| LoadGen scenarios, compliance, this tree | harness/ |
| FID and CLIP score | eval/ |

Commands that made each result: measurements/<system>/{model}/<scenario>/README.md. What this tree can no longer show of the
untruncated logs: documentation/evidence/.
"""


def source_commit() -> str:
    """The checkout's commit, marked when files differ from it; why it is not known where there is no checkout or no git."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return "not known (installed from a wheel)"
    try:
        head, changes = (subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True,
                                        check=True).stdout.strip()
                         for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.CalledProcessError) as error:
        return f"not known ({getattr(error, 'stderr', None) or error})"
    return head + (" with uncommitted changes" if changes else "")


def write_json(path: Path, value: object) -> None:
    """Readable JSON, whole or not at all."""
    document.write_text(path, json.dumps(value, indent=2) + "\n")


def model_mapping(model: str) -> dict[str, str]:
    """model_mapping.json of the open division: a name of ours to the benchmark whose limits the checker applies."""
    return {model: BENCHMARK}

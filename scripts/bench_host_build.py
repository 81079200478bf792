"""What a null run needs and no device: a manifest without executables, a few samples, a user.conf, a table of service times."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from compile import manifest as manifests
from compile.manifest import Manifest
from export import model_config
from ireeperf import document
from ireeperf.samples import SampleSet

ROOT = Path(__file__).resolve().parents[1]
MODEL_JSON = ROOT / "export/configs/sdxl_nano_fp32_bs8.json"
SAMPLES = 64
FREE_THREADED = ROOT / ".venv-3.13t/bin/python"


def environment(python: str) -> dict[str, str]:
    """For a program of `python`: without the GIL where it can be, however the modules it loads declare themselves."""
    return dict(os.environ) | ({"PYTHON_GIL": "0"} if python == str(FREE_THREADED) else {})


def write(folder: Path, *, side: int, sizes: tuple[int, ...]) -> Path:
    """A build of square `side`-pixel images at batch sizes `sizes` in `folder`; the sample set lies beside the manifest."""
    config = dataclasses.replace(model_config.read(MODEL_JSON), dims=((side, side),),
                                 batch_sizes={"clip": sizes, "scheduled_unet": sizes, "vae": (1,)})
    rows = np.zeros((SAMPLES, config.max_seq_len), np.int64)
    SampleSet(name="bench", model=config.model, max_seq_len=config.max_seq_len, captions=("",) * SAMPLES,
              prompt_ids_1=rows, prompt_ids_2=rows, negative_ids_1=rows, negative_ids_2=rows,
              latents=np.zeros((1, *config.latent_shape), np.float32)).write(folder / "samples.npz")
    document.write(Manifest(
        key="0" * 16, created_utc="2026-11-24T00:00:00+00:00", model=config, model_json=MODEL_JSON.name, checkpoint="none",
        target="cpu", driver="local-task", compiler_version=metadata.version("iree-base-runtime"), executables=(),
        parameter_archives=(), spec=None, stage_seconds={}), folder / manifests.NAME)
    return folder


def write_conf(path: Path, samples: int) -> Path:
    """A user.conf that asks for exactly `samples`: no minimum duration, so the harness has nothing to add but whole waves."""
    keys = {"target_qps": 1, "min_duration": 0, "min_query_count": samples}
    path.write_text("".join(f"sdxl-nano.Offline.{key} = {value}\n" for key, value in keys.items()))
    return path


def write_times(path: Path, seconds: Mapping[int, float], jitter: float, source: str) -> Path:
    """A service-time table of the null device."""
    lines = ["schema_version = 1", 'device = "null"', 'evidence = "assumed"', f'source = "{source}"', f"jitter = {jitter}", "[seconds]"]
    path.write_text("\n".join([*lines, *(f"{size} = {value}" for size, value in seconds.items())]) + "\n")
    return path


def arguments(build: Path, conf: Path, output: Path, *, batch_size: int) -> list[str]:
    """The command line of harness.offline on `build`, less the devices."""
    return ["--manifest", str(build), "--samples", str(build / "samples.npz"), "--user-conf", str(conf), "--output", str(output),
            "--batch-size", str(batch_size), "--deterministic-batch", "--device", "null"]

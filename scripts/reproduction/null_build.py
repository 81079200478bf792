"""What null devices need to run at MLPerf's counts: a manifest without executables, 5,000 samples, and a picture of each index.

    python -m scripts.reproduction.null_build OUTPUT

Samples are those of sdxl-nano, repeated up to 5,000: 128x128 pictures, since the logs of 1024x1024 would take 31 GB a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from compile import manifest as manifests
from compile.manifest import Manifest
from eval import originals
from export import model_config
from export.samples import make, read_captions
from ireeperf import document
from ireeperf.errors import exit_code
from scripts.reproduction.steps import ROOT

MODEL_JSON, CHECKPOINT = ROOT / "export/configs/sdxl_nano_fp32_bs8.json", ROOT / "models/sdxl-nano"
SAMPLES = 5000  # MLPerf's data set size of stable-diffusion-xl
SIZES = {"clip": (2, 8), "scheduled_unet": (2, 8), "vae": (1,)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts.reproduction.null_build", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    config = dataclasses.replace(model_config.read(MODEL_JSON), loadgen_model="stable-diffusion-xl", batch_sizes=SIZES)
    captions, references, _ = read_captions(CHECKPOINT / "captions.tsv", "caption", None)
    rows = [index % len(captions) for index in range(SAMPLES)]
    samples = make(config, CHECKPOINT, [captions[row] for row in rows], [references[row] for row in rows], f"sdxl-nano-x{SAMPLES}")
    samples.write(output / "samples.npz")
    pictures = originals.read(samples, range(len(captions)))
    np.save(output / "pictures.npy", pictures)
    key = hashlib.sha256(json.dumps(document.to_dict(config), sort_keys=True).encode()).hexdigest()
    document.write(Manifest(
        key=key, created_utc=datetime.now(UTC).isoformat(timespec="seconds"), model=config, model_json=MODEL_JSON.name,
        checkpoint="none", target="cpu", driver="local-task", compiler_version=metadata.version("iree-base-runtime"),
        executables=(), parameter_archives=(), spec=None, stage_seconds={}), output / manifests.NAME)
    print(json.dumps({"manifest": str(output / manifests.NAME), "samples": len(samples), "pictures": list(pictures.shape)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

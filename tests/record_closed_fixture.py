"""Record the eight LoadGen runs of the closed fixture: python -m tests.record_closed_fixture [ARCHIVE]

Real LoadGen at MLPerf's counts and durations (5,000 samples, 600 s, official seeds) with null devices that answer 16x16 tags:
the eight runs go side by side, each a process of its own, and take 16 minutes and a few CPU seconds. The archive holds the run
folders as they were left, less timeline.json and the empty trace, with one change: settings.json says how the program was
started relative to the checkout. tests/closed_fixture.py reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np

from compile import manifest as manifests
from compile.manifest import Manifest
from export.model_config import ModelConfig
from harness import compliance
from harness.run_result import LOADGEN, SETTINGS, TIMELINE
from ireeperf import document
from ireeperf.samples import SampleSet
from tests.mlcommons import FILES

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT / "tests" / "data" / "closed_fixture.tar.xz"
VERDICTS = ARCHIVE.with_name("closed_fixture_verdicts.json")
SIZES, SEQUENCE, SIDE, SAMPLES = (1, 2, 4, 8), 64, 16, 5000
MODES = ("performance", "accuracy", "TEST01", "TEST04")
# 8 devices at batch size 8: 79 waves of 11.5 s are 5,056 samples in 908 s, which the harness plans for a minimum of 600 s
OFFLINE = {1: 1.5, 2: 3.0, 4: 5.8, 8: 11.5}
SERVER = {1: 1.0, 2: 1.2, 4: 1.6, 8: 2.4}  # holds 8 samples/s within 20 s
FAST = dict.fromkeys(SIZES, 0.01)  # accuracy runs have no minimum duration
CONF = "stable-diffusion-xl.Offline.target_qps = 5.5\nstable-diffusion-xl.Server.target_qps = {}\n"


def model() -> ModelConfig:
    """SDXL's keys at 16x16 pixels: an accuracy log of 5,000 images of 1024x1024 would have 31 GB."""
    sizes = {"clip": SIZES, "scheduled_unet": SIZES, "vae": (1,)}
    return ModelConfig(max_seq_len=SEQUENCE, num_latents_channels=4, batch_sizes=sizes, unet_dtype="float16",
                       module_names={name: f"compiled_{name}" for name in sizes}, use_scheduled_unet=True,
                       dims=((SIDE, SIDE),),
                       function_names={"clip": ("encode_prompts",), "scheduled_unet": ("run_initialize", "run_forward"),
                                       "vae": ("decode",)})


def caption(index: int) -> str:
    """The fixture's sample set needs no data set: its pictures are tags."""
    return f"tag of sample {index}"


def write_inputs(folder: Path) -> None:
    """Build, sample set, user.conf and service times in `folder`, where the runs are started."""
    config = model()
    manifest = Manifest(key=hashlib.sha256(b"closed fixture").hexdigest(), created_utc="2026-11-24T00:00:00+00:00",
                        model=config,
                        model_json="fixture.json", checkpoint="none", target="cpu", driver="local-task",
                        compiler_version=metadata.version("iree-base-runtime"), executables=(), parameter_archives=(),
                        spec=None,
                        stage_seconds={})
    document.write(manifest, folder / "build/fixture" / manifests.NAME)
    ids = np.zeros((SAMPLES, SEQUENCE), np.int64)
    SampleSet(name="fixture", model=config.model, max_seq_len=SEQUENCE, captions=tuple(map(caption, range(SAMPLES))),
              prompt_ids_1=ids, prompt_ids_2=ids, negative_ids_1=ids, negative_ids_2=ids,
              latents=np.zeros((1, *config.latent_shape), np.float32)).write(
                  folder / "build/samples" / f"{config.model}-{SEQUENCE}.npz")
    for name, times in (("offline", OFFLINE), ("server", SERVER), ("fast", FAST)):
        rows = "".join(f"{size} = {seconds}\n" for size, seconds in times.items())
        (folder / f"{name}.toml").write_text('schema_version = 1\ndevice = "null"\nevidence = "assumed"\n'
                                             f'source = "tests/record_closed_fixture.py"\n[seconds]\n{rows}')
    for name, rate in (("user", 8), ("accuracy", 400)):  # Server's accuracy run is paced by target_qps: 13 s instead of 10 min
        (folder / f"{name}.conf").write_text(CONF.format(rate))


def start(folder: Path, scenario: str, mode: str) -> subprocess.Popen[bytes]:
    """One run in its own process."""
    fast = mode == "accuracy"
    words = ["--manifest", "build/fixture", "--mode", mode, "--device", "null", "--devices", "8", "--output",
             f"runs/{scenario}-{mode}",
             "--user-conf", "accuracy.conf" if fast else "user.conf", "--service-times",
             "fast.toml" if fast else f"{scenario}.toml"]
    log = (folder / f"{scenario}-{mode}.txt").open("wb")
    return subprocess.Popen([sys.executable, "-m", f"harness.{scenario}", *words], cwd=folder, stdout=log,
                            stderr=subprocess.STDOUT,
                            env=os.environ | {"PYTHONPATH": str(ROOT)})


def pack(folder: Path, archive: Path) -> None:
    """The run folders and the manifest, without what no reader needs."""
    for settings in sorted(folder.glob(f"runs/*/{SETTINGS}")):
        values = json.loads(settings.read_text())
        values["command"][0] = str(Path(values["command"][0]).relative_to(ROOT))
        document.write_text(settings, json.dumps(values, indent=2) + "\n")

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return None if Path(entry.name).name in (TIMELINE, "mlperf_log_trace.json") else entry

    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as file:
        for name in ("build/fixture", *sorted(f"runs/{path.name}" for path in (folder / "runs").iterdir())):
            file.add(folder / name, name, filter=plain)


def judge(folder: Path, mlcommons: Path) -> None:
    """Note what MLCommons' scripts say of the compliance runs in `folder`/runs: closed_fixture_verdicts.json."""
    said = {}
    for scenario in ("offline", "server"):
        logs = {mode: folder / "runs" / f"{scenario}-{mode}" / LOADGEN for mode in MODES}
        for test in ("TEST01", "TEST04"):
            said[f"{scenario}-{test}"] = asdict(compliance.judge(
                mlcommons, test, performance=logs["performance"], run=logs[test],
                accuracy=logs["accuracy"] if test == "TEST01" else None))
    document.write_text(VERDICTS, json.dumps(said, indent=2) + "\n")


def main() -> int:
    archive = Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVE
    if FILES is None:
        print("MLCommons' scripts are needed: see tests/mlcommons.py")
        return 2
    with tempfile.TemporaryDirectory(prefix="ireeperf-fixture-") as name:
        folder = Path(name)
        write_inputs(folder)
        running = {f"{scenario} {mode}": start(folder, scenario, mode) for scenario in ("offline",
                                                                                        "server") for mode in MODES}
        codes = {what: process.wait(timeout=3600) for what, process in running.items()}
        for log in sorted(folder.glob("*.txt")):
            print(f"{log.stem}: {log.read_text().splitlines()[-1]}")
        if any(codes.values()):
            print(f"not recorded, exit codes: {codes}")
            return 1
        judge(folder, FILES)
        pack(folder, archive)
        logs = sum(path.stat().st_size for path in folder.glob(f"runs/*/{LOADGEN}/*"))
    print(json.dumps({"archive": str(archive), "bytes": archive.stat().st_size, "logs_bytes": logs}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

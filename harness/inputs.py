"""Find and check what a run needs before LoadGen starts: build, sample set, user.conf, disk, output folder."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from compile import manifest as manifests
from compile.manifest import Manifest
from harness import user_conf as user_confs
from harness.run_result import COMPLIANCE, Mode, Scenario
from harness.settings import RunSettings
from ireeperf import prompts, samples
from ireeperf.errors import ConfigError, ManifestError, MissingFileError, RunError
from ireeperf.prompts import PromptSet
from ireeperf.samples import SampleSet

CONF = Path(__file__).parent / "conf"
RUNS, BUILDS = Path("runs"), Path("build")
TOKEN_BYTES = 4  # of one token id in the accuracy log, int32
DISK_SLACK_BYTES = 64 * 2**20  # LoadGen's other logs, result and timeline
RECORD_BYTES = 128  # one accuracy record without its data: braces, keys, numbers
REHEARSALS = ("sdxl-nano", "smollm2-135m")  # loadgen_model of the embedded models: their limits are not MLPerf's


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All inputs of a run, read and checked against each other."""

    manifest_path: Path
    manifest: Manifest
    samples_path: Path
    samples: SampleSet | PromptSet
    user_conf: Path
    batch_size: int
    sizes: tuple[int, ...]  # batch sizes that the run may draw, ascending; the last is batch_size
    output: Path

    @property
    def folder(self) -> Path:
        """The build's folder; paths in the manifest are relative to it."""
        return self.manifest_path.parent

    @property
    def prompts(self) -> PromptSet:
        """The samples of a decoder's run; check_fit has seen that they are of the build's kind."""
        assert isinstance(self.samples, PromptSet)
        return self.samples

    @property
    def pictures(self) -> SampleSet:
        """The samples of an image model's run, likewise."""
        assert isinstance(self.samples, SampleSet)
        return self.samples

    @property
    def data_digits(self) -> int:
        """Hexadecimal digits that the accuracy log needs for the answers, two per byte: of images; of tokens one a sample at least."""
        if isinstance(self.samples, PromptSet):
            return len(self.samples) * 2 * TOKEN_BYTES
        return len(self.samples) * 2 * math.prod(self.manifest.images.image_shape)

    @property
    def log_bytes(self) -> int:
        """Estimated size of the accuracy log, at most."""
        longest = self.samples.max_new_tokens if isinstance(self.samples, PromptSet) else 1
        return self.data_digits * longest + len(self.samples) * RECORD_BYTES


def resolve(settings: RunSettings, scenario: Scenario, now: datetime) -> Inputs:
    """Read all inputs; ConfigError, ManifestError, MissingFileError or RunError name what does not fit."""
    audit = Path("audit.config")
    if audit.exists():
        raise RunError(f"{audit.resolve()} would turn this into a compliance run; remove it or run from another folder")
    manifest_path = settings.manifest or newest_build(BUILDS)
    manifest_path = manifest_path / manifests.NAME if manifest_path.is_dir() else manifest_path
    manifest = manifests.read(manifest_path)
    check_kind(manifest, settings.mode, scenario)
    samples_path = settings.samples or default_samples(manifest_path, manifest)
    sample_set: SampleSet | PromptSet = prompts.read(samples_path) if manifest.decodes else samples.read(samples_path)
    if settings.sample_count is not None:
        sample_set = sample_set.head(settings.sample_count)
    check_fit(manifest, sample_set)
    compiled = manifest.decoder.decode_batch_sizes if manifest.decodes else manifest.images.sample_batch_sizes
    batch_size = settings.batch_size or compiled[-1]
    if batch_size not in compiled:
        raise ManifestError(f"--batch-size {batch_size} was not compiled; this build has {list(compiled)}")
    user_conf = settings.user_conf or CONF / f"{manifest.model.loadgen_model}.conf"
    sizes = (batch_size,) if settings.deterministic_batch else tuple(size for size in compiled if size <= batch_size)
    user_confs.check(user_conf, loadgen_key(manifest, scenario), loadgen_scenario(scenario))
    name = f"{now:%Y%m%dT%H%M%SZ}-{scenario.lower()}-{settings.mode}-{manifest.key[:8]}"
    inputs = Inputs(manifest_path=manifest_path, manifest=manifest, samples_path=samples_path, samples=sample_set,
                    user_conf=user_conf, batch_size=batch_size, sizes=sizes, output=settings.output or RUNS / name)
    if settings.mode == "accuracy":
        check_disk(inputs)
    return inputs


def newest_build(builds: Path) -> Path:
    """The manifest under `builds` that was written last."""
    found = sorted(builds.glob(f"*/{manifests.NAME}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise MissingFileError(f"no {builds}/*/{manifests.NAME} in {Path.cwd()}; compile with ./compile/precompile.py, "
                               "or name a build with --manifest")
    return found[-1]


def default_samples(manifest_path: Path, manifest: Manifest) -> Path:
    """Where a build's model has its sample set, or its prompt set: <build>/../samples/<model>-<max_seq_len>.npz."""
    return manifest_path.parent.parent / "samples" / f"{manifest.model.model}-{manifest.model.max_seq_len}.npz"


def loadgen_key(manifest: Manifest, scenario: Scenario) -> str:
    """The model that LoadGen looks up: MLPerf's Interactive is a Server run of a key of its own."""
    return f"{manifest.model.loadgen_model}-interactive" if scenario == "Interactive" else manifest.model.loadgen_model


def loadgen_scenario(scenario: Scenario) -> Literal["Offline", "Server"]:
    """What LoadGen itself knows."""
    return "Offline" if scenario == "Offline" else "Server"


def check_kind(manifest: Manifest, mode: Mode, scenario: Scenario) -> None:
    """ConfigError when a build of this kind has no such run."""
    if manifest.decodes and mode in COMPLIANCE:
        raise ConfigError(f"--mode {mode} judges images, and the build of {manifest.model.model} is a decoder's; give --mode performance or accuracy")
    if scenario == "Interactive" and not manifest.decodes:
        raise ConfigError(f"Interactive is a scenario of language models, and the build of {manifest.model.model} draws images; run harness.server")


def check_fit(manifest: Manifest, sample_set: SampleSet | PromptSet) -> None:
    """ManifestError when the sample set was made for another model, sequence length or latent shape."""
    if isinstance(sample_set, PromptSet):
        decoder = manifest.decoder
        if sample_set.model != decoder.model:
            raise ManifestError(f"prompt set {sample_set.name} has model {sample_set.model}, the build needs {decoder.model}; {prompts.REMEDY}")
        if (needed := sample_set.longest + sample_set.max_new_tokens) > decoder.max_seq_len:
            raise ManifestError(f"prompt set {sample_set.name} needs {needed} tokens for its longest prompt and an answer, the build's cache holds "
                                f"{decoder.max_seq_len} a sequence; compile with a larger max_seq_len")
        return
    model = manifest.images
    for what, found, wanted in (("model", sample_set.model, model.model),
                                ("max_seq_len", sample_set.max_seq_len, model.max_seq_len),
                                ("latent shape", sample_set.latents.shape, (1, *model.latent_shape))):
        if found != wanted:
            raise ManifestError(f"sample set {sample_set.name} has {what} {found}, the build needs {wanted}; "
                                "make it with python -m export.samples for this model JSON")


def check_disk(inputs: Inputs) -> None:
    """RunError when LoadGen's accuracy log would not fit on the disk of the output folder."""
    existing = next(path for path in (inputs.output.absolute(), *inputs.output.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    needed = inputs.log_bytes + DISK_SLACK_BYTES
    if needed > free:
        raise RunError(f"the accuracy log of {len(inputs.samples)} samples needs {needed / 1e9:.2f} GB, {existing} has "
                       f"{free / 1e9:.2f} GB free; free the disk, use --output on another one, or lower --sample-count")


def make_folder(output: Path) -> None:
    """Create the run's folder; ConfigError when it cannot be written or holds something already."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise ConfigError(f"--output {output} is not empty; one folder holds one run, name a new one")
        probe = output / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"cannot write the run folder {output}: {error.strerror}; choose another with --output") from error

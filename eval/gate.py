"""Which gate a sample set has: eval/gates/<name>.json, or MLPerf's own for its 5,000 COCO captions.

Beside a derived gate lies <name>.npz with the statistics of the original pictures (mean, covariance), FID's reference.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ireeperf import bounds
from ireeperf.bounds import SDXL_MLPERF, Gate
from ireeperf.errors import MissingFileError, ScoreError
from ireeperf.samples import SampleSet

GATES = Path(__file__).resolve().parent / "gates"
# captions_source.tsv of mlcommons/inference v5.1.1, text_to_image/coco2014: its 5,000 captions, newline after each
COCO_CAPTIONS_SHA256 = "45bf9edd9799d9673885b0912f9030f8411f321bbdef565427966b8f15535db3"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFile:
    """A gate with where it lies; MLPerf's is built in and has no path."""

    gate: Gate
    path: Path | None

    @property
    def name(self) -> str:
        """As scores.json names it."""
        return "SDXL_MLPERF" if self.path is None else self.path.stem

    @property
    def statistics(self) -> Path | None:
        """Reference statistics of FID beside a derived gate."""
        return None if self.path is None else self.path.with_suffix(".npz")


def read(path: Path, sample_set: SampleSet) -> GateFile:
    """The gate file `path`; ScoreError when it is of other samples."""
    gate = bounds.read(path)
    if gate.sample_set != sample_set.task_digest:
        raise ScoreError(f"gate {path} is of samples {gate.sample_set[:12]}, the run drew {sample_set.task_digest[:12]} "
                         f"({len(sample_set)} samples of {sample_set.name}); leave --gate out to find the right one")
    return GateFile(gate=gate, path=path)


def find(sample_set: SampleSet) -> GateFile | None:
    """The gate of `sample_set`, or None when nobody derived one."""
    if is_coco(sample_set):
        return GateFile(gate=SDXL_MLPERF, path=None)
    digest = sample_set.task_digest
    for path in sorted(GATES.glob("*.json")):
        if (gate := bounds.read(path)).sample_set == digest:
            return GateFile(gate=gate, path=path)
    return None


def is_coco(sample_set: SampleSet) -> bool:
    """Whether these are MLPerf's 5,000 captions in their order, drawn by full-size SDXL."""
    captions = hashlib.sha256("".join(f"{caption}\n" for caption in sample_set.captions).encode()).hexdigest()
    return sample_set.latents.shape == (1, 4, 128, 128) and captions == COCO_CAPTIONS_SHA256


def read_statistics(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(mean [features], covariance [features, features]) of an .npz with keys mu and sigma, as pytorch-fid writes it."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive["mu"].astype(np.float64), archive["sigma"].astype(np.float64)
    except FileNotFoundError:
        raise MissingFileError(f"reference statistics {path} are missing; make them with python -m scripts.derive_gates") from None
    except (OSError, KeyError, ValueError) as error:
        raise ScoreError(f"{path} holds no FID statistics (keys mu and sigma): {error}") from error

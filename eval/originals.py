"""The original pictures of the rehearsal model's captions: models/<model>/pictures.webp, tiles in rows of one sheet.

A sample's reference is the number of its tile (scripts/nano/pictures.py writes the sheet).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from eval.scorer import REPOSITORY
from ireeperf.errors import ScoreError
from ireeperf.samples import SampleSet


def sheet(model: str) -> Path:
    """Where the originals of `model` would lie."""
    return REPOSITORY / "models" / model / "pictures.webp"


def available(sample_set: SampleSet) -> bool:
    """Whether each sample names an original and the sheet is there (COCO's photographs are not ours to ship)."""
    return bool(sample_set.references) and sheet(sample_set.model).is_file()


def read(sample_set: SampleSet, indices: Sequence[int] | None = None) -> np.ndarray:
    """Originals of the samples (or of those at `indices`), [n, H, W, 3] uint8. ScoreError when a tile is not there."""
    side = 8 * sample_set.latents.shape[-1]
    with Image.open(sheet(sample_set.model)) as image:
        pixels = np.asarray(image.convert("RGB"))
    columns, rows = pixels.shape[1] // side, pixels.shape[0] // side
    pictures = []
    for index in range(len(sample_set)) if indices is None else indices:
        reference = sample_set.references[index]
        if not reference.isdigit() or int(reference) >= rows * columns:
            raise ScoreError(f"sample {index} names original {reference!r}; {sheet(sample_set.model)} has {rows * columns} tiles")
        row, column = divmod(int(reference), columns)
        pictures.append(pixels[row * side:(row + 1) * side, column * side:(column + 1) * side])
    return np.stack(pictures)

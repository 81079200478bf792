"""Pictures of the rehearsal model: Noto Emoji vectors drawn at 128x128 on white, kept as tiles of one lossless WebP sheet.

`models/sdxl-nano/pictures.webp` holds tile i = picture of caption id i, row by row, COLUMNS to a row; `read_sheet` cuts it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ireeperf.errors import ConfigError, MissingFileError

SIDE = 128  # pixels
COLUMNS = 42
ICONS = Path("node_modules/@iconify-json/noto/icons.json")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {0} {0}" width="{0}" height="{0}">{1}</svg>'


def render(packages: Path, names: Sequence[str]) -> np.ndarray:
    """Draw icons by name: [N, 128, 128, 3] uint8. MissingFileError when the npm package is not installed there."""
    import resvg_py

    try:
        icons = json.loads((packages / ICONS).read_text(encoding="utf-8"))["icons"]
    except FileNotFoundError:
        raise MissingFileError(f"{packages / ICONS} does not exist; run npm ci with scripts/nano/package.json in {packages}") from None
    pictures = []
    for name in names:
        png = bytes(resvg_py.svg_to_bytes(svg_string=SVG.format(SIDE, icons[name]["body"]), background="white"))
        pictures.append(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))
    return np.stack(pictures)


def thumbnails(pictures: np.ndarray, side: int = 16) -> np.ndarray:
    """Box-filtered copies, [N, side * side * 3] float32 in 0..255: what near-duplicates are found with."""
    step = SIDE // side
    blocks = pictures.reshape(len(pictures), side, step, side, step, 3).astype(np.float32)
    return blocks.mean((2, 4)).reshape(len(pictures), -1)


def write_sheet(path: Path, pictures: np.ndarray) -> None:
    """Write [N, 128, 128, 3] uint8 as one lossless WebP; unused tiles are white."""
    rows = -(-len(pictures) // COLUMNS)
    tiles = np.full((rows * COLUMNS, SIDE, SIDE, 3), 255, np.uint8)
    tiles[: len(pictures)] = pictures
    sheet = tiles.reshape(rows, COLUMNS, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(rows * SIDE, COLUMNS * SIDE, 3)
    Image.fromarray(np.ascontiguousarray(sheet)).save(path, "WEBP", lossless=True, quality=100, method=6)


def read_sheet(path: Path, count: int) -> np.ndarray:
    """The first `count` tiles of a sheet: [count, 128, 128, 3] uint8. ConfigError when it has fewer."""
    try:
        with Image.open(path) as image:
            sheet = np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise MissingFileError(f"{path} does not exist; make it with python -m scripts.nano.captions") from None
    rows = sheet.shape[0] // SIDE
    if sheet.shape[1] != COLUMNS * SIDE or count > rows * COLUMNS:
        raise ConfigError(f"{path}: {sheet.shape[1]}x{sheet.shape[0]} pixels cannot hold {count} tiles in {COLUMNS} columns")
    return sheet.reshape(rows, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3)[:count].copy()

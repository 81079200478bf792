"""The contact sheet of the README: prompt, original, generated and nearest trained picture, trained and held-out apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE, GAP, TEXT, ACROSS = 88, 6, 28, 4  # pixels; entries to a row
INK, FAINT = (20, 20, 20), (110, 110, 110)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One prompt's three pictures, [128, 128, 3] uint8 each."""

    caption: str
    original: np.ndarray
    generated: np.ndarray
    nearest: np.ndarray  # of the trained pictures, to the generated one
    nearest_caption: str


def write_contact_sheet(path: Path, trained: Sequence[Entry], heldout: Sequence[Entry]) -> None:
    """Write a PNG: a title, the trained entries, a title, the held-out entries."""
    across = 3 * TILE + 4 * GAP
    blocks = [("Trained captions: original | generated | nearest trained picture", trained),
              ("Captions held out of all training: original | generated | nearest trained picture", heldout)]
    height = sum(24 + -(-len(entries) // ACROSS) * (TILE + TEXT + GAP) for _, entries in blocks)
    sheet = Image.new("RGB", (ACROSS * across, height + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    top = 0
    for title, entries in blocks:
        pen.text((GAP, top + 6), title, INK, ImageFont.load_default(13))
        top += 24
        for index, entry in enumerate(entries):
            left, row = (index % ACROSS) * across + GAP, top + index // ACROSS * (TILE + TEXT + GAP)
            for place, picture in enumerate((entry.original, entry.generated, entry.nearest)):
                tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS)
                sheet.paste(tile, (left + place * (TILE + GAP // 2), row))
            pen.text((left, row + TILE + 1), _fitted(entry.caption, pen, font, across - 2 * GAP), INK, font)
            same = "itself" if entry.nearest_caption == entry.caption else entry.nearest_caption
            pen.text((left, row + TILE + 13), _fitted(f"nearest: {same}", pen, font, across - 2 * GAP), FAINT, font)
        top += -(-len(entries) // ACROSS) * (TILE + TEXT + GAP)
    sheet.save(path, optimize=True)


def _fitted(text: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """`text`, shortened with an ellipsis until it is at most `width` pixels wide."""
    short = text
    while pen.textlength(short, font) > width:
        short = f"{short[:-2].rstrip('…')}…"
    return short

"""Draw models/sdxl-nano/curve.png from curve.csv: loss over seconds on a logarithmic axis, one panel a stage.

    python -m scripts.nano.curve
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from scripts.nano.captions import MODEL

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 300, 220, 52, 26, 34  # pixels of a panel and its margins
TITLES = {"vae": "autoencoder", "clip": "nano CLIP", "unet": "UNet and text encoders"}
INK, LINE, FAINT = (30, 30, 30), (31, 95, 170), (225, 225, 225)


def read_curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Stage -> (seconds into the stage, mean loss) rows."""
    curves: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            curves.setdefault(row["stage"], []).append((float(row["seconds"]), float(row["loss"])))
    return curves


def draw_panel(pen: ImageDraw.ImageDraw, left: int, title: str, points: Sequence[tuple[float, float]]) -> None:
    """One stage's curve with decade and half-decade lines."""
    font = ImageFont.load_default(11)
    low, high = (math.log10(value) for value in (min(y for _, y in points), max(y for _, y in points)))
    low, high, last = low - 0.05, high + 0.05, points[-1][0]

    def place(seconds: float, loss: float) -> tuple[float, float]:
        across = left + LEFT + (WIDTH - LEFT - 12) * seconds / last
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(loss)) / (high - low)

    pen.text((left + LEFT, 6), title, INK, ImageFont.load_default(13))
    for tick in (factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in (1, 3)):
        if low <= math.log10(tick) <= high:
            pen.line([place(0, tick), place(last, tick)], FAINT)
            pen.text((left + 10, place(0, tick)[1] - 7), f"{tick:g}", INK, font)
    pen.line([place(*point) for point in points], LINE, 2)
    pen.text((left + LEFT, HEIGHT - BOTTOM + 6), "0", INK, font)
    pen.text((left + WIDTH - 66, HEIGHT - BOTTOM + 6), f"{last:.0f} s", INK, font)


def main(argv: Sequence[str] | None = None) -> None:
    """Write curve.png beside curve.csv."""
    parser = argparse.ArgumentParser(prog="scripts.nano.curve", allow_abbrev=False, description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    settings = parser.parse_args(argv)
    curves = read_curve(settings.model / "curve.csv")
    image = Image.new("RGB", (WIDTH * len(curves), HEIGHT), "white")
    for index, (stage, points) in enumerate(curves.items()):
        draw_panel(ImageDraw.Draw(image), index * WIDTH, f"{TITLES[stage]}: loss", points)
    image.quantize(32).save(settings.model / "curve.png", optimize=True)


if __name__ == "__main__":
    main()

"""A sweep as a picture: every measured candidate in the order it was found, and the best so far. SVG without a library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP = 640, 120, 46, 22  # of one panel, pixels


def svg(panels: Sequence[tuple[str, Sequence[float]]]) -> str:
    """One panel a dispatch: its name, and ratios of default over candidate (above 1: faster), in order."""
    body = "".join(_panel(name, ratios, index * (HEIGHT + TOP + 14)) for index, (name, ratios) in enumerate(panels))
    height = max(1, len(panels)) * (HEIGHT + TOP + 14)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 10}" height="{height}" font-family="sans-serif" font-size="11">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n{body}</svg>\n')


def _panel(name: str, ratios: Sequence[float], offset: int) -> str:
    top = offset + TOP
    high = max([1.1, *ratios]) * 1.05
    step = WIDTH / max(len(ratios), 1)

    def place(index: float, ratio: float) -> tuple[float, float]:
        return round(LEFT + (index + 0.5) * step, 1), round(top + HEIGHT * (1 - ratio / high), 1)

    best, line = 0.0, []
    for index, ratio in enumerate(ratios):
        best = max(best, ratio)
        line.append("{},{}".format(*place(index, best)))
    _, even = place(0, 1)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{"#0a7" if ratio > 1 else "#888"}"/>'
                   for index, ratio in enumerate(ratios) for x, y in (place(index, ratio),))
    label = f"{name}: {len(ratios)} measured" + (f", best {max(ratios):.2f} of the default's speed" if ratios else "")
    return (f'<text x="{LEFT}" y="{top - 7}">{escape(label)}</text>\n'
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>\n'
            f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{even}" y2="{even}" stroke="#c33" stroke-dasharray="4 3"/>'
            f'<text x="4" y="{even + 4}">1.0</text><text x="4" y="{top + 10}">{high:.1f}</text>\n'
            f'<polyline points="{" ".join(line)}" fill="none" stroke="#0a7"/>\n{dots}\n')

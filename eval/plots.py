"""Inline SVG for the report: text and colours come from page.css, so the plots follow the reader's light or dark theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from eval.scores import MetricScore
from harness.run_result import BatchEvent

WIDTH = 520  # user units of a half-width plot
WIDE = 1040


def band(score: MetricScore) -> str:
    """A score on its axis, with the gate as a band and the FP32 reference as a dashed line; "" without a bound."""
    bound = score.bound
    if bound is None:
        return ""
    width = bound.upper - bound.lower
    left, right = bound.lower - 0.45 * width, bound.upper + 0.45 * width

    def x(value: float) -> float:
        return 16 + (WIDTH - 32) * (min(max(value, left), right) - left) / (right - left)

    verdict = "goodfill" if score.accepted else "badfill"
    arrow = " →" if score.value > right else "← " if score.value < left else ""
    label = f"{arrow}{score.value:.3f}" if arrow == "← " else f"{score.value:.3f}{arrow}"
    parts = [
        f'<rect class="track" x="16" y="44" width="{WIDTH - 32}" height="20" rx="5"/>',
        f'<rect class="band" x="{x(bound.lower):.1f}" y="44" width="{x(bound.upper) - x(bound.lower):.1f}" height="20"/>',
        f'<line class="guide" x1="{x(bound.reference):.1f}" x2="{x(bound.reference):.1f}" y1="38" y2="70"/>',
        _text(x(bound.lower), 84, f"{bound.lower:.3f}", "middle", "dim"), _text(x(bound.upper), 84, f"{bound.upper:.3f}", "middle", "dim"),
        _text(x(bound.reference), 84, f"FP32 {bound.reference:.3f}", "middle", "dim"),
        f'<circle class="{verdict}" cx="{x(score.value):.1f}" cy="54" r="8"/>',
        _text(min(max(x(score.value), 40), WIDTH - 40), 28, label, "middle", f"{verdict} score")]
    return _svg(WIDTH, 94, parts, f"{score.metric} {score.value:.3f}, bounds {bound.lower:.3f} to {bound.upper:.3f}")


def latency(batches: Sequence[BatchEvent]) -> str:
    """Share of samples completed by a time since the run's clock started: in Offline, each sample's latency."""
    done = sorted((batch.completed_ns / 1e9, batch.samples) for batch in batches)
    total, end = sum(samples for _, samples in done), done[-1][0]
    left, top, right, bottom = 48, 16, WIDTH - 14, 214
    ticks = _ticks(end)
    limit = max(end, ticks[-1])

    def point(seconds: float, share: float) -> str:
        return f"{left + (right - left) * seconds / limit:.1f},{bottom - (bottom - top) * share:.1f}"

    parts, path, seen = _frame(left, top, right, bottom, ticks, limit, "seconds since the query was issued"), [point(0, 0)], 0
    for seconds, samples in done:
        path.append(point(seconds, seen / total))
        seen += samples
        path.append(point(seconds, seen / total))
    parts.append(f'<polyline class="curve" points="{" ".join(path)}"/>')
    for share in (0.5, 0.9, 0.99):
        seconds = percentile(done, share)
        px, py = point(seconds, share).split(",")
        parts.append(f'<circle class="bar" cx="{px}" cy="{py}" r="4"/>')
        parts.append(_text(float(px) - 9, float(py) + 4, f"p{100 * share:.0f} {seconds:.1f} s", "end"))
    return _svg(WIDTH, 258, parts, f"{total} samples completed in {end:.1f} s")


def percentile(done: Sequence[tuple[float, int]], share: float) -> float:
    """Time of the sample at position share x count, as LoadGen has it; `done` is (seconds, samples) ascending."""
    total, seen = sum(samples for _, samples in done), 0
    for seconds, samples in done:
        seen += samples
        if seen > share * total:
            return seconds
    return done[-1][0]


def service_times(batches: Sequence[BatchEvent], bins: int = 24) -> str:
    """Histogram of how long a device took for a batch."""
    times = sorted((batch.completed_ns - batch.started_ns) / 1e6 for batch in batches)
    left, top, right, bottom = 48, 16, WIDTH - 14, 214
    low, high = times[0], times[-1]
    if high - low < 0.02 * high:  # equal times would fill one bin of no width
        low, high = 0.98 * low, 1.02 * high + 1e-9
    unit = 1000.0 if high >= 1000 else 1.0
    counts = [0] * bins
    for value in times:
        counts[min(bins - 1, int(bins * (value - low) / (high - low)))] += 1
    parts = [f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>']
    step = (right - left) / bins
    for index, count in enumerate(counts):
        height = (bottom - top - 14) * count / max(counts)
        if count:
            parts.append(f'<rect class="bar" x="{left + index * step + 1:.1f}" y="{bottom - height:.1f}" width="{step - 2:.1f}" '
                         f'height="{height:.1f}" rx="2"/>')
    parts += [_text(left - 6, bottom - (bottom - top - 14) + 4, str(max(counts)), "end", "dim"), _text(left - 6, bottom, "0", "end", "dim")]
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(_text(left + share * (right - left), bottom + 18, f"{(low + share * (high - low)) / unit:.4g}", anchor, "dim"))
    parts.append(_text((left + right) / 2, bottom + 38, "seconds a batch" if unit > 1 else "milliseconds a batch", "middle", "dim"))
    return _svg(WIDTH, 258, parts, f"{len(times)} batches, median {times[len(times) // 2]:.1f} ms")


def timeline(batches: Sequence[BatchEvent]) -> str:
    """One row per device, a bar while it executes a batch; bars closer than half a unit are drawn as one."""
    devices = list(dict.fromkeys(batch.device for batch in sorted(batches, key=lambda b: b.started_ns)))
    devices.sort(key=lambda uri: (uri.rstrip("0123456789"), int(uri[len(uri.rstrip("0123456789")):] or 0)))
    row = 26 if len(devices) <= 16 else 10
    left, top, right = 132, 8, WIDE - 14
    bottom = top + row * len(devices)
    end = max(batch.completed_ns for batch in batches) / 1e9
    ticks = _ticks(end)
    limit = max(end, ticks[-1])
    scale = (right - left) / limit
    parts = []
    for number, device in enumerate(devices):
        y = top + number * row
        parts.append(f'<rect class="track" x="{left}" y="{y + 2}" width="{right - left}" height="{row - 4}" rx="3"/>')
        if row > 20 or number % 8 == 0:
            parts.append(_text(left - 10, y + row / 2 + 4, device, "end", "dim"))
        for start, stop in _spans([b for b in batches if b.device == device], 0.5 / scale):
            parts.append(f'<rect class="bar" x="{left + scale * start:.2f}" y="{y + 3}" width="{max(0.5, scale * (stop - start) - 0.7):.2f}" '
                         f'height="{row - 6}" rx="1.5"/>')
    for tick in ticks:
        parts.append(_text(left + scale * tick, bottom + 18, f"{tick:g}", "middle", "dim"))
    parts.append(_text((left + right) / 2, bottom + 37, "seconds", "middle", "dim"))
    return _svg(WIDE, bottom + 44, parts, f"{len(devices)} devices, {len(batches)} batches", "wide")


def _spans(batches: Sequence[BatchEvent], gap: float) -> list[tuple[float, float]]:
    """(start, stop) in seconds, ascending; neighbours less than `gap` long or apart are joined, to bound the page's size."""
    spans: list[tuple[float, float]] = []
    for start, stop in sorted((b.started_ns / 1e9, b.completed_ns / 1e9) for b in batches):
        if spans and start - spans[-1][1] < gap and stop - start < 4 * gap:
            spans[-1] = (spans[-1][0], max(stop, spans[-1][1]))
        else:
            spans.append((start, stop))
    return spans


def _ticks(end: float) -> list[float]:
    """Round numbers from 0 to about `end`, four to eight of them."""
    end = max(end, 1e-9)
    step = 10.0 ** math.floor(math.log10(end))
    step = next(step * factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0) if end / (step * factor) <= 8)
    return [round(index * step, 12) for index in range(int(end / step) + 1)]


def _frame(left: float, top: float, right: float, bottom: float, ticks: Sequence[float], limit: float, label: str) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - (bottom - top) * share
        parts += [f'<line class="axis" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>', _text(left - 6, y + 4, f"{100 * share:.0f}%", "end", "dim")]
    parts += [_text(left + (right - left) * tick / limit, bottom + 18, f"{tick:g}", "middle", "dim") for tick in ticks]
    return [*parts, _text((left + right) / 2, bottom + 38, label, "middle", "dim")]


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: int, height: float, parts: Sequence[str], title: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return (f'<svg{kind} viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
            f'{"".join(parts)}</svg>')

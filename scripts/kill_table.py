"""Which test catches which defect: draw with each of scripts.defects, score by FID, CLIP score and the pixel test.

    python -m scripts.kill_table --samples build/samples/sdxl-nano-77.npz       # draws; restartable; hours on two cores
    python -m scripts.kill_table --render                                      # docs/KILL_TABLE.md from the figures

Figures go to docs/kill_table.json after each defect, drawn images to --cache (scripts.derive_gates keeps the reference's there).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval import clip, extractors, fid, originals, pixels, scorer
from eval.extractors import EFFICIENTNET_BLOCK, EfficientNetLite0
from eval.scorer import REPOSITORY
from ireeperf import document, samples
from ireeperf.bounds import Bound
from ireeperf.errors import ConfigError, ScoreError, exit_code
from ireeperf.samples import SampleSet
from scripts import defects, derive_gates, reference
from scripts.defects import Defect
from scripts.derive_gates import CLIP_TOLERANCE, FID_TOLERANCE, SUBSETS, batches
from scripts.reference import Drawn, Variation

FIGURES, TABLE = REPOSITORY / "docs" / "kill_table.json", REPOSITORY / "docs" / "KILL_TABLE.md"
BLOCKS = {2: 24, 4: 40, 7: 80, 10: 112, 14: 192, 15: 320}  # last block of each stage of EfficientNet-Lite0: its channels
PIXEL_ROWS = tuple(range(8)) + tuple(range(10, 50, 5))  # one whole batch of 8, and eight more


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one way to draw: scores on the first N samples, by N."""

    fid: dict[str, dict[str, float]]  # N -> EfficientNet block -> FID
    clip: dict[str, float]
    pixel_worst: float  # of the pixel test's samples: largest mean |difference|, steps of 255
    pixel_bias: float  # mean signed difference over all of them
    repeated: int  # images equal to another caption's


@dataclass(frozen=True, slots=True, kw_only=True)
class KillTable:
    """All figures, the reference's under the name "reference"."""

    schema_version: ClassVar[int] = 1
    model: str
    task_digest: str
    device: str
    samples: int
    rows: dict[str, Figures] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """The command line."""

    samples: Path | None
    checkpoint: Path
    device: str
    count: int | None
    cache: Path
    figures: Path
    only: list[str] | None
    render: bool


class Measure:
    """Scores images of one sample set on several prefixes of it."""

    def __init__(self, sample_set: SampleSet, device: str) -> None:
        chosen = scorer.of_model(sample_set.model)
        files = scorer.locate(chosen)
        self.sample_set = sample_set
        self._clip = extractors.clip_network(chosen, files, device)
        self._network = EfficientNetLite0(files["fid"], device=device)
        self._text = self._clip.text_features(sample_set.captions)
        self._counts = tuple(n for n in SUBSETS if n < len(sample_set)) + (len(sample_set),)
        real = self._levels(originals.read(sample_set))
        # a covariance of no more samples than features is singular
        self._statistics = {n: {block: fid.statistics(real[block][:n]) for block, width in BLOCKS.items() if width < n} for n in self._counts}

    def __call__(self, images: np.ndarray, drawn_reference: np.ndarray) -> Figures:
        """All figures of `images` [N, H, W, 3]."""
        levels = self._levels(images)
        features = np.concatenate([self._clip.image_features(part) for part in batches(images)])
        rows = list(PIXEL_ROWS)
        distance, bias = pixels.differences(images[rows], drawn_reference[rows])
        return Figures(
            fid={str(n): {str(block): _fid(levels[block][:n], *statistics) for block, statistics in self._statistics[n].items()}
                 for n in self._counts},
            clip={str(n): clip.clip_score(features[:n], self._text[:n]) for n in self._counts},
            pixel_worst=float(distance.max()), pixel_bias=bias,
            repeated=pixels.repeated(images, self.sample_set.captions))

    def _levels(self, images: np.ndarray) -> dict[int, np.ndarray]:
        found = [self._network.levels(part, tuple(BLOCKS)) for part in batches(images)]
        return {block: np.concatenate([part[block] for part in found]) for block in BLOCKS}


def _fid(activations: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """FID, or NaN where eval.score would refuse to give one: no bound accepts that either."""
    try:
        return fid.fid(activations, mean, covariance)
    except ScoreError:
        return float("nan")


def measure(settings: TableSettings) -> KillTable:
    """Draw and score every defect that the figures file does not have yet."""
    if settings.samples is None:
        raise ConfigError("--samples is needed to draw; --render alone writes the table from the figures there are")
    sample_set = samples.read(settings.samples)
    count = settings.count or len(sample_set)

    def draw(name: str, variation: Variation) -> Drawn:
        return reference.draw_first(settings.checkpoint, sample_set, count, variation=variation, device=settings.device,
                                    cache=settings.cache / f"{name.replace(' ', '-').replace('%', 'percent')}.npz")

    origin = draw("reference", reference.REFERENCE)
    table = document.read(KillTable, settings.figures) if settings.figures.is_file() else None
    if table is None or (table.task_digest, table.samples) != (sample_set.task_digest, count):
        table = KillTable(model=sample_set.model, task_digest=sample_set.task_digest, device=origin.device, samples=count)
    score = Measure(sample_set.head(count), settings.device)
    if "reference" not in table.rows:
        table.rows["reference"] = score(origin.images, origin.images)
    for defect in defects.DEFECTS:
        if defect.name in table.rows or (settings.only is not None and defect.name not in settings.only):
            continue
        drawn = origin if reference.only_afterwards(defect.variation) else draw(defect.name, defect.variation)
        table.rows[defect.name] = score(defect.variation.images(drawn.images), origin.images)
        document.write(table, settings.figures)
        row = table.rows[defect.name]
        print(f"{defect.name}: {', '.join(judge(table, defect.name, count).caught_by) or 'nothing'}, pixel {row.pixel_worst:.2f}", flush=True)
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What each test says of a defect on the first `samples` samples; drift in percent of the reference."""

    fid: float
    fid_drift: float
    clip: float
    clip_drift: float
    caught_by: tuple[str, ...]


def judge(table: KillTable, name: str, count: int, block: int = EFFICIENTNET_BLOCK) -> Verdict:
    """Compare with the gates that the reference row gives."""
    row, origin = table.rows[name], table.rows["reference"]
    found, expected = row.fid[str(count)][str(block)], origin.fid[str(count)][str(block)]
    caught = []
    if not Bound.around("FID_SCORE", expected, FID_TOLERANCE).accepts(found):
        caught.append("FID")
    if not Bound.around("CLIP_SCORE", origin.clip[str(count)], CLIP_TOLERANCE).accepts(row.clip[str(count)]):
        caught.append("CLIP")
    if row.pixel_worst > pixels.LIMIT or abs(row.pixel_bias) > pixels.BIAS_LIMIT:
        caught.append("pixel")
    if row.repeated > origin.repeated:
        caught.append("repeated")
    return Verdict(fid=found, fid_drift=100 * (found / expected - 1), clip=row.clip[str(count)],
                   clip_drift=100 * (row.clip[str(count)] / origin.clip[str(count)] - 1), caught_by=tuple(caught))


def render(table: KillTable) -> str:
    """docs/KILL_TABLE.md."""
    counts = sorted(map(int, table.rows["reference"].clip))
    full, known = counts[-1], [d for d in defects.DEFECTS if d.name in table.rows]
    harmful, harmless = [d for d in known if not d.harmless], [d for d in known if d.harmless]
    missed = {n: [d.name for d in harmful if not set(judge(table, d.name, n).caught_by) & {"FID", "CLIP"}] for n in counts}
    nothing = [f"{d.name} (largest mean pixel difference {table.rows[d.name].pixel_worst:.3f})" for d in harmful
               if not judge(table, d.name, full).caught_by]
    lines = ["# Kill table: which test catches which defect", "",
             "Made by `python -m scripts.kill_table` from `docs/kill_table.json`; do not edit. Each row is the FP32 reference",
             "(scripts/reference.py) with one deliberate change (scripts/defects.py), drawn with "
             f"{table.model} for {table.samples} captions on {table.device}.", "",
             f"- **FID** (EfficientNet-Lite0 block {EFFICIENTNET_BLOCK}, against the original pictures) and **CLIP** are caught when they",
             "  leave the gate: reference ±2 % and ±0.2 %, as MLPerf sets them.",
             f"- **pixel**: mean |difference| from the reference's uint8 image, worst of {len(PIXEL_ROWS)} fixed samples, above {pixels.LIMIT},",
             f"  or a mean signed difference beyond ±{pixels.BIAS_LIMIT} over all of them. It is a test of FP32 builds (same prompts,",
             "  same latent), not of reduced precision.",
             "- **repeated**: images equal to another caption's, which `eval.score` counts in every run.", ""]
    for count in reversed(counts):
        lines += [f"## First {count} samples", "",
                  f"Reference: FID {judge(table, 'reference', count).fid:.3f}, CLIP {judge(table, 'reference', count).clip:.4f}. "
                  f"FID and CLIP alone miss: {', '.join(missed[count]) or 'nothing'}.", "",
                  "| defect | FID | drift | CLIP | drift | pixel (bias) | repeated | caught by |", "|---|---|---|---|---|---|---|---|"]
        lines += [_row(table, defect, count) for defect in (*harmful, *harmless)]
        lines.append("")
    lines += ["## What this says", "", f"- Nothing catches: {', '.join(nothing) or 'none; every defect is caught by at least one test'}.",
              *_harmless_lines(table, harmless, full), "", *_blocks(table, harmful, harmless, counts)]
    return "\n".join(lines) + "\n"


def _row(table: KillTable, defect: Defect, count: int) -> str:
    verdict, row = judge(table, defect.name, count), table.rows[defect.name]
    name = f"{defect.name} (harmless)" if defect.harmless else defect.name
    return (f"| {name}: {defect.what} | {verdict.fid:.3f} | {verdict.fid_drift:+.2f} % | {verdict.clip:.4f} | {verdict.clip_drift:+.3f} % | "
            f"{row.pixel_worst:.2f} ({row.pixel_bias:+.2f}) | {row.repeated} | {', '.join(verdict.caught_by) or '**nothing**'} |")


def _harmless_lines(table: KillTable, harmless: Sequence[Defect], count: int) -> list[str]:
    lines = []
    for defect in harmless:
        verdict = judge(table, defect.name, count)
        gates = set(verdict.caught_by) & {"FID", "CLIP"}
        lines.append(f"- {defect.name} must pass the gates and {'FAILS ' + ' and '.join(sorted(gates)) if gates else 'does'}: "
                     f"FID {verdict.fid_drift:+.2f} %, CLIP {verdict.clip_drift:+.3f} %.")
    return lines


def _blocks(table: KillTable, harmful: Sequence[Defect], harmless: Sequence[Defect], counts: Sequence[int]) -> list[str]:
    """How many defects FID alone catches with each block, and how far harmless changes move it."""
    lines = ["## Why this FID network", "",
             "FID alone with the pooled output of each stage of EfficientNet-Lite0; a good one catches many defects and stays calm under harmless changes.", "",
             "| block (features) | " + " | ".join(f"caught, N = {n}" for n in counts) + " | largest harmless drift |", "|---" * (len(counts) + 2) + "|"]
    for block, features in BLOCKS.items():
        if features >= max(counts):
            continue  # not measured: too few samples for its covariance
        known = [n for n in counts if features < n]
        caught = {n: f"{sum('FID' in judge(table, d.name, n, block).caught_by for d in harmful)} of {len(harmful)}" for n in known}
        drift = max((abs(judge(table, d.name, n, block).fid_drift) for d in harmless for n in known), default=float("nan"))
        mark = "**" if block == EFFICIENTNET_BLOCK else ""
        lines.append(f"| {mark}{block} ({features}){mark} | " + " | ".join(caught.get(n, "-") for n in counts) + f" | {drift:.2f} % |")
    return lines


def parse(argv: Sequence[str] | None = None) -> TableSettings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts.kill_table", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=Path, help="sample set of all captions, 77 tokens")
    parser.add_argument("--checkpoint", type=Path, default=Path("models/sdxl-nano"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--count", type=int, help="only the first COUNT samples (default all)")
    parser.add_argument("--cache", type=Path, default=derive_gates.CACHE.parent, help="folder of drawn images (default %(default)s)")
    parser.add_argument("--figures", type=Path, default=FIGURES)
    parser.add_argument("--only", action="append", help="draw this defect alone (may be repeated)")
    parser.add_argument("--render", action="store_true", help="draw nothing, write the table")
    return TableSettings(**vars(parser.parse_args(argv)))


def main() -> int:
    """Draw what is missing and write the table beside the figures."""
    settings = parse()
    table = document.read(KillTable, settings.figures) if settings.render else measure(settings)
    output = settings.figures.with_name(TABLE.name)
    document.write_text(output, render(table))
    print(json.dumps({"table": str(output), "defects": len(table.rows) - 1}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

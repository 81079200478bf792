"""A page to look at: python -m eval.report RUN [--performance RUN2]

Writes RUN/report.html, one self-contained file. RUN is a run folder, best an accuracy run that eval.score has scored;
throughput, latency and device timeline come from --performance, when it is given.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from compile import manifest
from compile.manifest import Manifest
from eval import originals, page, run_folder, scores
from eval.page import Picture, ReportData
from eval.scorer import REPOSITORY
from eval.scores import Scores
from harness import run_result
from harness.run_result import SCORE, SETTINGS, RunResult
from ireeperf import document
from ireeperf.errors import ConfigError, PipelineError, exit_code

NAME = "report.html"
SHOWN_SIDE = 512  # pixels: larger pictures are scaled down, ten of 1024x1024 would make a page of 15 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """The command line."""

    run: Path
    performance: Path | None
    output: Path | None


def gather(settings: ReportSettings) -> ReportData:
    """Read everything the page shows; what a run does not have is left out. ConfigError when two runs do not fit."""
    result = run_result.read(settings.run)
    timed, folder = result, settings.run
    if settings.performance is not None:
        timed, folder = run_result.read(settings.performance), settings.performance
        if timed.manifest_key != result.manifest_key:
            raise ConfigError(f"{settings.performance} ran build {timed.manifest_key[:8]}, {settings.run} ran {result.manifest_key[:8]}: "
                              "throughput and accuracy of one page must be of one build")
    if result.decodes or timed.decodes:
        raise ConfigError(f"{settings.run} is a decoder's run, of which there is no page; python -m eval.text_score scores it")
    scored = scores.read(settings.run) if (settings.run / SCORE / scores.NAME).is_file() else None
    return ReportData(
        timed=timed, accuracy=result if result.mode == "accuracy" else None, scores=scored,
        batches=run_result.read_timeline(folder).batches, pictures=pictures(settings.run, result, scored),
        manifest=read_manifest(timed), settings=_settings(folder), made_utc=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def pictures(run: Path, result: RunResult, scored: Scores | None) -> list[Picture]:
    """The pictures that eval.score kept, with caption and original where the repository has it."""
    if scored is None:
        return []
    sample_set = run_folder.read_samples(result)
    indices = sorted(int(path.stem) for path in (run / SCORE / "images").glob("*.png"))
    drawn = originals.read(sample_set, indices) if originals.available(sample_set) else [None] * len(indices)
    return [Picture(index=index, caption=sample_set.captions[index],
                    generated=data_uri(Image.open(run / SCORE / "images" / f"{index}.png")),
                    original=None if original is None else data_uri(Image.fromarray(original)))
            for index, original in zip(indices, drawn, strict=True)]


def data_uri(image: Image.Image) -> str:
    """The picture inline: lossless PNG when small, otherwise scaled to SHOWN_SIDE as WebP."""
    buffer, kind = io.BytesIO(), "png"
    if max(image.size) > SHOWN_SIDE:
        image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
        kind = "webp"
    image.save(buffer, kind.upper(), quality=88)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def read_manifest(result: RunResult) -> Manifest | None:
    """The build's manifest, or None when it has gone or is another build now: the page then shows the key alone."""
    for path in (Path(result.manifest), REPOSITORY / result.manifest):
        try:
            found = manifest.read(path)
        except PipelineError:
            continue
        if found.key == result.manifest_key:
            return found
    return None


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    return json.loads(path.read_text()) if path.is_file() else {}


def parse(argv: Sequence[str] | None = None) -> ReportSettings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m eval.report", allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder, best an accuracy run that was scored")
    parser.add_argument("--performance", type=Path, help="performance run of the same build")
    parser.add_argument("--output", type=Path, help=f"page to write (default RUN/{NAME})")
    return ReportSettings(**vars(parser.parse_args(argv)))


def main() -> int:
    """Write the page; 0."""
    settings = parse()
    print(f"eval.report: {json.dumps(document.to_dict(settings))}")
    output = settings.output or settings.run / NAME
    document.write_text(output, page.render(gather(settings)))
    print(json.dumps({"report": str(output), "bytes": output.stat().st_size}))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))

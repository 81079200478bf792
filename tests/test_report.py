"""eval.report: python -m pytest tests/test_report.py"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from eval import page, plots, report, scores
from eval.report import ReportSettings
from eval.scores import MetricScore, Scores
from harness.run_result import BatchEvent
from ireeperf import document
from ireeperf.bounds import Bound
from ireeperf.errors import ConfigError
from tests import scorable_run

VOID = {"meta", "img", "br", "link", "input"}


class Structure(HTMLParser):
    """Checks that tags nest, and collects what the page refers to."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def run(tmp_path: Path) -> Path:
    samples = scorable_run.sample_set(12, references=True)
    folder = scorable_run.write_run(tmp_path, scorable_run.images(12), samples)
    (folder / "score" / "images").mkdir(parents=True)
    for index in (0, 5):
        Image.fromarray(scorable_run.images(12)[index]).save(folder / "score" / "images" / f"{index}.png")
    bounds = (Bound.around("FID_SCORE", 40.0, 0.02), Bound.around("CLIP_SCORE", 30.0, 0.002))
    document.write(Scores(
        run="run", model="sdxl-nano", samples=12, task_digest=samples.task_digest, gate="test", accuracy_pass=False,
        scores=(MetricScore.against("FID_SCORE", 40.5, bounds[0]), MetricScore.against("CLIP_SCORE", 31.0, bounds[1])),
        clip_network="clip <nano>", fid_network="efficientnet", fid_reference="originals", digests={"clip": "sha256:00"},
        log_sha256="ab" * 32, duplicates=0, repeated=3, seconds=1.0, versions={"torch": "2.13.0"}), folder / "score" / scores.NAME)
    return folder


def render(run: Path, **changes: Path) -> Structure:
    values: dict[str, Path | None] = {"run": run, "performance": None, "output": None}
    parser = Structure()
    parser.feed(page.render(report.gather(ReportSettings(**(values | changes)))))  # type: ignore[arg-type]
    assert parser.open == []
    return parser


def test_page_is_self_contained_and_says_what_it_is(run: Path) -> None:
    found = render(run)
    assert len(found.sources) == 4  # two samples, generated and original
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    for text in ("Rehearsal model", "Never run on AMD Instinct", "40.500", "31.000", "accuracy OUTSIDE the gate", "[39.200, 40.800]", "clip <nano>",
                 "local-task://0", "picture 5", "LoadGen, 12 samples", "ab" * 32, "GIL on", "3 images equal another caption"):
        assert text in found.text


def test_a_performance_run_alone_is_a_page(run: Path, tmp_path: Path) -> None:
    other = scorable_run.write_run(tmp_path / "p", scorable_run.images(2), scorable_run.sample_set(2), mode="performance")
    assert "accuracy not scored" in render(other).text
    assert "from run and run" in render(run, performance=other).text


def test_null_devices_are_named(tmp_path: Path) -> None:
    null = scorable_run.write_run(tmp_path, scorable_run.images(2), scorable_run.sample_set(2), devices=("null://0",))
    assert "no device computed anything" in render(null).text


def test_performance_of_another_build_is_refused(run: Path, tmp_path: Path) -> None:
    other = scorable_run.write_run(tmp_path / "p", scorable_run.images(2), scorable_run.sample_set(2), mode="performance",
                                   manifest_key="1" * 64)
    with pytest.raises(ConfigError, match="must be of one build"):
        render(run, performance=other)


def events(count: int, devices: int) -> list[BatchEvent]:
    return [BatchEvent(device=f"hip://{i % devices}", first_sample=i, samples=8, size=8, submitted_ns=0, started_ns=(i // devices) * 10**9,
                       completed_ns=(i // devices + 1) * 10**9) for i in range(count)]


@pytest.mark.parametrize("plot", [plots.latency, plots.service_times, plots.timeline])
@pytest.mark.parametrize("count, devices", [(1, 1), (7, 2), (640, 64)])
def test_plots_are_svg_inside_their_frame(plot, count: int, devices: int) -> None:  # type: ignore[no-untyped-def]
    root = ElementTree.fromstring(plot(events(count, devices)))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for element in root.iter():
        x, y = float(element.get("x", element.get("cx", 0))), float(element.get("y", element.get("cy", 0)))
        assert 0 <= x <= width and 0 <= y <= height
        assert x + float(element.get("width", 0)) <= width


def test_a_long_run_does_not_make_a_long_page() -> None:
    fast = [BatchEvent(device="null://0", first_sample=i, samples=8, size=8, submitted_ns=0, started_ns=i * 10**6, completed_ns=(i + 1) * 10**6)
            for i in range(100_000)]
    assert len(plots.timeline(fast)) < 400_000


@pytest.mark.parametrize("value, x", [(39.2, "left edge"), (40.0, "reference"), (99.0, "clamped")])
def test_band_shows_where_the_score_lies(value: float, x: str) -> None:
    score = MetricScore.against("FID_SCORE", value, Bound.around("FID_SCORE", 40.0, 0.02))
    root = ElementTree.fromstring(plots.band(score))
    bar = next(e for e in root if e.get("class") == "band")
    circle = next(e for e in root if e.tag == "circle")
    low, wide, at = float(bar.attrib["x"]), float(bar.attrib["width"]), float(circle.attrib["cx"])
    expected = {"left edge": low, "reference": low + wide / 2, "clamped": plots.WIDTH - 16}[x]
    assert at == pytest.approx(expected, abs=0.2)
    assert circle.attrib["class"] == ("goodfill" if score.accepted else "badfill")


def test_percentiles_count_samples_not_batches() -> None:
    assert plots.percentile([(1.0, 8), (2.0, 1), (3.0, 1)], 0.5) == 1.0
    assert plots.percentile([(1.0, 16), (2.0, 16)], 0.5) == 2.0  # LoadGen 5.1.1 says so of such a run
    assert plots.percentile([(1.0, 8), (2.0, 1), (3.0, 1)], 0.99) == 3.0


def test_large_pictures_are_scaled_down() -> None:
    uri = report.data_uri(Image.fromarray(np.zeros((1024, 1024, 3), np.uint8)))
    assert uri.startswith("data:image/webp") and len(uri) < 10_000


def test_style_names_no_address() -> None:
    assert not re.search(r"https?://|url\(", page.STYLE.read_text())

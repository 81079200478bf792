"""The report's HTML: one self-contained page (inline style, SVG and pictures, no script), made from what ReportData holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from compile.manifest import Manifest
from eval import plots
from eval.scores import MetricScore, Scores
from harness.run_result import BatchEvent, RunResult

STYLE = Path(__file__).resolve().parent / "page.css"
TITLES = {"FID_SCORE": ("FID", "lower is closer to the originals"), "CLIP_SCORE": ("CLIP score", "higher fits the caption better")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One card of the contact sheet; pictures are data URIs."""

    index: int
    caption: str
    generated: str
    original: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything on the page."""

    timed: RunResult  # the run whose throughput is shown: performance if there is one
    accuracy: RunResult | None
    scores: Scores | None
    batches: Sequence[BatchEvent]  # of `timed`
    pictures: Sequence[Picture]
    manifest: Manifest | None
    settings: dict[str, Any]  # settings.json of `timed`
    made_utc: str


def render(data: ReportData) -> str:
    """The whole page."""
    title = f"{data.timed.model}: {data.timed.scenario} on {_devices(data.timed)}"
    body = [_header(data, title), _notice(data), _tiles(data), _scores(data), _loadgen(data), _plots(data), _sheet(data), _details(data),
            f"<footer>Made by ireeperf on {escape(data.made_utc)} from {escape(' and '.join(run.run for run in _runs(data)))}.</footer>"]
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(title)}</title><style>{STYLE.read_text()}</style></head>\n<body><main>\n" + "\n".join(filter(None, body))
            + "\n</main></body></html>\n")


def _header(data: ReportData, title: str) -> str:
    run = data.timed
    badges = [_badge(f"LoadGen {run.scenario} {run.mode}: {run.status.upper()}", run.status == "valid")]
    if data.scores is None:
        badges.append(_badge("accuracy not scored", None))
    elif data.scores.accuracy_pass is None:
        badges.append(_badge("no accuracy gate for these samples", None))
    else:
        badges.append(_badge(f"accuracy {'inside' if data.scores.accuracy_pass else 'OUTSIDE'} the gate", data.scores.accuracy_pass))
    cause = f'<p class="bad">{escape(run.cause)}</p>' if run.cause else ""
    return (f'<header><h1>{escape(title)}</h1><p class="sub">{escape(_conditions(run))}</p>'
            f'<div class="badges">{"".join(badges)}</div>{cause}</header>')


def _notice(data: ReportData) -> str:
    run, lines = data.timed, []
    if run.is_null:
        lines.append("<strong>Null devices.</strong> Times on this page were assumed, not measured: no device computed anything.")
    if run.model.startswith("sdxl-nano"):
        lines.append("<strong>Rehearsal model.</strong> sdxl-nano has SDXL's architecture at 128×128 pixels; it is not an MLPerf benchmark, "
                     "and its figures cannot be compared with SDXL's.")
    if not any(uri.startswith("hip:") for uri in run.devices):
        lines.append("<strong>Never run on AMD Instinct.</strong> Every time here was taken on the devices named above.")
    return f'<div class="notice">{"".join(f"<p>{line}</p>" for line in lines)}</div>' if lines else ""


def _tiles(data: ReportData) -> str:
    run, tiles = data.timed, []
    rate = run.loadgen.get("result_samples_per_second")
    if rate is not None:
        tiles.append(_tile("Throughput", f"{float(rate):.3g}", "samples/s", f"LoadGen, {run.samples_completed} samples in {run.timing.wall:.1f} s"))
    elif run.timing.wall > 0:
        tiles.append(_tile("Throughput", f"{run.samples_completed / run.timing.wall:.3g}", "samples/s",
                           "accuracy run: samples over wall time, not a LoadGen result"))
    for score in data.scores.scores if data.scores else ():
        tiles.append(_tile(TITLES[score.metric][0], f"{score.value:.3f}", "", _judgement(score)))
    if run.plan is not None and run.plan.achieved_efficiency is not None:
        tiles.append(_tile("Devices busy", f"{100 * run.plan.achieved_efficiency:.1f}", "%",
                           f"{run.plan.waves} waves of {len(run.devices)} × {run.batch_size}, {run.plan.padded} rows padded"))
    if run.timing.wall > 0:
        tiles.append(_tile("Host cost", f"{100 * run.timing.host / run.timing.wall:.2f}", "% of a core",
                           f"{run.timing.host:.2f} CPU seconds outside executables"))
    return f'<section class="tiles">{"".join(tiles)}</section>'


def _judgement(score: MetricScore) -> str:
    if score.bound is None:
        return "no bound"
    used = (score.value - score.bound.reference) / (score.bound.reference * score.bound.tolerance)
    verdict = "inside" if score.accepted else "outside"
    share = f"{abs(used):.0%} of what may be {'above' if used >= 0 else 'below'} the reference"
    return f"{verdict} [{score.bound.lower:.3f}, {score.bound.upper:.3f}]: {share}"


def _scores(data: ReportData) -> str:
    if data.scores is None:
        return ""
    scores, panels = data.scores, []
    for score in scores.scores:
        name, meaning = TITLES[score.metric]
        plot = plots.band(score) or f'<p><strong>{score.value:.3f}</strong> <span class="dim">no bound</span></p>'
        panels.append(f'<div class="panel"><h3>{name} <span class="dim">· {meaning}</span></h3>{plot}</div>')
    gate = f"gate {scores.gate}" if scores.gate else "no gate is known for these samples"
    stuck = f'<p class="bad">{scores.repeated} images equal another caption’s: is a buffer stuck?</p>' if scores.repeated else ""
    note = (f"{scores.samples} samples, {gate}. A score above the upper bound fails, and one below the lower bound too. FID: {scores.fid_network} against "
            f"{scores.fid_reference}. CLIP: {scores.clip_network}.")
    return f'<section><h2>Accuracy</h2><div class="panels">{"".join(panels)}</div>{stuck}<p class="note">{escape(note)}</p></section>'


def _loadgen(data: ReportData) -> str:
    panels = []
    for run in _runs(data):
        rows = [("status", f"{run.status}{': ' + run.cause if run.cause else ''}"), ("samples", f"{run.samples_completed} of {run.samples_issued} completed"),
                ("wall, CPU", f"{run.timing.wall:.2f} s, {run.timing.cpu:.2f} s")]
        rows += [(_spoken(key), _value(key, run.loadgen[key])) for key in _in_order(run.loadgen)]
        panels.append(f'<div class="panel"><h3>{escape(run.scenario)}, {escape(run.mode)}</h3>{_table(rows)}</div>')
    return f'<section><h2>LoadGen result</h2><div class="panels">{"".join(panels)}</div></section>'


def _plots(data: ReportData) -> str:
    if not data.batches:
        return ""
    return ('<section><h2>Latency and devices</h2><div class="panels">'
            f'<div class="panel"><h3>Samples completed <span class="dim">· {data.timed.mode} run</span></h3>{plots.latency(data.batches)}</div>'
            f'<div class="panel"><h3>Time a batch takes <span class="dim">· {len(data.batches)} batches of {data.timed.batch_size}</span></h3>'
            f'{plots.service_times(data.batches)}</div></div>'
            f'<div class="panel" style="margin-top:14px"><h3>Device timeline</h3><div class="scroll">{plots.timeline(data.batches)}</div></div></section>')


def _sheet(data: ReportData) -> str:
    if not data.pictures:
        return ""
    cards = []
    for picture in data.pictures:
        figures = [_figure(picture.generated, "generated", picture.caption)]
        if picture.original:
            figures.append(_figure(picture.original, "original", f"original: {picture.caption}"))
        cards.append(f'<div class="card"><div class="pair">{"".join(figures)}</div><p>{escape(picture.caption)} '
                     f'<span class="dim">· {picture.index}</span></p></div>')
    return (f'<section><h2>Contact sheet</h2><div class="sheet">{"".join(cards)}</div>'
            '<p class="note">Samples chosen by index before the run, not by look.</p></section>')


def _details(data: ReportData) -> str:
    parts = [_fold("Settings", _flat(data.settings.get("settings", {})) + [("command", " ".join(data.settings.get("command", [])))])]
    machine = list(data.timed.host.items()) + list(data.timed.versions.items())
    machine.append(("interpreter", _interpreter(data.timed)))
    parts.append(_fold("Machine and versions", machine))
    if data.manifest is not None:
        build = data.manifest
        rows = [("key", build.key), ("target", build.target), ("driver", build.driver), ("compiler", build.compiler_version), ("model JSON", build.model_json),
                ("checkpoint", build.checkpoint), ("spec", f"{build.spec.path} {build.spec.sha256}" if build.spec else "none")]
        rows += [(f"{e.module} batch {e.batch_size}", f"{e.path} sha256 {e.sha256}") for e in build.executables]
        rows += [(f"{a.module} weights", f"{a.path} sha256 {a.sha256}, {a.bytes / 1e6:.1f} MB") for a in build.parameter_archives]
        parts.append(_fold("Build", rows))
    digests = [("build", data.timed.manifest_key), ("sample set", data.timed.sample_set_digest)]
    if data.scores is not None:
        digests += [("samples' task", data.scores.task_digest), ("accuracy log", f"sha256:{data.scores.log_sha256}"), *data.scores.digests.items()]
        digests += [(f"scored with {name}", version) for name, version in data.scores.versions.items()]
    parts.append(_fold("Digests and scoring versions", digests))
    return f'<section><h2>Settings, versions, digests</h2>{"".join(parts)}</section>'


def _runs(data: ReportData) -> list[RunResult]:
    return [data.timed] + ([data.accuracy] if data.accuracy and data.accuracy is not data.timed else [])


def _conditions(run: RunResult) -> str:
    gil = "GIL on" if run.interpreter.gil_enabled else "GIL off"
    return (f"{run.host.get('cpu', 'unknown processor')}, {run.host.get('cores', '?')} cores · batch size {run.batch_size} · "
            f"Python {run.interpreter.version} ({gil}) · {run.started_utc}")


def _interpreter(run: RunResult) -> str:
    return (f"Python {run.interpreter.version}, {'free-threaded' if run.interpreter.free_threaded else 'ordinary'} build, "
            f"GIL {'on' if run.interpreter.gil_enabled else 'off'}")


def _devices(run: RunResult) -> str:
    kinds = list(dict.fromkeys(uri.partition(":")[0] for uri in run.devices))
    return f"{len(run.devices)} {' and '.join(kinds)} device{'s' if len(run.devices) != 1 else ''}"


def _badge(text: str, good: bool | None) -> str:
    return f'<span class="badge {"dim" if good is None else "good" if good else "bad"}">{escape(text)}</span>'


def _tile(name: str, figure: str, unit: str, why: str) -> str:
    return (f'<div class="tile"><div class="name">{escape(name)}</div><div class="figure">{escape(figure)} <span class="unit">{escape(unit)}</span></div>'
            f'<div class="why">{escape(why)}</div></div>')


def _figure(source: str, label: str, alternative: str) -> str:
    return f'<figure><img src="{source}" alt="{escape(alternative)}"><figcaption>{label}</figcaption></figure>'


def _fold(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    return f"<details><summary>{escape(title)}</summary>{_table(rows, 'mono')}</details>"


def _table(rows: Iterable[tuple[str, Any]], style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return "<table>" + "".join(f"<tr><th>{escape(str(key))}</th><td{kind}>{escape(str(value))}</td></tr>" for key, value in rows) + "</table>"


def _in_order(loadgen: dict[str, Any]) -> list[str]:
    """LoadGen's result keys: the verdict and the rate first, then latencies from the smallest, then the rest."""
    first = ("result_validity", "result_samples_per_second", "result_min_latency_ns", "result_mean_latency_ns")
    latencies = sorted(key for key in loadgen if "percentile_latency" in key)
    last = sorted(key for key in loadgen if key.startswith(("result_", "early_stopping")) or key in ("errors", "num_errors"))
    return [key for key in dict.fromkeys((*first, *latencies, "result_max_latency_ns", *last)) if key in loadgen]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in _flat(inner, f"{prefix}{key}.")]
    return [(prefix.removesuffix("."), "default" if value is None else value)]


def _spoken(key: str) -> str:
    return key.removeprefix("result_").removesuffix("_ns").replace("_", " ")


def _value(key: str, value: Any) -> str:
    if key.endswith("_latency_ns"):
        return f"{float(value) / 1e9:.3f} s"
    if isinstance(value, float):
        return f"{value:.5g}"
    return "none" if value == [] else str(value)

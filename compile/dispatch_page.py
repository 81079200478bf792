"""The match report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from compile.dispatch_table import COLUMNS, cells
from compile.match_report import DispatchMatch, MatchReport

_STYLE = """:root { color-scheme: light dark; } body { margin: 24px; font: 14px/1.5 system-ui, sans-serif; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: 3px 10px; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr { border-top: 1px solid #8884; } details { max-width: 90ch; }
summary { cursor: pointer; } pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px; text-align: left; } .bad { color: #c33; }
.scroll { overflow-x: auto; }"""


def render(report: MatchReport, ordered: Sequence[tuple[DispatchMatch, float, int]], summary: Sequence[str], changed: Sequence[str]) -> str:
    """The page: summary, every dispatch with its configuration, and what differs from another build."""
    rows = "\n".join(_row(one, cells(one, share, runs)) for one, share, runs in ordered)
    against = f"<h2>Against the other build</h2><pre>{escape(chr(10).join(changed))}</pre>" if changed else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Dispatches, {escape(report.target)}</title><style>{_STYLE}</style></head><body>
<h1>Dispatches for {escape(report.target)}</h1>
<p>Build {escape(report.manifest_key[:12])}. Figures are read off the compiler's output; nothing here was timed.</p>
<pre>{escape(chr(10).join(summary))}</pre>
<div class="scroll"><table><tr>{"".join(f"<th>{escape(name)}</th>" for name in COLUMNS)}</tr>
{rows}
</table></div>{against}</body></html>
"""


def _row(one: DispatchMatch, values: Sequence[str]) -> str:
    spills = one.static is not None and bool(one.static.vgpr_spills or one.static.sgpr_spills)
    name = f"<details><summary>{escape(values[0])}</summary><pre>{escape(one.dispatch)}\n{escape(one.configuration)}</pre></details>"
    return f"<tr{' class=bad' if spills else ''}><td>{name}</td>" + "".join(f"<td>{escape(value)}</td>" for value in values[1:]) + "</tr>"

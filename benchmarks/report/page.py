"""The report as one HTML file: charts as inline SVG, no scripts, nothing from elsewhere."""

from __future__ import annotations

from html import escape

from benchmarks.report import numbers, table
from benchmarks.results import Report, Row, metric
from benchmarks.targets import SUBJECT, verdicts

_STYLE = """
:root { color-scheme: light dark; --ours: #1a7f5a; --peer: #8a94a6; --line: #d5d9e0;
  --bad: #b3261e; --text: #1c2430; --paper: #fff }
@media (prefers-color-scheme: dark) { :root { --ours: #3fbf8f; --peer: #6b7688; --line: #333b48;
  --bad: #ff8a80; --text: #e4e8ef; --paper: #14181f } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.05rem; margin: 2rem 0 .2rem }
p { margin: .2rem 0 } .about, header p { opacity: .75 }
svg { width: 100%; height: auto; display: block; margin: .4rem 0 }
text { fill: var(--text); font: 13px system-ui, sans-serif }
.ours { fill: var(--ours) } .peer { fill: var(--peer) }
.whisker { stroke: var(--text); stroke-width: 1.5 }
table { border-collapse: collapse; font-size: 13px; width: 100% }
th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left }
.missed { color: var(--bad) }
"""
_WIDTH = 900
_BAR_HEIGHT = 26
_LABEL_WIDTH = 150
_VALUE_WIDTH = 130
_COLUMNS = ("server", "value", "p50 / p90 / p99", "server's CPU", "peak", "ratio", "CPU ×")


def render(report: Report) -> str:
    """The whole document."""
    machine = report.machine
    lines = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>dtrfast, {escape(report.began)}</title><style>{_STYLE}</style>",
        f"<header><h1>dtrfast {escape(report.commit)}</h1>",
        f"<p>{escape(report.began)}; {machine.cores} × {escape(machine.processor)},"
        f" {machine.memory_bytes / 1e9:.0f} GB, {escape(machine.system)},"
        f" Linux {escape(machine.kernel)}, Python {escape(machine.python)},"
        f" {escape(machine.memory_file_system)} and {escape(machine.disk_file_system)}</p>",
        f"<p>{escape(', '.join(report.servers.values()))}</p>",
        "<p>Bars are medians of the turns, lines their extremes.</p></header>",
        *(_row(row) for row in report.rows),
    ]
    return "\n".join(lines) + "\n"


def _row(row: Row) -> str:
    parts = [
        f"<section><h2>{escape(row.name)}</h2><p class=about>{escape(row.about)}</p>",
        _chart(row),
        _table(row),
    ]
    for server, outcome in row.outcomes.items():
        if found := table.figures(row, server):
            parts.append(f"<p>{escape(server)}: {escape(', '.join(found))}</p>")
        if said := table.complaint(outcome):
            parts.append(f"<p class=missed>{escape(server)}: {escape(said)}</p>")
    for verdict in verdicts(row):
        mark = "" if verdict.is_reached else " class=missed"
        parts.append(f"<p{mark}>{escape(table.verdict_text(verdict))}</p>")
    return "".join(parts) + "</section>"


def _chart(row: Row) -> str:
    """A bar for each server that has figures."""
    bars = [(server, metric(row, server, "value")) for server in row.outcomes]
    known = [(server, spread) for server, spread in bars if spread is not None]
    longest = max((spread.high for _, spread in known), default=0.0)
    if not longest:
        return ""
    height = _BAR_HEIGHT * len(known)
    scale = (_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH) / longest
    parts = [f"<svg viewBox='0 0 {_WIDTH} {height}' role=img aria-label='{escape(row.name)}'>"]
    for number, (server, spread) in enumerate(known):
        y = number * _BAR_HEIGHT
        middle = y + _BAR_HEIGHT / 2
        low, high = (_LABEL_WIDTH + value * scale for value in (spread.low, spread.high))
        kind = "ours" if server == SUBJECT else "peer"
        text = escape(numbers.value(row.unit, spread))
        parts.append(
            f"<text x=0 y={middle + 4:.0f}>{escape(server)}</text>"
            f"<rect class={kind} x={_LABEL_WIDTH} y={y + 4} rx=3"
            f" width={spread.middle * scale:.1f} height={_BAR_HEIGHT - 8} />"
            f"<line class=whisker x1={low:.1f} x2={high:.1f} y1={middle} y2={middle} />"
            f"<text x={high + 8:.1f} y={middle + 4:.0f}>{text}</text>"
        )
    return "".join(parts) + "</svg>"


def _table(row: Row) -> str:
    head = "".join(f"<th>{name}" for name in _COLUMNS)
    lines = [f"<table><tr>{head}"]
    for server in row.outcomes:
        cells = "".join(f"<td>{escape(cell)}" for cell in table.measured(row, server))
        lines.append(f"<tr><td>{escape(server)}{cells}")
    return "".join(lines) + "</table>"

"""The report as one HTML file: charts as inline SVG, no scripts, no external resources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import groupby

from benchmarks.report import numbers, table
from benchmarks.results import Report, Row, Spread, metric
from benchmarks.targets import SUBJECT, Verdict, verdicts

_STYLE = """
:root { color-scheme: light dark; --ours: #1a7f5a; --peer: #9aa5b5; --line: #dfe3e9;
  --bad: #b3261e; --text: #1c2430; --faint: #5c6675; --paper: #fff; --card: #f7f8fa }
@media (prefers-color-scheme: dark) { :root { --ours: #3fbf8f; --peer: #5d6879; --line: #2e3541;
  --bad: #ff8a80; --text: #e4e8ef; --faint: #98a2b3; --paper: #14181f; --card: #1b2029 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--paper);
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem }
h3 { font-size: 1rem; margin: 0 } p { margin: .2rem 0 }
.faint, figcaption, summary { color: var(--faint) } .bad { color: var(--bad) }
.good { color: var(--ours) } a { color: inherit }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .8rem 1rem; margin: .8rem 0 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1rem }
figure { margin: .5rem 0 } figcaption, summary { font-size: 13px }
svg { width: 100%; max-width: 30rem; height: auto; display: block }
text { fill: var(--text); font: 13px system-ui, sans-serif }
.ours { fill: var(--ours) } .peer { fill: var(--peer) }
.whisker { stroke: var(--text); stroke-width: 1.5; opacity: .7 }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px; width: 100% }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; font-variant-numeric: tabular-nums }
th:first-child, td:first-child, .left * { text-align: left }
th { font-weight: 600 } dt { font-weight: 600 } dd { margin: 0 0 .4rem }
"""
# Sizes of a chart, in its own units. A page shows up to three charts side by side.
_WIDTH = 400
_BAR_HEIGHT = 24
_LABEL_WIDTH = 112
_VALUE_WIDTH = 104


def render(report: Report) -> str:
    """Return the HTML document."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>dtrfast, {escape(report.began)}</title><style>{_STYLE}</style>",
        _head(report),
        _targets(report),
    ]
    for name, rows in groupby(report.rows, key=lambda row: row.name.partition("/")[0]):
        parts += [f"<h2>{escape(name)}</h2>", *map(_section, rows)]
    return "\n".join([*parts, _foot(report)]) + "\n"


def _head(report: Report) -> str:
    machine = report.machine
    return (
        f"<header><h1>dtrfast {escape(report.commit)}</h1>"
        f"<p>{escape(', '.join(report.servers.values()))}; {escape(report.began)}</p>"
        f"<p class=faint>{machine.cores} × {escape(machine.processor)},"
        f" {machine.memory_bytes / 1e9:.0f} GB, {escape(machine.system)},"
        f" Linux {escape(machine.kernel)}, Python {escape(machine.python)},"
        f" {escape(machine.memory_file_system)} and {escape(machine.disk_file_system)}</p>"
        "<p class=faint>Bars are medians of the turns, lines on them reach from the least to"
        " the most. Ratios are of turns that followed each other.</p></header>"
    )


def _targets(report: Report) -> str:
    found = [(row, verdict) for row in report.rows for verdict in verdicts(row)]
    if not found:
        return ""
    reached = sum(verdict.is_reached for _, verdict in found)
    lines = [f"<h2>Figures to reach: {reached} of {len(found)}</h2>"]
    lines.append("<div class=scroll><table class=left><tr><th>case<th>figure<th>measured<th>")
    lines += [_target(row, verdict) for row, verdict in found]
    return "".join(lines) + "</table></div>"


def _target(row: Row, verdict: Verdict) -> str:
    name = escape(row.name)
    cells = [table.target_text(row, verdict.target), table.measured_text(row, verdict)]
    mark = "<td class=good>reached" if verdict.is_reached else "<td class=bad>not reached"
    found = "".join(f"<td>{escape(cell)}" for cell in cells)
    return f"<tr><td><a href='#{name}'>{name}</a>{found}{mark}"


def _section(row: Row) -> str:
    name = escape(row.name)
    parts = [f"<section id='{name}'><h3>{name}</h3><p class=faint>{escape(row.about)}</p>"]
    parts += ["<div class=charts>", *_charts(row), "</div>", _details(row)]
    for server, outcome in row.outcomes.items():
        if found := table.figures(row, server):
            parts.append(f"<p>{escape(server)}: {escape(', '.join(found))}</p>")
        if said := table.complaint(outcome):
            kind = "bad" if outcome.has_failed else "faint"
            parts.append(f"<p class={kind}>{escape(server)}: {escape(said)}</p>")
    return "".join(parts) + "</section>"


def _charts(row: Row) -> Iterator[str]:
    unit = row.unit
    yield _chart(row, "value", numbers.caption(unit), lambda found: numbers.value(unit, found))
    caption = "CPU-seconds of the server, less is better"
    yield _chart(row, "cost", caption, lambda found: numbers.cost(unit, found))
    yield _chart(row, "p99", "p99 of latency, less is better", numbers.milliseconds)


def _chart(row: Row, name: str, caption: str, text_of: Callable[[Spread], str]) -> str:
    """Return a chart with a bar for each server that has this metric."""
    spreads = {server: metric(row, server, name) for server in row.outcomes}
    known = {server: spread for server, spread in spreads.items() if spread is not None}
    longest = max((spread.high for spread in known.values()), default=0.0)
    if not longest:
        return ""
    scale = (_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH) / longest
    bars = [
        _bar(number, server, spread, scale, text_of(spread))
        for number, (server, spread) in enumerate(known.items())
    ]
    box = f"0 0 {_WIDTH} {_BAR_HEIGHT * len(known)}"
    label = escape(f"{row.name}: {caption}")
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        f"<svg viewBox='{box}' role=img aria-label='{label}'>{''.join(bars)}</svg></figure>"
    )


def _bar(number: int, server: str, spread: Spread, scale: float, text: str) -> str:
    y = number * _BAR_HEIGHT
    middle = y + _BAR_HEIGHT // 2
    low, high = (_LABEL_WIDTH + value * scale for value in (spread.low, spread.high))
    kind = "ours" if server == SUBJECT else "peer"
    whisker = f"<line class=whisker x1={low:.1f} x2={high:.1f} y1={middle} y2={middle} />"
    return (
        f"<text x=0 y={middle + 4}>{escape(server)}</text>"
        f"<rect class={kind} x={_LABEL_WIDTH} y={y + 4} rx=3"
        f" width={max(spread.middle * scale, 1):.1f} height={_BAR_HEIGHT - 8} />"
        + (whisker if spread.high > spread.low else "")
        + f"<text x={high + 8:.1f} y={middle + 4}>{escape(text)}</text>"
    )


def _details(row: Row) -> str:
    lines = [_line(["server", *table.MEASURED], "th")]
    lines += [_line([server, *table.measured(row, server)], "td") for server in row.outcomes]
    return (
        "<details><summary>all figures</summary><div class=scroll>"
        f"<table>{''.join(lines)}</table></div></details>"
    )


def _line(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}" for cell in cells)


def _foot(report: Report) -> str:
    """Return the section with the conditions that are needed to repeat the run."""
    effort = ", ".join(f"{name} {value}" for name, value in report.conditions.items())
    durability = [
        f"<dt>{escape(server)}<dd>{escape(text)}" for server, text in report.durability.items()
    ]
    return (
        f"<h2>Conditions</h2><p class=faint>{escape(effort)}</p>"
        "<h2>What is synced to disk before a push is acknowledged</h2>"
        f"<dl>{''.join(durability)}</dl>"
    )

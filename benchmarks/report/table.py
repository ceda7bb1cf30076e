"""The table in the terminal: a line for each server in each row, with the targets below."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.report import numbers
from benchmarks.results import Outcome, Report, Row, metric, ratio, spread_of
from benchmarks.targets import SUBJECT, Target, Verdict, verdicts

# Further error messages repeat the first ones with other names.
_MESSAGES_MAX = 2
_MEMORY = ("resident_peak", "anonymous_peak")
MEASURED = ("value", "p50/p90/p99", "server's CPU", "peak RSS/anon", "ratio", "CPU ×")
_COLUMNS = ("case", "server", *MEASURED)


def render(report: Report) -> RenderableType:
    """Return the table of a report."""
    machine = report.machine
    head = Text(
        f"{machine.cores} × {machine.processor}, Linux {machine.kernel}, Python {machine.python},"
        f" {machine.memory_file_system} and {machine.disk_file_system}, {report.began}\n"
        + ", ".join(report.servers.values()),
        style="dim",
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _COLUMNS:
        left = name in ("case", "server")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in report.rows:
        _add(table, row)
    return Group(head, table, *_complaints(report), _targets(report))


def line(row: Row) -> str:
    """Return a row as one line: each server's value, and the subject's ratio to it."""
    parts = []
    for server, outcome in row.outcomes.items():
        value = numbers.value(row.unit, metric(row, server, "value"))
        text = value if outcome.is_valid else "failed" if outcome.has_failed else "skipped"
        if server != SUBJECT and outcome.is_valid:
            text += f" ({numbers.ratio(ratio(row, SUBJECT, server, 'value'))})"
        parts.append(f"{server} {text}")
    return f"{row.name}: {', '.join(parts)}"


def _add(table: Table, row: Row) -> None:
    for server, outcome in row.outcomes.items():
        mine = server == SUBJECT
        cells = [
            Text(row.name if mine or server == next(iter(row.outcomes)) else ""),
            Text(server, style="bold" if mine else ""),
            *(Text(text) for text in measured(row, server)),
        ]
        if not outcome.is_valid:
            failed = outcome.has_failed
            cells[2] = Text("failed" if failed else "skipped", style="red" if failed else "dim")
        table.add_row(*cells)


def measured(row: Row, server: str) -> list[str]:
    """Return a server's cells of a row. Ratios are those of the subject to it."""
    peer = server != SUBJECT
    return [
        numbers.value(row.unit, metric(row, server, "value")),
        numbers.milliseconds(*(metric(row, server, name) for name in ("p50", "p90", "p99"))),
        numbers.cost(row.unit, metric(row, server, "cost")),
        numbers.megabytes(*(metric(row, server, name) for name in _MEMORY)),
        numbers.ratio(ratio(row, SUBJECT, server, "value")) if peer else "",
        numbers.ratio(ratio(row, SUBJECT, server, "cost")) if peer else "",
    ]


def figures(row: Row, server: str) -> list[str]:
    """Return a server's further figures in a row, as text."""
    samples = row.outcomes[server].samples
    names = samples[0].figures if samples else {}
    found = [(name, metric(row, server, name)) for name in names]
    return [numbers.figure(name, spread) for name, spread in found if spread is not None]


def complaint(outcome: Outcome) -> str:
    """Return the reason for missing figures; empty if there are figures."""
    if outcome.errors:
        told = dict.fromkeys(m.strip() for sample in outcome.samples for m in sample.messages)
        return f"{outcome.errors} errors: {'; '.join(list(told)[:_MESSAGES_MAX])}"
    if outcome.failure:
        return f"failed: {outcome.failure}"
    return f"skipped: {outcome.skipped}" if outcome.skipped else ""


def target_text(row: Row, target: Target) -> str:
    """Return a target as text, such as `CPU ≤ 0.85 × registry`."""
    name = {"value": "", "cost": "CPU "}.get(target.metric, target.metric.replace("_", " ") + " ")
    sign = "≤" if target.at_most else "≥"
    other = f" {target.peer}" if target.peer else ""
    return f"{name}{sign} {_amount(row, target, target.bound)}{other}"


def measured_text(row: Row, verdict: Verdict) -> str:
    """Return the measured value of a target as text."""
    return _amount(row, verdict.target, verdict.measured)


def _amount(row: Row, target: Target, amount: float) -> str:
    spread = spread_of([amount])
    return numbers.ratio(spread) if target.peer else numbers.value(row.unit, spread)


def _complaints(report: Report) -> list[Text]:
    """Return the errors and the further remarks of a row."""
    texts = []
    for row in report.rows:
        for server, outcome in row.outcomes.items():
            where = f"{row.name} on {server}"
            if said := complaint(outcome):
                style = "red" if outcome.has_failed else "dim"
                texts.append(Text(f"{where}: {said}", style=style))
            if found := figures(row, server):
                texts.append(Text(f"{where}: {', '.join(found)}"))
    return texts


def _targets(report: Report) -> Text:
    text = Text()
    for row in report.rows:
        for verdict in verdicts(row):
            style = "green" if verdict.is_reached else "bold red"
            asked, measured = target_text(row, verdict.target), measured_text(row, verdict)
            word = "reached" if verdict.is_reached else "NOT reached"
            text.append(f"{row.name} {asked}: {measured}, {word}\n", style)
    return text

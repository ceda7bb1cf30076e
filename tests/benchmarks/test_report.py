"""The two forms of a report: the table and the page."""

from __future__ import annotations

from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

from benchmarks.report import numbers, page, table
from benchmarks.results import Outcome, Report, Spread, Unit
from tests.benchmarks.reports import outcome, report, row, sample

FULL = report(
    row("manifest-by-tag", 900, 1000, 1100, peers={"registry": outcome(100, 100, 100)}),
    row("small-blob", 900, peers={"registry": outcome(100)}),
    row("pull/raw/1", 2e9, unit=Unit.BYTES, peers={"nginx": Outcome(skipped="<no> TLS")}),
    row("pull/raw/4", 2e9, unit=Unit.BYTES, peers={"nginx": Outcome((sample(1, errors=3),))}),
    row("memory/idle", 60_000_000, unit=Unit.MEMORY),
)


def text_of(found: Report) -> str:
    console = Console(width=200, file=StringIO())
    with console.capture() as captured:
        console.print(table.render(found))
    return captured.get()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (123.4, "123"), (12345.6, "12,346")],
)
def test_numbers_have_three_digits(number: float, text: str) -> None:
    assert numbers.number(number) == text


def test_values_have_their_unit() -> None:
    assert numbers.value(Unit.BYTES, Spread(1.5e9, 1e9, 2e9)) == "1,500 MB/s"
    assert numbers.value(Unit.MEMORY, None) == numbers.MISSING
    assert numbers.ratio(Spread(2, 1.5, 3)) == "2 × (1.5–3)"
    assert numbers.milliseconds(Spread(0.001, 0, 1), None) == "1/– ms"


def test_the_table_has_each_server_of_each_row() -> None:
    text = text_of(FULL)
    lines = [line for line in text.splitlines() if "registry" in line and "100/s" in line]
    assert len(lines) == 2
    assert "10 × (9–11)" in lines[0]


def test_the_table_says_which_targets_are_reached() -> None:
    text = text_of(FULL)
    assert "manifest-by-tag ≥ 8 × registry: 10 ×, reached" in text
    assert "small-blob ≥ 20 × registry: 9 ×, NOT reached" in text
    assert "memory/idle ≤ 120 MB: 60 MB, reached" in text


def test_the_table_says_what_went_wrong() -> None:
    text = text_of(FULL)
    assert "pull/raw/1 on nginx: skipped: <no> TLS" in text
    assert "pull/raw/4 on nginx: 3 errors: GET /v2/: 500" in text


def test_a_line_is_a_row_in_short() -> None:
    assert table.line(FULL.rows[0]) == (
        "manifest-by-tag: dtrfast 1,000/s, registry 100/s (10 × (9–11))"
    )
    assert table.line(FULL.rows[3]).endswith("nginx failed")


class Elements(HTMLParser):
    """Counts elements, and collects the addresses that a page would load."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.fetched: list[str] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.fetched += [
            value for name, value in attrs if name in ("src", "href") and value and value[0] != "#"
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_by_itself() -> None:
    document = page.render(FULL)
    found = Elements(document)
    assert found.fetched == []
    assert found.counts.keys().isdisjoint({"script", "link", "img", "iframe"})
    assert "@import" not in document
    assert "url(" not in document


def test_the_page_has_a_bar_for_each_server_with_figures() -> None:
    found = Elements(page.render(report(FULL.rows[0])))
    assert found.counts["svg"] == 3  # value, processor time, p99
    assert found.counts["rect"] == 6


def test_the_page_says_what_was_reached_and_what_went_wrong() -> None:
    text = Elements(page.render(FULL)).text
    assert "Figures to reach: 2 of 3" in text
    assert "skipped: <no> TLS" in text
    assert "a <fast> one" in text


def test_a_report_without_rows_can_be_shown() -> None:
    assert "dtrfast" in Elements(page.render(report())).text
    assert "case" in text_of(report())

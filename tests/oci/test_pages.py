from __future__ import annotations

import pytest

from dtrfast.errors import PageInvalid
from dtrfast.oci.pages import next_link, parse_count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (None, 100),
        ("", 100),
        ("0", 0),
        ("00", 0),
        ("1", 1),
        ("007", 7),
        ("1000", 1000),
        ("1001", 1000),
        ("9" * 10_000, 1000),
        ("0" * 10_000 + "5", 5),
    ],
)
def test_a_count_is_read_and_held_to_the_maximum(text: str | None, count: int) -> None:
    assert parse_count(text, default=100, maximum=1000) == count


@pytest.mark.parametrize("text", ["-1", "+1", "1.5", "a", " 1", "1 ", "1\n", "٣", "0x1", "1_0"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(PageInvalid, match="give the number of entries wanted"):
        parse_count(text, default=100, maximum=1000)


def test_the_next_page_is_a_relative_link() -> None:
    link = next_link("/v2/team/app/tags/list", last="v1.0_a-b", count=2)
    assert link == '</v2/team/app/tags/list?last=v1.0_a-b&n=2>; rel="next"'


def test_what_a_link_carries_is_percent_encoded() -> None:
    link = next_link("/v2/_catalog", last='a/b&n=9> "é', count=None)
    assert link == '</v2/_catalog?last=a%2Fb%26n%3D9%3E%20%22%C3%A9>; rel="next"'


def test_a_filter_goes_on_to_the_next_page() -> None:
    link = next_link("/v2/a/referrers/x", last="y", count=None, filters={"artifactType": "a/b+c"})
    assert link == '</v2/a/referrers/x?last=y&artifactType=a%2Fb%2Bc>; rel="next"'

"""The table of docs/uploads.md, row by row."""

from __future__ import annotations

import pytest

from dtrfast.errors import RangeInvalid, SizeInvalid
from dtrfast.registry.bodies import AnnouncedBody, body_range, may_recall
from dtrfast.store.blobs import LastBody

WHOLE = LastBody(begin=100, offset=300, end=300)
OPEN = LastBody(begin=100, offset=300, end=500, is_open=True)
TOLD = LastBody(begin=100, offset=300, end=500, is_open=True, is_told=True)
STREAMED = LastBody(begin=100, offset=300, end=None, is_open=True)
UNANSWERED = LastBody(begin=100, offset=300, end=300, is_open=True)


def begin(last: LastBody, content_range: str | None, length: int | None) -> int:
    return body_range(last, AnnouncedBody(content_range, length, is_last=False)).start


@pytest.mark.parametrize("last", [WHOLE, OPEN, TOLD, STREAMED, UNANSWERED])
@pytest.mark.parametrize("start", [0, 99, 100, 101, 299, 300, 301, 500])
def test_a_range_begins_at_one_of_two_places_or_nowhere(last: LastBody, start: int) -> None:
    allowed = {300, 100} if last.is_open else {300}
    content_range = f"{start}-{start + 9}"
    if start in allowed:
        assert begin(last, content_range, 10) == begin(last, content_range, None) == start
    else:
        with pytest.raises(RangeInvalid):
            begin(last, content_range, 10)


@pytest.mark.parametrize(
    ("last", "length", "start"),
    [
        (LastBody(), None, 0),
        (WHOLE, 200, 300),
        (WHOLE, None, 300),
        (OPEN, 400, 100),  # the whole body again
        (OPEN, None, 100),
        (OPEN, 199, 100),
        (OPEN, 200, 300),  # exactly the missing bytes
        (OPEN, 0, 100),
        (TOLD, 400, 300),
        (TOLD, None, 300),
        (STREAMED, None, 100),
        (STREAMED, 200, 100),
        (UNANSWERED, 200, 100),
        (UNANSWERED, 0, 300),  # no byte is missing, and none comes
    ],
)
def test_without_a_range(last: LastBody, length: int | None, start: int) -> None:
    assert begin(last, None, length) == start


@pytest.mark.parametrize("length", [0, 9, 11])
def test_two_lengths_that_differ(length: int) -> None:
    with pytest.raises(SizeInvalid):
        begin(OPEN, "300-309", length)


@pytest.mark.parametrize(
    ("last", "content_range", "expected"),
    [
        (WHOLE, None, True),
        (WHOLE, "300-301", True),  # the start of the holder's body, which was never saved
        (WHOLE, "100-101", False),
        (OPEN, None, True),
        (OPEN, "100-101", True),
        (OPEN, "300-301", False),
        (OPEN, "0-1", False),
    ],
)
def test_requests_that_may_stop_a_holder(
    last: LastBody, content_range: str | None, expected: bool
) -> None:
    assert may_recall(last, AnnouncedBody(content_range, 2, is_last=True)) is expected

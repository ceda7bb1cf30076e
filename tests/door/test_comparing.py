"""The comparison sees every difference that a client could see, and no other one."""

from __future__ import annotations

import pytest

from tests.door.differ.comparing import FRAMING, begun_upload, difference, see
from tests.door.wire import Answer

ID = "01a20b43-afb8-784c-ba7f-f515f2b198b4"
OTHER_ID = "01a20b43-b3a0-79bd-9a83-986f02508a1f"
HEADERS = (("content-length", "4"), ("etag", '"x"'), ("date", "Tue, 24 Nov 2026 02:00:20 GMT"))
ANSWER = Answer(200, HEADERS, b"body")


def compare(one: Answer, other: Answer) -> str | None:
    return difference({"one": [see(one, [ID])], "other": [see(other, [OTHER_ID])]})


@pytest.mark.parametrize(
    "other",
    [
        Answer(206, HEADERS, b"body"),
        Answer(200, HEADERS[:1], b"body"),
        Answer(200, (*HEADERS, ("x", "y")), b"body"),
        Answer(200, (*HEADERS, HEADERS[1]), b"body"),
        Answer(200, (HEADERS[0], ("etag", '"X"')), b"body"),
        Answer(200, HEADERS, b"bodY"),
        Answer(200, HEADERS, b""),
        Answer(200, (*HEADERS, ("location", f"/{ID}")), b"body"),
    ],
)
def test_an_altered_answer_is_seen(other: Answer) -> None:
    assert compare(ANSWER, other) is not None
    assert compare(other, ANSWER) is not None


def test_an_answer_more_or_less_is_seen() -> None:
    sight = see(ANSWER, [])
    assert difference({"one": [sight], "other": [sight, sight]}) is not None
    assert difference({"one": [sight], "other": []}) is not None


def test_the_last_of_many_servers_is_compared() -> None:
    good, bad = see(ANSWER, []), see(Answer(500, ()), [])
    assert difference({"one": [good], "other": [good], "third": [bad]}) is not None


def test_the_time_and_the_order_of_headers_are_not_seen() -> None:
    headers = (HEADERS[1], ("date", "another"), HEADERS[0], ("server", "hypercorn-h11"))
    assert compare(ANSWER, Answer(200, headers, b"body")) is None


def test_the_order_of_allowed_methods_is_not_seen() -> None:
    one, other, third = (Answer(405, (("allow", v),)) for v in ("GET, HEAD", "HEAD, GET", "GET"))
    assert compare(one, other) is None
    assert compare(one, third) is not None


def test_each_server_has_ids_of_its_own_for_the_same_uploads() -> None:
    one = Answer(404, (("location", f"/v2/a/blobs/uploads/{ID}"),), ID.encode())
    other = Answer(404, (("location", f"/v2/a/blobs/uploads/{OTHER_ID}"),), OTHER_ID.encode())
    assert compare(one, other) is None
    assert compare(one, one) is not None


def test_boundaries_are_random() -> None:
    one, other = (
        Answer(206, (("content-type", f"multipart/byteranges; boundary={b}"),), f"--{b}--".encode())
        for b in ("abc", "def")
    )
    assert compare(one, other) is None
    assert compare(one, Answer(206, one.headers, b"--abd--")) is not None


def test_framing_is_left_out_only_where_it_may_differ() -> None:
    closing = see(Answer(200, (*HEADERS, ("connection", "close")), b"body"), [])
    assert difference({"one": [see(ANSWER, [])], "other": [closing]}) is not None
    assert closing.without(FRAMING) == see(ANSWER, [])


def test_the_id_of_an_upload_is_read_from_its_location() -> None:
    assert begun_upload(Answer(202, (("location", f"/v2/a/blobs/uploads/{ID}"),))) == ID
    assert begun_upload(Answer(201, (("location", f"/v2/a/blobs/{ID}"),))) is None
    assert begun_upload(ANSWER) is None

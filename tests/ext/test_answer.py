"""The encoding of answers."""

from __future__ import annotations

import pytest

from dtrfast._core import encode_answer


def test_an_answer_has_its_lines_in_order() -> None:
    headers = {"content-type": "text/plain", "content-length": "2", "empty": ""}
    answer = encode_answer(b"HTTP/1.1 200 OK\r\n", headers, b"date: now\r\n", b"{}")
    assert answer == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nempty: \r\n"
        b"date: now\r\n\r\n{}"
    )


def test_an_answer_may_have_nothing() -> None:
    assert encode_answer(b"HTTP/1.1 204 No Content\r\n", {}, b"", b"") == (
        b"HTTP/1.1 204 No Content\r\n\r\n"
    )


def test_texts_are_utf8_and_bodies_any_bytes() -> None:
    answer = encode_answer(b"", {"ä": "\U0001f40b"}, b"", bytes(range(256)))
    assert answer == "ä: \U0001f40b\r\n\r\n".encode() + bytes(range(256))


@pytest.mark.parametrize("headers", [{"a": 1}, {b"a": "b"}, {"a": None}, {"a": "\ud800"}])
def test_what_is_no_text_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises((TypeError, UnicodeEncodeError)):
        encode_answer(b"", headers, b"", b"")

"""Chunked bodies: all split points, all kinds of malformed bodies, and equality with the twin."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtrfast import _core
from tests.ext import twins

SEED = 7_010

VALID = {
    "empty": b"0\r\n\r\n",
    "one chunk": b"5\r\nhello\r\n0\r\n\r\n",
    "two chunks": b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n",
    "capitals and small letters": b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "leading zeros": b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n",
    "line ends as data": b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
    "trailer": b"1\r\nx\r\n0\r\nDigest: sha-256=x\r\nA:\r\n\r\n",
    "trailer of names that frame": b"0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
    "largest trailer": b"0\r\na:" + b"b" * 8188 + b"\r\n\r\n",
}

MALFORMED = {
    "no size": b"\r\n",
    "no hexadecimal size": b"g\r\n",
    "prefix 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-1\r\n",
    "space before size": b" 5\r\nhello\r\n",
    "space after size": b"5 \r\nhello\r\n",
    "tab after size": b"5\t\r\nhello\r\n",
    "extension": b"5;a=b\r\nhello\r\n",
    "extension of the last chunk": b"0;a\r\n\r\n",
    "bare LF after size": b"5\nhello\r\n",
    "bare CR after size": b"5\rhello\r\n",
    "bare LF after data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR after data": b"5\r\nhello\r0\r\n\r\n",
    "data longer than its size": b"4\r\nhello\r\n",
    "data shorter than its size": b"6\r\nhello\r\n0\r\n\r\n",
    "seventeen digits": b"00000000000000005\r\n",
    "size 2^63": b"8000000000000000\r\n",
    "size 2^64": b"10000000000000000\r\n",
    "bare LF at the end": b"0\r\n\n",
    "bare CR at the end": b"0\r\n\rX",
    "trailer without colon": b"0\r\nabc\r\n\r\n",
    "trailer without name": b"0\r\n: x\r\n\r\n",
    "trailer with a space in its name": b"0\r\na b: x\r\n\r\n",
    "trailer with a space before its colon": b"0\r\na : x\r\n\r\n",
    "trailer folded": b"0\r\na: x\r\n y\r\n\r\n",
    "trailer with NUL": b"0\r\na: \x00\r\n\r\n",
    "trailer with bare LF": b"0\r\na: x\n\r\n",
    "trailer with bare CR": b"0\r\na: x\ry\r\n\r\n",
    "trailer too large in one line": b"0\r\na:" + b"b" * 8189 + b"\r\n\r\n",
    "trailer too large in many lines": b"0\r\n" + b"a:\r\n" * 2049 + b"\r\n",
    "trailer name without end": b"0\r\n" + b"a" * 8193,
}

REASONS = {
    "sign": "malformed chunk size",
    "extension": "chunk extension",
    "bare LF after data": "line does not end with CR LF",
    "trailer with NUL": "malformed trailer field",
    "trailer name without end": "trailer fields too large",
}


def decode(data: bytes, cuts: list[int], room: int) -> twins.Body | None:
    """Decode the data in pieces that end at the cuts. None if it is malformed."""
    decoder, into, decoded, consumed = _core.ChunkedDecoder(), bytearray(room), b"", 0
    for end in sorted({*cuts, len(data)}):
        while consumed < end and not decoder.finished:
            try:
                used, made = decoder.decode(memoryview(data)[consumed:end], into)
            except ValueError:
                assert not decoder.finished
                return None
            assert used > 0
            assert made <= used
            consumed, decoded = consumed + used, decoded + into[:made]
    return twins.Body(bytes(decoded), consumed, decoder.finished)


def twin_decode(data: bytes) -> twins.Body | None:
    try:
        return twins.decode_chunked(data)
    except twins.Malformed:
        return None


@pytest.mark.parametrize("name", VALID)
def test_valid_bodies_at_every_split_point(name: str) -> None:
    data = VALID[name]
    expected = twins.decode_chunked(data)
    assert expected.finished
    assert expected.consumed == len(data)
    for cut in range(len(data)):
        assert decode(data + b"GET /", [cut], 4096) == expected
    for room in (1, 2, 3, 7):
        assert decode(data, list(range(len(data))), room) == expected


@pytest.mark.parametrize("name", VALID)
def test_every_prefix_of_a_valid_body_is_incomplete(name: str) -> None:
    data = VALID[name]
    for size in range(len(data)):
        body = decode(data[:size], [], 64)
        assert body is not None
        assert (body.finished, body.consumed) == (False, size)
        assert body == twin_decode(data[:size])


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies_at_every_split_point(name: str) -> None:
    data = MALFORMED[name]
    assert twin_decode(data) is None
    step = 1 + len(data) // 100
    for cut in range(0, len(data), step):
        assert decode(data, [cut], 64) is None
    assert decode(data, list(range(0, len(data), step)), 64) is None


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_given_again_and_again(name: str) -> None:
    decoder = _core.ChunkedDecoder()
    for data in (MALFORMED[name], b"0\r\n\r\n", b""):
        with pytest.raises(ValueError, match=f"^{REASONS[name]}$"):
            decoder.decode(data, bytearray(64))
    assert decoder.finished is False


def test_a_full_buffer_stops_before_chunk_data_only() -> None:
    decoder = _core.ChunkedDecoder()
    data = b"5\r\nhello\r\n0\r\n\r\nGET"
    assert decoder.decode(data, bytearray()) == (3, 0)
    into = bytearray(5)
    assert decoder.decode(data[3:], into) == (12, 5)
    assert into == b"hello"
    assert decoder.finished
    assert decoder.decode(b"GET", into) == (0, 0)


def test_nothing_is_written_behind_what_was_produced() -> None:
    into = bytearray(b"." * 10)
    assert _core.ChunkedDecoder().decode(b"3\r\nabc\r\n", into) == (8, 3)
    assert into == b"abc......."


def test_bodies_are_decoded_in_place() -> None:
    message = random.Random(SEED).randbytes(50_000)
    for size in (1, 7, 4096, 50_000):
        pieces = [message[i : i + size] for i in range(0, len(message), size)]
        data = bytearray(b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n")
        decoder = _core.ChunkedDecoder()
        consumed, produced = decoder.decode(data, data)
        assert (consumed, produced, decoder.finished) == (len(data), len(message), True)
        assert data[:produced] == message


def test_the_largest_size_is_accepted() -> None:
    decoder = _core.ChunkedDecoder()
    assert decoder.decode(b"7fffffffffffffff\r\nabc", bytearray(8)) == (21, 3)


def test_buffers_that_do_not_fit_are_refused() -> None:
    decoder = _core.ChunkedDecoder()
    with pytest.raises(BufferError):
        decoder.decode(b"0", b"read only")
    with pytest.raises(TypeError):
        decoder.decode("0", bytearray(1))  # type: ignore[arg-type]
    assert decoder.decode(b"0\r\n\r\n", bytearray(1)) == (5, 0)


def test_each_octet_in_each_place_agrees_with_the_twin() -> None:
    for octet in range(256):
        one = bytes([octet])
        for data in (
            one + b"\r\n",
            b"1" + one + b"\r\n",
            b"1\r" + one,
            b"1\r\nx" + one,
            b"1\r\nx\r" + one,
            b"0\r\n" + one,
            b"0\r\na" + one,
            b"0\r\na:" + one,
            b"0\r\na:\r" + one,
            b"0\r\n\r" + one,
        ):
            assert decode(data, [], 64) == twin_decode(data), data


OCTETS = [b"\r", b"\n", b"\r\n", b" ", b";", b":", b"0", b"f", b"8000000000000000", b"\x00"]


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from([*VALID.values(), *MALFORMED.values()]),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.sampled_from(OCTETS)), max_size=2),
    st.lists(st.integers(0, 60), max_size=6),
    st.integers(1, 70),
)
def test_mutated_bodies_agree_with_the_twin(
    data: bytes, edits: list[tuple[int, int, bytes]], cuts: list[int], room: int
) -> None:
    for position, removed, inserted in edits:
        data = data[:position] + inserted + data[position + removed :]
    cuts = [cut for cut in cuts if cut <= len(data)]
    assert decode(data, cuts, room) == twin_decode(data)

from __future__ import annotations

import pytest

from dtrfast.errors import RangeInvalid, RangesTooMany
from dtrfast.oci.ranges import (
    ChunkRange,
    Range,
    frame_multipart,
    parse_chunk_range,
    parse_range,
    unsatisfied_range,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 0)]),
        ("bytes=2-5", [(2, 5)]),
        ("bytes=2-99", [(2, 9)]),
        ("bytes=0-", [(0, 9)]),
        ("bytes=9-", [(9, 9)]),
        ("bytes=-3", [(7, 9)]),
        ("bytes=-99", [(0, 9)]),
        ("BYTES=1-2", [(1, 2)]),
        ("bytes= 0-1 , 3-4", [(0, 1), (3, 4)]),
        (" bytes=,\t0-1,, ,3-4,", [(0, 1), (3, 4)]),
        ("bytes=8-9,0-1,1-3,0-1", [(8, 9), (0, 1), (1, 3), (0, 1)]),
        ("bytes=0-1,10-,3-4,-0", [(0, 1), (3, 4)]),
        ("bytes=0-" + "9" * 10_000, [(0, 9)]),
        ("bytes=-" + "9" * 10_000, [(0, 9)]),
        ("bytes=" + "0" * 30 + "2-" + "0" * 30 + "5", [(2, 5)]),
    ],
)
def test_a_range_lies_inside_the_blob(header: str, expected: list[tuple[int, int]]) -> None:
    assert parse_range(header, 10) == [Range(*bounds) for bounds in expected]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,x",
        "bytes=1",
        "bytes=--1",
        "bytes=0 - 1",
        "bytes=٣-٤",
        "bytes=0-1;2-3",
        "bytes =0-1",
        "byte\u017f=0-1",
        "items=0-1",
        "0-1",
    ],
)
def test_an_unreadable_range_is_ignored(header: str) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=10-20", 10),
        ("bytes=-0", 10),
        ("bytes=500-0", 1000),
        ("bytes=0-1,5-4", 10),
        ("bytes=" + "0" * 10_000 + "3-" + "0" * 10_000, 10),
        ("bytes=99-,50-60", 10),
        ("bytes=" + "9" * 10_000 + "-", 10),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-5", 0),
    ],
)
def test_a_range_that_nothing_satisfies_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeInvalid) as caught:
        parse_range(header, size)
    assert caught.value.size == size


def test_as_many_ranges_as_podman_asks_for_are_answered() -> None:
    header = "bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(1024))
    ranges = parse_range(header, 2048)
    assert ranges == [Range(2 * i, 2 * i) for i in range(1024)]


def test_more_ranges_are_refused_so_that_the_client_splits_them() -> None:
    with pytest.raises(RangesTooMany, match="more than 1024 ranges"):
        parse_range("bytes=" + "0-0," * 1025, 10)


def test_a_range_knows_its_length_and_its_header() -> None:
    assert Range(2, 5).length == 4
    assert Range(2, 5).content_range(10) == "bytes 2-5/10"
    assert unsatisfied_range(10) == "bytes */10"


def test_a_multipart_answer_has_a_head_for_each_part() -> None:
    frame = frame_multipart([Range(2, 5), Range(0, 0)], 10, "b0undary")
    assert frame.content_type == "multipart/byteranges; boundary=b0undary"
    assert frame.heads == (
        b"--b0undary\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Range: bytes 2-5/10\r\n\r\n",
        b"\r\n--b0undary\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Range: bytes 0-0/10\r\n\r\n",
    )
    assert frame.tail == b"\r\n--b0undary--\r\n"
    assert frame.length == sum(map(len, frame.heads)) + 5 + len(frame.tail)


@pytest.mark.parametrize("boundary", ["", "a b", "a-b", 'a"', "é", "a" * 71])
def test_a_boundary_that_clients_may_not_read_is_a_bug(boundary: str) -> None:
    with pytest.raises(AssertionError):
        frame_multipart([Range(0, 0), Range(2, 2)], 10, boundary)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("0-0", 0, 0),
        ("0-99", 0, 99),
        ("100-199", 100, 199),
        (" 0-99 ", 0, 99),
        ("bytes 0-99/100", 0, 99),
        ("Bytes 0-99/*", 0, 99),
        ("bytes=0-99", 0, 99),
        ("0-99/100", 0, 99),
        ("9999999999999999998-9999999999999999999", 10**19 - 2, 10**19 - 1),
    ],
)
def test_a_chunk_says_where_it_belongs(header: str, start: int, end: int) -> None:
    chunk = parse_chunk_range(header)
    assert chunk == ChunkRange(start, end)
    assert chunk.length == end - start + 1


@pytest.mark.parametrize(
    "header",
    [
        "",
        "0",
        "-",
        "0-",
        "-1",
        "0--1",
        "a-b",
        "1-0",
        "0-1-2",
        "bytes */100",
        "٣-٤",
        "0-" + "9" * 20,
    ],
)
def test_a_chunk_that_says_nothing_of_its_place_is_refused(header: str) -> None:
    with pytest.raises(RangeInvalid) as caught:
        parse_chunk_range(header)
    assert caught.value.size is None

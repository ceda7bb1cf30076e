"""The place of a request's body in its upload. `docs/uploads.md` has the table."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import RangeInvalid, SizeInvalid
from dtrfast.oci.ranges import parse_chunk_range
from dtrfast.store.blobs import LastBody, Upload


@dataclass(frozen=True, slots=True)
class Announced:
    """A body as its request announces it: its `Content-Range` as it stands, its length in bytes.
    `is_last`: it closes the upload.
    """

    content_range: str | None
    length: int | None
    is_last: bool


@dataclass(frozen=True, slots=True)
class Held:
    """An upload that waits for a body of `size` bytes; None when they were not announced."""

    upload: Upload
    size: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """The beginning of a body, and its length as far as it is known."""

    start: int
    length: int | None


def place(last: LastBody, announced: Announced) -> Place:
    """The beginning of the body in an upload whose last body was `last`.

    Raises `RangeInvalid` when it begins at neither of the two places that it may, `SizeInvalid`
    when its two lengths differ.
    """
    if announced.content_range is None:
        return Place(_guess(last, announced.length), announced.length)
    chunk = parse_chunk_range(announced.content_range)
    if chunk.start != last.offset and not (last.is_open and chunk.start == last.begin):
        raise RangeInvalid(f"the upload has {last.offset} bytes: go on from there")
    if announced.length not in (None, chunk.length):
        raise SizeInvalid(
            f"Content-Range has {chunk.length} bytes, Content-Length {announced.length}"
        )
    return Place(chunk.start, chunk.length)


def _guess(last: LastBody, length: int | None) -> int:
    if not last.is_open or last.is_told:
        return last.offset
    is_rest = last.end is not None and length == last.end - last.offset
    return last.offset if is_rest else last.begin


def may_recall(last: LastBody, announced: Announced) -> bool:
    """True if a request with this body may take over an upload that another request holds, whose
    state was last saved as `last`. Raises `RangeInvalid` for what is no range.
    """
    if announced.content_range is None:
        return True
    begin = last.begin if last.is_open else last.offset
    return parse_chunk_range(announced.content_range).start == begin

"""The range of an upload that a request's body fills. `docs/uploads.md` has the table."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import RangeInvalid, SizeInvalid
from dtrfast.oci.ranges import parse_chunk_range
from dtrfast.store.blobs import LastBody, Upload


@dataclass(frozen=True, slots=True)
class AnnouncedBody:
    """A body as its request announces it: the unparsed `Content-Range`, and the length in bytes.
    `is_last` is True for the request that closes the upload.
    """

    content_range: str | None
    length: int | None
    is_last: bool


@dataclass(frozen=True, slots=True)
class HeldUpload:
    """An upload that this request holds, for a body of `size` bytes; None if the request did not
    announce a length.
    """

    upload: Upload
    size: int | None


@dataclass(frozen=True, slots=True)
class BodyRange:
    """The offset in the upload at which a body starts, and its length in bytes; None if unknown."""

    start: int
    length: int | None


def body_range(last: LastBody, announced: AnnouncedBody) -> BodyRange:
    """Return the range of a body in an upload whose last body was `last`.

    A body starts at the end of the bytes received. While the last body is open, a body may also
    start where that one started. Raises `RangeInvalid` for another start, `SizeInvalid` if
    `Content-Range` and `Content-Length` differ.
    """
    if announced.content_range is None:
        return BodyRange(_guess_start(last, announced.length), announced.length)
    chunk = parse_chunk_range(announced.content_range)
    if chunk.start != last.offset and not (last.is_open and chunk.start == last.begin):
        raise RangeInvalid(f"the upload has {last.offset} bytes: go on from there")
    if announced.length not in (None, chunk.length):
        raise SizeInvalid(
            f"Content-Range has {chunk.length} bytes, Content-Length {announced.length}"
        )
    return BodyRange(chunk.start, chunk.length)


def _guess_start(last: LastBody, length: int | None) -> int:
    """Return the start of a body without `Content-Range`."""
    if not last.is_open or last.is_told:
        return last.offset
    is_rest = last.end is not None and length == last.end - last.offset
    return last.offset if is_rest else last.begin


def may_recall(last: LastBody, announced: AnnouncedBody) -> bool:
    """Return True if a request with this body may take over an upload that another request holds.
    `last` is the last saved state of the upload. Raises `RangeInvalid` for a malformed range.
    """
    if announced.content_range is None:
        return True
    begin = last.begin if last.is_open else last.offset
    return parse_chunk_range(announced.content_range).start == begin

"""end-2 and end-10: downloads and deletions of blobs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response
from starlette.types import ASGIApp

from dtrfast.api.answers import Answer
from dtrfast.api.types import lane_of
from dtrfast.api.v2.call import Call
from dtrfast.api.v2.conditional_requests import CACHE_FOREVER, conditions_of, range_holds
from dtrfast.api.v2.download import DownloadResponse
from dtrfast.errors import RangesTooMany
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions, entity_tag
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCTET_STREAM
from dtrfast.oci.names import RepositoryName
from dtrfast.oci.ranges import Range, frame_multipart, parse_range
from dtrfast.registry.blob_source import RANGE_PIECE_SIZE, BlobPart, BlobSource
from dtrfast.store.blobs import BlobStat

# Ranges may overlap. All ranges together may have at most this many times the blob's size, or
# this many bytes.
_RANGES_BYTES_FACTOR = 2
_RANGES_BYTES_FREE = 16 << 20


async def get(call: Call) -> ASGIApp:
    """Answer GET and HEAD of a blob."""
    digest = Digest.parse(call.reference)
    location = call.path("blobs", str(digest))
    conditions = conditions_of(call)
    is_whole = conditions.allow_read(digest) and not conditions.is_known(digest)
    if call.is_head or not is_whole:
        stat = await call.run(call.registry.blobs.stat, call.name, digest)
        return answer_stat(stat, location, conditions).response()
    wanted = call.headers.get("range") if range_holds(call, digest) else None
    opened = await call.run(_open, call, call.name, digest, wanted)
    plan = opened.plan
    return DownloadResponse(
        call.context.hop,
        plan.status,
        {**_headers(digest, location), **plan.headers},
        opened.source,
        opened.first,
    )


def answer_stat(stat: BlobStat, location: str, conditions: Conditions, body: bytes = b"") -> Answer:
    """Return the answer to a HEAD, or with `body` the answer to a GET of the whole blob.

    `location` is the blob's path. Raises `PreconditionFailed`.
    """
    conditions.check_read(stat.digest)
    headers = _headers(stat.digest, location)
    if conditions.is_known(stat.digest):
        del headers["content-type"], headers["location"]
        return Answer(304, headers)
    headers["content-length"] = str(stat.size)
    return Answer(200, headers, body)


async def delete(call: Call) -> ASGIApp:
    """Remove a blob from a repository. Raises `PreconditionFailed`."""
    digest = Digest.parse(call.reference)
    conditions = conditions_of(call)
    if conditions != UNCONDITIONAL:
        await call.run(call.registry.blobs.stat, call.name, digest)
        conditions.check_change(digest)
    await call.run(call.registry.blobs.delete, call.name, digest, call.registry.author())
    call.note("delete", {"blob": str(digest)})
    return Response(status_code=202, headers={"content-length": "0"})


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """The status, headers and parts of an answer, decided before the blob is opened."""

    status: int
    headers: dict[str, str]
    parts: tuple[BlobPart, ...]
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class _PreparedAnswer:
    plan: AnswerPlan
    source: BlobSource
    first: bytes


def plan_answer(stat: BlobStat, wanted: str | None) -> AnswerPlan:
    """Return the plan of the answer to a `Range` header; None: to a request without one. Raises
    `RangeInvalid`, `RangesTooMany`, `Invalid`.
    """
    size = stat.size
    ranges = None if wanted is None else parse_range(wanted, size)
    if ranges is None:
        return AnswerPlan(200, {"content-length": str(size)}, (BlobPart(b"", 0, size),))
    bytes_max = max(size * _RANGES_BYTES_FACTOR, _RANGES_BYTES_FREE)
    if sum(part.length for part in ranges) > bytes_max:
        raise RangesTooMany("the ranges overlap too much: request fewer ranges at once")
    if len(ranges) == 1:
        (part,) = ranges
        headers = {"content-length": str(part.length), "content-range": part.content_range(size)}
        return AnswerPlan(206, headers, (BlobPart(b"", part.start, part.length),))
    return _plan_multipart(ranges, size)


def _plan_multipart(ranges: list[Range], size: int) -> AnswerPlan:
    frame = frame_multipart(ranges, size, secrets.token_hex(16))
    headers = {"content-length": str(frame.length), "content-type": frame.content_type}
    parts = (BlobPart(h, r.start, r.length) for h, r in zip(frame.heads, ranges, strict=True))
    return AnswerPlan(206, headers, tuple(parts), frame.tail)


def _open(call: Call, name: RepositoryName, digest: Digest, wanted: str | None) -> _PreparedAnswer:
    """Plan the answer and read its first bytes, so that an early failure still gets a status."""
    blobs = call.registry.blobs
    if wanted is None:
        reader = blobs.open_range(name, digest)
        plan = plan_answer(reader.stat, None)
        source = BlobSource(lambda offset, length: reader, plan.parts)
    else:
        plan = plan_answer(blobs.stat(name, digest), wanted)
        open_range = partial(blobs.open_range, name, digest)
        source = BlobSource(open_range, plan.parts, plan.tail, RANGE_PIECE_SIZE)
    try:
        if lane_of(call.scope) is None:
            return _PreparedAnswer(plan, source, source.read())
        source.prepare_segments()
        return _PreparedAnswer(plan, source, b"")
    except BaseException:
        source.close()
        raise


def _headers(digest: Digest, location: str) -> dict[str, str]:
    text = str(digest)
    return {
        "content-type": OCTET_STREAM,
        "location": location,  # ollama reads the bytes there, as if this were a redirect
        "docker-content-digest": text,
        "etag": entity_tag(text),
        "cache-control": CACHE_FOREVER,
        "accept-ranges": "bytes",
    }

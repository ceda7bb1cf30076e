"""end-2 and end-10: blobs on their way out."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response
from starlette.types import ASGIApp

from dtrfast.api.answers import Answer
from dtrfast.api.types import lane_of
from dtrfast.api.v2.call import Call
from dtrfast.api.v2.conditions import CACHE_FOREVER, conditions_of, range_holds
from dtrfast.api.v2.download import RANGE_PIECE_SIZE, DownloadResponse, Part, Source
from dtrfast.errors import RangesTooMany
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions, entity_tag
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCTET_STREAM
from dtrfast.oci.names import RepositoryName
from dtrfast.oci.ranges import Range, frame_multipart, parse_range
from dtrfast.store.blobs import BlobStat

# Ranges may overlap; together they may not multiply a blob into a flood of bytes.
_RANGES_BYTES_FACTOR = 2
_RANGES_BYTES_FREE = 16 << 20


async def get(call: Call) -> ASGIApp:
    """GET and HEAD."""
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
    """The answer to a HEAD, or with `body` to a GET of the whole blob at `location`. Raises
    `PreconditionFailed`.
    """
    conditions.check_read(stat.digest)
    headers = _headers(stat.digest, location)
    if conditions.is_known(stat.digest):
        del headers["content-type"], headers["location"]
        return Answer(304, headers)
    headers["content-length"] = str(stat.size)
    return Answer(200, headers, body)


async def delete(call: Call) -> ASGIApp:
    digest = Digest.parse(call.reference)
    conditions = conditions_of(call)
    if conditions != UNCONDITIONAL:
        await call.run(call.registry.blobs.stat, call.name, digest)
        conditions.check_change(digest)
    await call.run(call.registry.blobs.delete, call.name, digest, call.registry.author())
    call.note("delete", {"blob": str(digest)})
    return Response(status_code=202, headers={"content-length": "0"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: decided before anything is opened."""

    status: int
    headers: dict[str, str]
    parts: tuple[Part, ...]
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class _Opened:
    plan: Plan
    source: Source
    first: bytes


def plan_answer(stat: BlobStat, wanted: str | None) -> Plan:
    """What a `Range` header asks of a blob. Raises `RangeInvalid`, `Invalid`."""
    ranges = None if wanted is None else _parse_ranges(wanted, stat.size)
    if ranges is None:
        return Plan(200, {"content-length": str(stat.size)}, (Part(b"", 0, stat.size),))
    if len(ranges) == 1:
        return _plan_range(ranges[0], stat.size)
    return _plan_multipart(ranges, stat.size)


def _parse_ranges(wanted: str, size: int) -> list[Range] | None:
    ranges = parse_range(wanted, size)
    bytes_max = max(size * _RANGES_BYTES_FACTOR, _RANGES_BYTES_FREE)
    if ranges is not None and sum(r.length for r in ranges) > bytes_max:
        raise RangesTooMany("the ranges overlap too much: ask for fewer in each request")
    return ranges


def _plan_range(part: Range, size: int) -> Plan:
    headers = {"content-length": str(part.length), "content-range": part.content_range(size)}
    return Plan(206, headers, (Part(b"", part.start, part.length),))


def _plan_multipart(ranges: list[Range], size: int) -> Plan:
    frame = frame_multipart(ranges, size, secrets.token_hex(16))
    headers = {"content-length": str(frame.length), "content-type": frame.content_type}
    parts = (Part(h, r.start, r.length) for h, r in zip(frame.heads, ranges, strict=True))
    return Plan(206, headers, tuple(parts), frame.tail)


def _open(call: Call, name: RepositoryName, digest: Digest, wanted: str | None) -> _Opened:
    """Plan the answer and begin to read, so that what fails early fails with a status."""
    blobs = call.registry.blobs
    if wanted is None:
        reader = blobs.open_range(name, digest)
        plan = plan_answer(reader.stat, None)
        source = Source(lambda offset, length: reader, plan.parts)
    else:
        plan = plan_answer(blobs.stat(name, digest), wanted)
        open_range = partial(blobs.open_range, name, digest)
        source = Source(open_range, plan.parts, plan.tail, RANGE_PIECE_SIZE)
    try:
        return _Opened(plan, source, source.prepare(lane_of(call.scope)))
    except BaseException:
        source.close()
        raise


def _headers(digest: Digest, location: str) -> dict[str, str]:
    text = str(digest)
    return {
        "content-type": OCTET_STREAM,
        "location": location,  # ollama takes the bytes from there, as if it had been redirected
        "docker-content-digest": text,
        "etag": entity_tag(text),
        "cache-control": CACHE_FOREVER,
        "accept-ranges": "bytes",
    }

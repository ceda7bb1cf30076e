"""end-4, 5, 6, 11, 13, 14: blobs on their way in.

A session is named by a UUID in the path and by nothing else, so every Location that it ever had
stays good.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import ASGIApp

from dtrfast.api.errors import error_response
from dtrfast.api.v2.body import Transfer
from dtrfast.api.v2.call import Call
from dtrfast.errors import DigestInvalid, NameInvalid, RangeInvalid, SizeInvalid, UploadUnknown
from dtrfast.oci.digests import DEFAULT_ALGORITHM, Algorithm, Digest, parse_algorithm
from dtrfast.oci.names import RepositoryName
from dtrfast.oci.ranges import parse_chunk_range
from dtrfast.store.blobs import Upload


async def begin(call: Call) -> ASGIApp:
    """POST: mount a blob, take one whole, or open a session."""
    query, name = call.query, call.name
    if "mount" in query:
        mounted = await _mount(call, Digest.parse(query["mount"]))
        if mounted is not None:
            return mounted
    elif "digest" in query:
        return await _take_whole(call, Digest.parse(query["digest"]))
    upload_id = await call.run(_open_session, call, name, _announced_algorithm(call))
    return Response(status_code=202, headers=_session_headers(call, upload_id, 0))


async def append(call: Call) -> ASGIApp:
    """PATCH: the next bytes, with or without saying which."""
    upload = await call.run(call.registry.uploads.resume, call.name, call.reference)
    async with Transfer(call, upload) as transfer:
        try:
            await transfer.receive(_expected_size(call, upload))
            await transfer.finish(upload.release)
        except RangeInvalid as error:
            return error_response(error, _refusal_headers(call, upload))
        return Response(status_code=202, headers=_session_headers(call, upload.id, upload.offset))


async def close(call: Call) -> ASGIApp:
    """PUT: perhaps the last bytes, and the digest of them all."""
    name = call.name
    digest = _wanted_digest(call)
    try:
        upload = await call.run(call.registry.uploads.resume, name, call.reference)
    except UploadUnknown:
        finished = await call.run(call.registry.uploads.finished, name, call.reference)
        if finished != digest:
            raise
        return _created(call, digest)
    async with Transfer(call, upload) as transfer:
        try:
            await transfer.receive(_expected_size(call, upload))
            return await _commit(call, transfer, digest)
        except RangeInvalid as error:
            return error_response(error, _refusal_headers(call, upload))


async def status(call: Call) -> ASGIApp:
    """GET: how far a session has come."""
    offset = await call.run(call.registry.uploads.offset, call.name, call.reference)
    headers = _session_headers(call, call.reference, offset)
    del headers["content-length"]  # 204 has none
    return Response(status_code=204, headers=headers)


async def cancel(call: Call) -> ASGIApp:
    """DELETE: forget a session."""
    await call.run(_cancel, call, call.name)
    return Response(status_code=204)


async def _mount(call: Call, digest: Digest) -> ASGIApp | None:
    """None when it cannot be: whoever may not know of a blob is told the same."""
    try:
        source = RepositoryName.parse(call.query["from"]) if "from" in call.query else None
    except NameInvalid:
        return None
    author = call.registry.author()
    stat = await call.run(call.registry.blobs.mount, call.name, digest, source, author)
    return None if stat is None else _created(call, digest)


async def _take_whole(call: Call, digest: Digest) -> ASGIApp:
    upload = await call.run(call.registry.uploads.begin, call.name, digest.algorithm)
    try:
        async with Transfer(call, upload) as transfer:
            await transfer.receive(call.content_length)
            return await _commit(call, transfer, digest)
    except BaseException:
        # Nobody was told the name of this session.
        await call.run(_cancel_quietly, call, call.name, upload.id)
        raise


async def _commit(call: Call, transfer: Transfer, digest: Digest) -> ASGIApp:
    author = call.registry.author()
    finish = call.registry.uploads.finish
    await transfer.finish(finish, transfer.upload, call.name, digest, author)
    return _created(call, digest)


def _announced_algorithm(call: Call) -> Algorithm:
    """The algorithm that the client will close the session with, as far as it says."""
    if "digest-algorithm" in call.query:
        return parse_algorithm(call.query["digest-algorithm"])
    return DEFAULT_ALGORITHM


def _open_session(call: Call, name: RepositoryName, algorithm: Algorithm) -> str:
    upload = call.registry.uploads.begin(name, algorithm)
    upload.release()
    return upload.id


def _cancel(call: Call, name: RepositoryName) -> None:
    call.registry.uploads.resume(name, call.reference).cancel()


def _cancel_quietly(call: Call, name: RepositoryName, upload_id: str) -> None:
    with contextlib.suppress(UploadUnknown):
        call.registry.uploads.resume(name, upload_id).cancel()


def _wanted_digest(call: Call) -> Digest:
    text = call.query.get("digest")
    if not text:
        raise DigestInvalid("say which digest the blob has: ?digest=sha256:…")
    return Digest.parse(text)


def _expected_size(call: Call, upload: Upload) -> int | None:
    """How long the body has to be; None when nobody said.

    Raises `RangeInvalid` when it does not continue the upload, `SizeInvalid` when its two lengths
    differ.
    """
    length = call.content_length
    header = call.headers.get("content-range")
    if header is None:
        return length
    chunk = parse_chunk_range(header)
    if chunk.start != upload.offset:
        raise RangeInvalid(f"the upload has {upload.offset} bytes: go on from there")
    if length is not None and length != chunk.length:
        raise SizeInvalid(f"Content-Range has {chunk.length} bytes, Content-Length {length}")
    return chunk.length


def _session_headers(call: Call, upload_id: str, offset: int) -> dict[str, str]:
    # There is no notation for "nothing yet"; Docker wants one all the same, and reads this.
    return {
        "location": call.path("blobs", "uploads", upload_id),
        "range": f"0-{max(0, offset - 1)}",
        "docker-upload-uuid": upload_id,
        "content-length": "0",
    }


def _refusal_headers(call: Call, upload: Upload) -> Mapping[str, str]:
    """Where to go on after a 416. `0-0` would say that one byte is there, so nothing is said."""
    headers = _session_headers(call, upload.id, upload.offset)
    del headers["content-length"]
    if upload.offset == 0:
        del headers["range"]
    return headers


def _created(call: Call, digest: Digest) -> Response:
    headers = {
        "location": call.path("blobs", str(digest)),
        "docker-content-digest": str(digest),
        "content-length": "0",
    }
    return Response(status_code=201, headers=headers)

"""end-4, 5, 6, 11, 13, 14: blobs on their way in.

A session is named by a UUID in the path and by nothing else, so every Location that it ever had
stays good.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dtrfast.api.errors import error_response
from dtrfast.api.types import has_left
from dtrfast.api.v2.body import Transfer, discard
from dtrfast.api.v2.call import Call
from dtrfast.api.v2.holding import hold
from dtrfast.errors import DigestInvalid, NameInvalid, RangeInvalid, UploadUnknown
from dtrfast.oci.digests import DEFAULT_ALGORITHM, Algorithm, Digest, parse_algorithm
from dtrfast.oci.names import RepositoryName
from dtrfast.store.blobs import Upload


async def begin(call: Call) -> ASGIApp:
    """POST: mount a blob, take one whole, or open a session (also for an announced digest)."""
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
    try:
        held = await hold(call, is_last=False)
        upload = held.upload
        async with Transfer(call, upload) as transfer:
            await transfer.receive(held.size)
            await transfer.finish(upload.end_body)
    except RangeInvalid as error:
        return error_response(error, _refusal_headers(call, error.offset))
    answer = Response(status_code=202, headers=_session_headers(call, upload.id, upload.offset))
    return _Answered(call, answer, upload)


async def close(call: Call) -> ASGIApp:
    """PUT: perhaps the last bytes, and the digest of them all."""
    digest = _wanted_digest(call)
    try:
        held = await hold(call, is_last=True)
        async with Transfer(call, held.upload) as transfer:
            await transfer.receive(held.size)
            return await _commit(call, transfer, digest)
    except UploadUnknown:
        finished = await call.run(call.registry.uploads.finished, call.name, call.reference)
        if finished != digest:
            raise
        await discard(call)
        return _created(call, digest)
    except RangeInvalid as error:
        return error_response(error, _refusal_headers(call, error.offset))


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
            if transfer.received == 0 and digest != Digest.of_bytes(b"", digest.algorithm):
                # No body, or an empty one: the client announces what it will send by PUT.
                await transfer.finish(upload.release)
                return Response(status_code=202, headers=_session_headers(call, upload.id, 0))
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


class _Answered:
    """The answer to a PATCH, which holds its upload until it is written. Who has left before will
    not read it, and then the next body may be this one again.
    """

    def __init__(self, call: Call, answer: ASGIApp, upload: Upload) -> None:
        self._call = call
        self._answer = answer
        self._upload = upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Not afterwards: who has read the answer may leave as well.
        is_left = has_left(scope)
        try:
            await self._answer(scope, receive, send)
        finally:
            if is_left:
                self._upload.reopen_body()
                await self._call.run(self._upload.release)
            else:
                self._upload.release()  # everything is saved: this waits for no disk


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


def _session_headers(call: Call, upload_id: str, offset: int) -> dict[str, str]:
    # There is no notation for "nothing yet"; Docker wants one all the same, and reads this.
    return {
        "location": call.path("blobs", "uploads", upload_id),
        # ollama takes this as it is, and prefers it: so it has a host. Others need none in theirs.
        "docker-upload-location": call.url("blobs", "uploads", upload_id),
        "range": f"0-{max(0, offset - 1)}",
        "docker-upload-uuid": upload_id,
        "content-length": "0",
    }


def _refusal_headers(call: Call, offset: int | None) -> Mapping[str, str]:
    """Where to go on after a 416. `0-0` would say that one byte is there, so nothing is said."""
    headers = _session_headers(call, call.reference, offset or 0)
    del headers["content-length"]
    if not offset:
        del headers["range"]
    return headers


def _created(call: Call, digest: Digest) -> Response:
    headers = {
        "location": call.path("blobs", str(digest)),
        "docker-content-digest": str(digest),
        "content-length": "0",
    }
    return Response(status_code=201, headers=headers)

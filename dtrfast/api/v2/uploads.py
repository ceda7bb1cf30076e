"""end-4, end-5, end-6, end-11, end-13 and end-14: uploads of blobs.

Only the UUID in the path identifies an upload, so each earlier Location of it stays valid.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dtrfast.api.errors import error_response
from dtrfast.api.types import has_left
from dtrfast.api.v2.call import Call
from dtrfast.api.v2.holding import hold
from dtrfast.api.v2.request_body import Transfer, discard
from dtrfast.errors import DigestInvalid, NameInvalid, RangeInvalid, UploadUnknown
from dtrfast.oci.digests import DEFAULT_ALGORITHM, Digest, parse_algorithm
from dtrfast.oci.names import RepositoryName
from dtrfast.store.blobs import Upload


async def begin(call: Call) -> ASGIApp:
    """POST: mount a blob, receive a whole blob, or begin an upload for later requests."""
    query, name = call.query, call.name
    if "mount" in query:
        mounted = await _mount(call, Digest.parse(query["mount"]))
        if mounted is not None:
            return mounted
    elif "digest" in query:
        return await _take_whole(call, Digest.parse(query["digest"]))
    # The algorithm of the digest that will close the upload, if the client says so.
    announced = query.get("digest-algorithm")
    algorithm = DEFAULT_ALGORITHM if announced is None else parse_algorithm(announced)

    def begin_upload() -> str:
        upload = call.registry.uploads.begin(name, algorithm)
        upload.release()
        return upload.id

    upload_id = await call.run(begin_upload)
    return Response(status_code=202, headers=_session_headers(call, upload_id, 0))


async def append(call: Call) -> ASGIApp:
    """PATCH: append bytes, with or without a Content-Range."""
    try:
        held = await hold(call, is_last=False)
        upload = held.upload
        async with Transfer(call, upload) as transfer:
            await transfer.receive(held.size)
            await transfer.finish(upload.end_body)
    except RangeInvalid as error:
        return error_response(error, _refusal_headers(call, error.offset))
    answer = Response(status_code=202, headers=_session_headers(call, upload.id, upload.offset))
    return _UploadAnswer(call, answer, upload)


async def close(call: Call) -> ASGIApp:
    """PUT: append the last bytes, if there are any, and commit the upload as the blob `digest`."""
    text = call.query.get("digest")
    if not text:
        raise DigestInvalid("add the digest of the blob: ?digest=sha256:…")
    digest = Digest.parse(text)
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
    """GET: answer with the offset of an upload."""
    offset = await call.run(call.registry.uploads.offset, call.name, call.reference)
    headers = _session_headers(call, call.reference, offset)
    del headers["content-length"]  # 204 has none
    return Response(status_code=204, headers=headers)


async def cancel(call: Call) -> ASGIApp:
    """DELETE: cancel an upload."""

    def resume_and_cancel() -> None:
        call.registry.uploads.resume(call.name, call.reference).cancel()

    await call.run(resume_and_cancel)
    return Response(status_code=204)


async def _mount(call: Call, digest: Digest) -> ASGIApp | None:
    """Mount a blob. Returns None if that is not possible, also for a blob that the caller may not
    know of.
    """
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
                # No body, or an empty one: the client announces a blob that it will send by PUT.
                await transfer.finish(upload.release)
                return Response(status_code=202, headers=_session_headers(call, upload.id, 0))
            return await _commit(call, transfer, digest)
    except BaseException:
        # The client never learned the id of this upload, so it cannot resume it.
        await call.run(_cancel_quietly, call, call.name, upload.id)
        raise


async def _commit(call: Call, transfer: Transfer, digest: Digest) -> ASGIApp:
    author = call.registry.author()
    finish = call.registry.uploads.finish
    await transfer.finish(finish, transfer.upload, call.name, digest, author)
    return _created(call, digest)


class _UploadAnswer:
    """The answer to a PATCH, which holds its upload until the answer is written. A client that left
    before does not read it. Its next body may be the same one again, so the upload is reopened.
    """

    def __init__(self, call: Call, answer: ASGIApp, upload: Upload) -> None:
        self._call = call
        self._answer = answer
        self._upload = upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # This comes before the answer, since a client may also leave after it read the answer.
        is_left = has_left(scope)
        try:
            await self._answer(scope, receive, send)
        finally:
            if is_left:
                self._upload.reopen_body()
                await self._call.run(self._upload.release)
            else:
                self._upload.release()  # all bytes are saved, so this does not wait for the disk


def _cancel_quietly(call: Call, name: RepositoryName, upload_id: str) -> None:
    with contextlib.suppress(UploadUnknown):
        call.registry.uploads.resume(name, upload_id).cancel()


def _session_headers(call: Call, upload_id: str, offset: int) -> dict[str, str]:
    # `range` has no notation for an empty upload. Docker requires the header, and accepts 0-0.
    return {
        "location": call.path("blobs", "uploads", upload_id),
        # ollama prefers this header and uses it unchanged, so it must contain the host.
        "docker-upload-location": call.url("blobs", "uploads", upload_id),
        "range": f"0-{max(0, offset - 1)}",
        "docker-upload-uuid": upload_id,
        "content-length": "0",
    }


def _refusal_headers(call: Call, offset: int | None) -> Mapping[str, str]:
    """Return the headers of a 416, with the offset to continue at. At offset 0 there is no `range`,
    since `0-0` would mean one byte.
    """
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

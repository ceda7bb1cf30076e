"""Holding an upload: the choice between two requests for the same upload (docs/uploads.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from dtrfast.api.errors import ClientGone
from dtrfast.api.types import has_left
from dtrfast.api.v2.call import Call
from dtrfast.errors import UploadBusy
from dtrfast.registry.bodies import AnnouncedBody, HeldUpload, may_recall
from dtrfast.store.blobs import LastBody

# A PATCH releases its upload when its answer is written. The client's next request may come sooner.
_ANSWER_SECONDS = 0.02
# A request whose client left releases its upload soon. Another request waits for this time.
_WAIT_SECONDS = 1.0
# A retry waits for the commit of a complete body, which takes minutes on a slow disk.
_RETRY_SECONDS_MAX = 900.0
_RETRY_POLL_SECONDS = 0.05


async def hold(call: Call, *, is_last: bool) -> HeldUpload:
    """Hold the upload that the call names, for its body. `is_last`: the body closes the upload.

    Raises `UploadBusy`, and the exceptions of `Uploads.hold`.
    """
    announced = AnnouncedBody(call.headers.get("content-range"), call.content_length, is_last)
    uploads = call.registry.uploads
    attempt = partial(uploads.hold, call.name, call.reference, announced)
    found = await call.run(attempt)
    if isinstance(found, HeldUpload):
        return found
    # Later attempts compare the upload with its state at this request.
    again = partial(_attempt, call, partial(attempt, seen=found))
    found = await again(_ANSWER_SECONDS)
    if isinstance(found, LastBody) and may_recall(found, announced):
        await call.run(uploads.recall, call.name, call.reference)
        return await _retry(again)
    if isinstance(found, LastBody):
        found = await again(_WAIT_SECONDS)
    if isinstance(found, LastBody):
        raise _busy()
    return found


async def _attempt(
    call: Call, attempt: Callable[..., HeldUpload | LastBody], wait_seconds: float
) -> HeldUpload | LastBody:
    """Try again. Raises `ClientGone` if the client has left: its body must not be appended after
    the body of its own retry.
    """
    if has_left(call.scope):
        raise ClientGone
    return await call.run(partial(attempt, wait_seconds=wait_seconds))


async def _retry(again: Callable[[float], Awaitable[HeldUpload | LastBody]]) -> HeldUpload:
    """Wait for the holder of the upload, which stops soon or has received its whole body."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RETRY_SECONDS_MAX
    while loop.time() < deadline:
        found = await again(0)
        if isinstance(found, HeldUpload):
            return found
        await asyncio.sleep(_RETRY_POLL_SECONDS)
    raise _busy()


def _busy() -> UploadBusy:
    return UploadBusy("another request is writing to this upload: try again")

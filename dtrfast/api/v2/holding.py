"""Two requests that want one upload, and which of them gets it (docs/uploads.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from dtrfast.api.errors import ClientGone
from dtrfast.api.types import has_left
from dtrfast.api.v2.call import Call
from dtrfast.errors import UploadBusy
from dtrfast.registry.bodies import Announced, Held, may_recall
from dtrfast.store.blobs import LastBody

# A PATCH lets go when its answer is written: a client may be as quick as that.
_ANSWER_SECONDS = 0.02
# A request that lost its client lets go within moments; another one waits that long for it.
_WAIT_SECONDS = 1.0
# A retry waits for the commit of what came whole: a slow disk may take minutes.
_RETRY_SECONDS_MAX = 900.0
_RETRY_POLL_SECONDS = 0.05


async def hold(call: Call, *, is_last: bool) -> Held:
    """The upload that the call names, held for its body; `is_last`: the body closes it.

    Raises `UploadBusy`, and what `Uploads.hold` does.
    """
    announced = Announced(call.headers.get("content-range"), call.content_length, is_last)
    uploads = call.registry.uploads
    attempt = partial(uploads.hold, call.name, call.reference, announced)
    found = await call.run(attempt)
    if isinstance(found, Held):
        return found
    # From now on it is known what the upload was when this request came.
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
    call: Call, attempt: Callable[..., Held | LastBody], wait_seconds: float
) -> Held | LastBody:
    """Try again. Raises `ClientGone` for a client that has not waited: its body must not come
    behind that of its own retry.
    """
    if has_left(call.scope):
        raise ClientGone
    return await call.run(partial(attempt, wait_seconds=wait_seconds))


async def _retry(again: Callable[[float], Awaitable[Held | LastBody]]) -> Held:
    """Wait for the holder: it stops soon, or it has all its bytes."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RETRY_SECONDS_MAX
    while loop.time() < deadline:
        found = await again(0)
        if isinstance(found, Held):
            return found
        await asyncio.sleep(_RETRY_POLL_SECONDS)
    raise _busy()


def _busy() -> UploadBusy:
    return UploadBusy("another request is writing to this upload: try again")

"""Small request bodies: forms and JSON. `v2/request_body.py` reads blobs and manifests."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from dtrfast.api.errors import ClientGone, ClientIdle
from dtrfast.errors import TooLarge


async def read_small(receive: Receive, size_max: int, seconds_max: float) -> bytes:
    """Return the whole body. Raises `TooLarge`, `ClientGone`, and `ClientIdle` if it takes longer
    than `seconds_max`.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds_max):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > size_max:
                    raise TooLarge(f"the body has more than {size_max} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise ClientIdle from error

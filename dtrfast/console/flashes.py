"""Flashes: the sentence about a submitted form, shown once on the next page, with an undo.

A flash travels in a cookie. Without TLS, other servers of the same host can set that cookie. So
its sentence is shown as text, and its undo may only restore something from the trash.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from dtrfast.api import browsers
from dtrfast.console.page import PageRequest
from dtrfast.console.undo import Undo

COOKIE = "dtrfast_done"
# Browsers silently drop cookies over 4 KiB: name, value and attributes together.
_TEXT_SIZE_MAX = 3800
_SECONDS = 60


class Flash(msgspec.Struct, frozen=True):
    """A sentence about a submitted form, and the operation that takes the form's effect back."""

    text: str
    undo: Undo | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Flash)


def cookie(flash: Flash, page: PageRequest, short: str) -> str:
    """Return the Set-Cookie header of a flash; of `short` alone if the flash is too large."""
    text = _encode(flash)
    if len(text) > _TEXT_SIZE_MAX:
        text = _encode(Flash(short))
    return _header(text, _SECONDS, page)


def _encode(flash: Flash) -> str:
    return base64.urlsafe_b64encode(_encoder.encode(flash)).decode().rstrip("=")


def cleared(page: PageRequest) -> str:
    """Return the Set-Cookie header that removes a flash, for the page that shows it."""
    return _header("", 0, page)


def read(text: str) -> Flash | None:
    """Return the flash in a cookie; None if the cookie is invalid or its undo is not allowed."""
    try:
        flash = _decoder.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None
    is_harmless = flash.undo is None or flash.undo.operation.startswith("restore_")
    return flash if is_harmless else None


def _header(text: str, seconds: int, page: PageRequest) -> str:
    is_secure = page.client.is_secure
    return browsers.cookie(COOKIE, text, seconds, is_secure=is_secure, same_site="Strict")

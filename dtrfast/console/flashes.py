"""What was done, told once on the page that comes after it, with the way back where there is one.

It travels in a cookie of the browser, which without TLS others of the same host may set: what it
says is text, and what it offers takes something out of the trash, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from dtrfast.api import browsers

if TYPE_CHECKING:
    from dtrfast.console.page import Page

COOKIE = "dtrfast_done"
# Browsers drop a cookie of more than 4 KiB without a word: name, value and attributes together.
_TEXT_SIZE_MAX = 3800
_SECONDS = 60


class Undo(msgspec.Struct, frozen=True):
    """An operation, and the pieces of its path; a list is for many calls."""

    operation: str
    path: dict[str, str | list[str]]


class Flash(msgspec.Struct, frozen=True):
    """What became of a form. `text`, where it is there, says it in full."""

    operation: str
    about: dict[str, str] = {}
    done: int = 1
    failed: int = 0
    failure: str = ""
    undo: Undo | None = None
    text: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Flash)


def cookie(flash: Flash, page: Page) -> str:
    """The Set-Cookie header that tells the next page, at least in short."""
    text = _encode(flash)
    if len(text) > _TEXT_SIZE_MAX:
        text = _encode(msgspec.structs.replace(flash, text="", failure="", undo=None))
    return _header(text, _SECONDS, page)


def _encode(flash: Flash) -> str:
    return base64.urlsafe_b64encode(_encoder.encode(flash)).decode().rstrip("=")


def cleared(page: Page) -> str:
    """The Set-Cookie header of the page that told it."""
    return _header("", 0, page)


def read(text: str) -> Flash | None:
    """What a cookie says; None where it is none of ours."""
    try:
        flash = _decoder.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None
    is_harmless = flash.undo is None or flash.undo.operation.startswith("restore_")
    return flash if is_harmless else None


def _header(text: str, seconds: int, page: Page) -> str:
    is_secure = page.asker.is_secure
    return browsers.cookie(COOKIE, text, seconds, is_secure=is_secure, same_site="Strict")

"""READMEs of repositories: their text, and the HTML that was rendered when the text was saved.

Pages show the stored HTML and never render. A text that takes long to render is left to the
housekeeper, which has more time. A text that takes even longer stays plain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

import msgspec

from dtrfast import markdown
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import READMES, READMES_HTML, READMES_WAITING, number_key
from dtrfast.oci import characters

# CPU time for rendering, in the request that saves a README and in the housekeeper.
_SAVING_SECONDS = 0.04
_WAITING_SECONDS = 2.0
# READMEs that one step of the housekeeper looks at.
_STEP_MAX = 500
_HASH_SIZE = 16


class RenderedReadme(msgspec.Struct, frozen=True, array_like=True):
    """The HTML of a README; empty if the text stays plain. It is valid for the text with this hash
    and for this version of the renderer.
    """

    version: int
    renderer: int
    text_hash: bytes
    html: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RenderedReadme)


def render(text: str) -> RenderedReadme | None:
    """Render a README that is being saved. Returns None if that takes too long: then the
    housekeeper renders it. Call it outside of a transaction.
    """
    saved = characters.cleaned_lines(text)
    html = markdown.render(saved, _SAVING_SECONDS)
    return None if html is None else _rendering(saved, html)


def preview(text: str) -> str:
    """Return the HTML that a README would have; empty if it takes as long as `render` allows."""
    return markdown.render(characters.cleaned_lines(text), _SAVING_SECONDS) or ""


def _rendering(text: str, html: str) -> RenderedReadme:
    return RenderedReadme(1, markdown.RENDERER, _hash(text.encode("utf-8", "replace")), html)


def _hash(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=_HASH_SIZE).digest()


def put(
    transaction: WriteTransaction, repository: int, text: str, rendering: RenderedReadme | None
) -> None:
    """Save a README, which must be clean (`characters.cleaned_lines`). Without a rendering it waits
    for the housekeeper.
    """
    key = number_key(repository)
    transaction.put(READMES, key, text.encode("utf-8", "replace"))
    transaction.delete(READMES_WAITING, key)
    if rendering is not None:
        transaction.put(READMES_HTML, key, _encoder.encode(rendering))
    elif text:
        transaction.put(READMES_WAITING, key, b"")


def get(transaction: ReadTransaction, repository: int) -> str:
    """Return the text of the repository's README; empty if there is none."""
    return (transaction.get(READMES, number_key(repository)) or b"").decode()


def html(transaction: ReadTransaction, repository: int) -> str:
    """Return the README as safe HTML; empty if it still has to be rendered, or stays plain."""
    key = number_key(repository)
    text = transaction.get(READMES, key)
    found = None if text is None else _valid(transaction, key, text)
    return "" if found is None else found.html


def _valid(transaction: ReadTransaction, key: bytes, text: bytes) -> RenderedReadme | None:
    data = transaction.get(READMES_HTML, key)
    if data is None:
        return None
    try:
        found = _decoder.decode(data)
    except ValueError:
        return None
    is_valid = found.renderer == markdown.RENDERER and found.text_hash == _hash(text)
    return found if is_valid else None


# ---- housekeeping ------------------------------------------------------------------------------
class ReadmeBacklog:
    """READMEs that wait to be rendered. One pass over all READMEs finds those without HTML of this
    version's renderer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._after: bytes | None = b""

    def step(self) -> int:
        """Render at most one README. Returns the number of READMEs that it looked at."""
        with self._engine.read() as transaction:
            waiting = [key for key, _ in transaction.scan(READMES_WAITING, limit=1)]
            old = list(self._next(transaction)) if not waiting else []
        for key in (*waiting, *(key for key, is_valid in old if not is_valid)):
            self._render(key)
        if not waiting and self._after is not None:
            self._after = old[-1][0] if old else None
        return len(waiting) + len(old)

    def _next(self, transaction: ReadTransaction) -> Iterator[tuple[bytes, bool]]:
        """Yield the next READMEs of the pass, and True if their HTML is valid. It ends at the first
        without, because rendering one may take seconds.
        """
        if self._after is None:
            return
        for key, text in transaction.scan(READMES, after=self._after, limit=_STEP_MAX):
            is_valid = not text or _valid(transaction, key, text) is not None
            yield key, is_valid
            if not is_valid:
                return

    def _render(self, key: bytes) -> None:
        with self._engine.read() as transaction:
            text = (transaction.get(READMES, key) or b"").decode()
        html = markdown.render(text, _WAITING_SECONDS)
        self._engine.write(partial(_put_html, key=key, rendering=_rendering(text, html or "")))


def _put_html(transaction: WriteTransaction, key: bytes, rendering: RenderedReadme) -> None:
    """Store a rendering, unless the README has another text by now."""
    if _hash(transaction.get(READMES, key) or b"") == rendering.text_hash:
        transaction.put(READMES_HTML, key, _encoder.encode(rendering))
        transaction.delete(READMES_WAITING, key)

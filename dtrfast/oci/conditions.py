"""Conditional requests (RFC 9110 section 13). The entity tag of content is its digest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dtrfast.errors import PreconditionFailed
from dtrfast.oci.digests import Digest

# An entity tag in quotes. If-Match ignores tags with the weak mark.
_find_tags = re.compile(r'(W/)?("[^"]*")').findall
_NAMES = frozenset({b"if-match", b"if-none-match"})


def entity_tag(digest: str) -> str:
    """Return the entity tag of content with this digest."""
    return f'"{digest}"'


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a request on the current content. None stands for an absent header."""

    if_match: str | None = None
    if_none_match: str | None = None

    @staticmethod
    def of(headers: Iterable[tuple[bytes, bytes]]) -> Conditions:
        """Return the conditions among headers with lower-case names.

        Several lines of one header are joined into one list.
        """
        given = [header for header in headers if header[0] in _NAMES]
        if not given:
            return UNCONDITIONAL
        found: dict[bytes, str] = {}
        for name, value in given:
            text = value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
        return Conditions(found.get(b"if-match"), found.get(b"if-none-match"))

    def allow_read(self, digest: Digest) -> bool:
        """Return True if If-Match is absent or names this content."""
        return self.if_match is None or _names(self.if_match, digest, strongly=True)

    def is_known(self, digest: Digest) -> bool:
        """Return True if If-None-Match names this content: the client has it already."""
        return self.if_none_match is not None and _names(self.if_none_match, digest)

    def check_read(self, digest: Digest) -> None:
        """Raise `PreconditionFailed` if If-Match does not name this content."""
        if not self.allow_read(digest):
            raise PreconditionFailed(f"If-Match is not the entity tag {entity_tag(str(digest))}")

    def check_change(self, digest: Digest | None) -> None:
        """Raise `PreconditionFailed` unless the conditions allow to replace or delete the content
        with this digest. None stands for no content.
        """
        if digest is None:
            if self.if_match is not None:
                raise PreconditionFailed("If-Match requires existing content, but there is none")
            return
        self.check_read(digest)
        if self.is_known(digest):
            raise PreconditionFailed(f"If-None-Match excludes the current content {digest}")


UNCONDITIONAL = Conditions()


def _names(header: str, digest: Digest, *, strongly: bool = False) -> bool:
    if header.strip(" \t") == "*":
        return True
    wanted = entity_tag(str(digest))
    return any(tag == wanted and not (weak and strongly) for weak, tag in _find_tags(header))

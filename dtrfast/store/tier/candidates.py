"""The contents that the tier may convert, with all that it knows of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CONTENTS, REPLAYS, number_key, number_of
from dtrfast.oci.digests import Digest
from dtrfast.store import contents
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.records import decode_content
from dtrfast.store.tier import layers
from dtrfast.store.tier.layers import Layer

# Smaller layers gain nothing: a chunk has 64 KiB, and a pack takes a block of the file system.
SIZE_MIN = 256 * 1024

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Candidate:
    """A content that is not inline. `layer`: the verdict of the tier, None before its first look.

    `is_converted`: it has a replay recipe.
    """

    found: NumberedContent
    layer: Layer | None
    is_converted: bool

    @property
    def number(self) -> int:
        return self.found.number

    @property
    def size(self) -> int:
        """The bytes of the content, as it was pushed."""
        return self.found.content.size

    @property
    def digest(self) -> Digest:
        return Digest("sha256", self.found.content.sha256)

    @property
    def is_evicted(self) -> bool:
        return self.found.content.kind == "recreated"


def scan(context: StoreContext, only: Collection[Digest] | None = None) -> Iterator[Candidate]:
    """All candidates, or those with the digests `only`. Reads some in each transaction."""
    after: bytes | None = None
    while True:
        with context.engine.read() as transaction:
            keys = [key for key, _ in transaction.scan(CONTENTS, after=after, limit=_PAGE)]
            page = [_candidate(transaction, key) for key in keys]
        for one in page:
            if one is not None and (only is None or _is_among(one, only)):
                yield one
        if len(keys) < _PAGE:
            return
        after = keys[-1]


def load(context: StoreContext, number: int) -> Candidate | None:
    """Return the present state of a candidate; None if it is gone, or is being freed."""
    with context.engine.read() as transaction:
        return _candidate(transaction, number_key(number))


def _is_among(one: Candidate, only: Collection[Digest]) -> bool:
    return any(name in only for name in contents.digests(one.found.content))


def _candidate(transaction: ReadTransaction, key: bytes) -> Candidate | None:
    data = transaction.get(CONTENTS, key)
    try:
        content = None if data is None else decode_content(data)
    except (Corrupt, FormatUnknown):
        return None  # `verify` names it
    if content is None or content.kind == "inline":
        return None
    if not contents.own_names(transaction, key):
        return None  # it is being freed, or another content took its place
    number = number_of(key)
    found = NumberedContent(number, content)
    is_converted = transaction.get(REPLAYS, key) is not None
    return Candidate(found, layers.find(transaction, number), is_converted)

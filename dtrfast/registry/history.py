"""What tags pointed at before, with who and when: for as long as the trash keeps things.

A row is written when a tag is moved to another manifest or deleted, so a tag that is pushed once
costs nothing here; its present state says itself who set it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from dtrfast.errors import Corrupt
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import NUMBER_SIZE, TAG_HISTORY, number_key
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import Tag
from dtrfast.registry import ownership, trash
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.ownership import ALL, UNKNOWN, Claim
from dtrfast.registry.records import TagRecord
from dtrfast.registry.writing import Place

Ending = Literal["moved", "deleted"]


class Past(msgspec.Struct, frozen=True, array_like=True):
    """A state of a tag that ended. Times are seconds since the epoch."""

    version: int
    digest_key: bytes
    set_at: int
    set_by: str
    ended_at: int
    ended_by: str
    ending: Ending
    run: str = ""  # what deleted it together with others
    owner: int = UNKNOWN  # the account that had the repository when it ended

    @property
    def digest(self) -> Digest:
        return Digest.from_key(self.digest_key)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Past)


def put(  # noqa: PLR0913 - what there is to keep of a state
    transaction: WriteTransaction,
    place: Place,
    tag: Tag,
    old: TagRecord,
    sequence: int,
    ending: Ending,
    run: str = "",
) -> None:
    """Keep a state that ends with the change of this sequence number."""
    author = place.author
    past = Past(
        version=1,
        digest_key=old.digest.key(),
        set_at=old.set_at,
        set_by=old.set_by,
        ended_at=author.now,
        ended_by=author.actor,
        ending=ending,
        run=run,
        owner=ownership.owner_of(transaction, place.name),
    )
    key = _prefix(place.id, tag) + number_key(sequence)
    transaction.put(TAG_HISTORY, key, _encoder.encode(past))
    trash.put(transaction, "tag", key, author.now)


def of_tag(
    transaction: ReadTransaction,
    repository: RepositoryId,
    tag: Tag,
    limit: int,
    claim: Claim = ALL,
) -> list[Past]:
    """Up to `limit` earlier states, as far as the claim goes, the latest first."""
    rows = transaction.scan(TAG_HISTORY, _prefix(repository, tag), limit=limit, reverse=True)
    states = (_decode(value) for _, value in rows)
    return [past for past in states if claim.covers(past.owner, past.ended_at)]


def deleted_tags(
    transaction: ReadTransaction, repository: RepositoryId, claim: Claim = ALL
) -> Iterator[tuple[str, Past]]:
    """States that ended with a deletion, in the order of their tags."""
    prefix = number_key(repository)
    for key, value in transaction.scan(TAG_HISTORY, prefix):
        past = _decode(value)
        if past.ending == "deleted" and claim.covers(past.owner, past.ended_at):
            yield tag_in(key), past


def get(transaction: ReadTransaction, key: bytes) -> Past | None:
    """The state of a key, which the trash lists."""
    data = transaction.get(TAG_HISTORY, key)
    return None if data is None else _decode(data)


def tag_in(key: bytes) -> str:
    """The tag in a key."""
    return key[NUMBER_SIZE : -NUMBER_SIZE - 1].decode()


def purge(transaction: WriteTransaction, key: bytes, deleted_at: int) -> None:
    """Forget a state."""
    transaction.delete(TAG_HISTORY, key)


def _prefix(repository: RepositoryId, tag: Tag) -> bytes:
    return number_key(repository) + tag.text.encode() + b"\0"


def _decode(data: bytes) -> Past:
    try:
        return _decoder.decode(data)
    except ValueError as error:
        raise Corrupt(f"a tag's history cannot be read ({error})") from error

"""Earlier states of tags, with authors and times, for as long as things stay in the trash.

A row is written when a tag moves to another manifest or is deleted. So a tag that is pushed once
has no row here. The author of its present state is in its own record.
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
from dtrfast.registry.writing import TargetRepository

TagEnding = Literal["moved", "deleted"]


class TagState(msgspec.Struct, frozen=True, array_like=True):
    """A state of a tag that ended. Times are seconds since the epoch."""

    version: int
    digest_key: bytes
    set_at: int
    set_by: str
    ended_at: int
    ended_by: str
    ending: TagEnding
    run: str = ""  # the deletion that took it together with others
    owner: int = UNKNOWN  # the id of the account that owned the repository when it ended

    @property
    def digest(self) -> Digest:
        return Digest.from_key(self.digest_key)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(TagState)


def put(  # noqa: PLR0913 - the fields of a state
    transaction: WriteTransaction,
    target: TargetRepository,
    tag: Tag,
    old: TagRecord,
    sequence: int,
    ending: TagEnding,
    run: str = "",
) -> None:
    """Store a state that ends with the change of this sequence number, and list it in the trash."""
    author = target.author
    past = TagState(
        version=1,
        digest_key=old.digest.key(),
        set_at=old.set_at,
        set_by=old.set_by,
        ended_at=author.now,
        ended_by=author.actor,
        ending=ending,
        run=run,
        owner=ownership.owner_of(transaction, target.name),
    )
    key = _prefix(target.id, tag) + number_key(sequence)
    transaction.put(TAG_HISTORY, key, _encoder.encode(past))
    trash.put(transaction, "tag", key, author.now)


def of_tag(
    transaction: ReadTransaction,
    repository: RepositoryId,
    tag: Tag,
    limit: int,
    claim: Claim = ALL,
) -> list[TagState]:
    """Return those of the last `limit` states that the claim covers, the latest first."""
    rows = transaction.scan(TAG_HISTORY, _prefix(repository, tag), limit=limit, reverse=True)
    states = (_decode(value) for _, value in rows)
    return [past for past in states if claim.covers(past.owner, past.ended_at)]


def deleted_tags(
    transaction: ReadTransaction, repository: RepositoryId, claim: Claim = ALL
) -> Iterator[tuple[str, TagState]]:
    """Yield the states that ended with a deletion, in the order of their tags."""
    prefix = number_key(repository)
    for key, value in transaction.scan(TAG_HISTORY, prefix):
        past = _decode(value)
        if past.ending == "deleted" and claim.covers(past.owner, past.ended_at):
            yield tag_in(key), past


def get(transaction: ReadTransaction, key: bytes) -> TagState | None:
    """Return the state with a key that the trash lists; None if it is gone."""
    data = transaction.get(TAG_HISTORY, key)
    return None if data is None else _decode(data)


def tag_in(key: bytes) -> str:
    """Return the tag in a key of TAG_HISTORY."""
    return key[NUMBER_SIZE : -NUMBER_SIZE - 1].decode()


def purge(transaction: WriteTransaction, key: bytes, deleted_at: int) -> None:
    """Delete a state that leaves the trash."""
    transaction.delete(TAG_HISTORY, key)


def _prefix(repository: RepositoryId, tag: Tag) -> bytes:
    return number_key(repository) + tag.text.encode() + b"\0"


def _decode(data: bytes) -> TagState:
    try:
        return _decoder.decode(data)
    except ValueError as error:
        raise Corrupt(f"a tag's history cannot be read ({error})") from error

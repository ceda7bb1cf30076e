"""Changes of links are recorded under the caller that made them."""

from __future__ import annotations

import pytest

from dtrfast.index.engine import WriteTransaction
from dtrfast.jobs.tasks import empty_trash
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import removal
from dtrfast.registry.permits import EVERYTHING
from dtrfast.registry.registry import Registry
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.fakes.permits import DictPermits
from tests.registry.holding_world import GRACE_SECONDS, Recorded
from tests.registry.test_holdings import link_changes
from tests.registry.test_registry import NAME, OTHER, push_blob


class Alice(DictPermits):
    actor = "alice"


@pytest.fixture
def alice(registry: Registry) -> Registry:
    """The registry for one user. Only the permits have the user's name."""
    return registry.acting_for(Alice({name.text: EVERYTHING for name in (NAME, OTHER)}))


def change(kind: str, actor: str, digest: Digest, name: RepositoryName = NAME) -> Recorded:
    return f"blob.{kind}", actor, name.text, str(digest)


def test_a_push_a_mount_and_a_delete_are_the_callers(alice: Registry, engine: MemoryEngine) -> None:
    digest = push_blob(alice, b"content")
    alice.blobs.mount(OTHER, digest, NAME, alice.author())
    alice.blobs.delete(NAME, digest, alice.author("bob"))
    assert link_changes(engine) == [
        change("link", "alice", digest),
        change("link", "alice", digest, OTHER),
        change("unlink", "bob", digest),
    ]


def test_the_end_of_a_grace_is_the_servers(
    alice: Registry, engine: MemoryEngine, clock: Clock
) -> None:
    digest = push_blob(alice, b"content")
    clock.advance(GRACE_SECONDS)
    alice.holdings.drop_unheld(10)
    assert link_changes(engine)[1:] == [change("unlink", "system", digest)]


def test_the_end_of_a_deleted_repository_is_the_servers(
    alice: Registry, engine: MemoryEngine, blobs: MemoryBlobs, clock: Clock
) -> None:
    """Its name is free by then, and may belong to another repository."""
    digest = push_blob(alice, b"content")

    def delete(transaction: WriteTransaction) -> None:
        removal.delete(transaction, NAME, alice.author())

    engine.write(delete)
    assert len(link_changes(engine)) == 1, "in the trash it keeps its blobs"
    empty_trash(engine, alice.holdings, clock(), all_of_it=True)
    while removal.step(engine, blobs):
        pass
    assert link_changes(engine)[1:] == [("blob.unlink", "system", "", str(digest))]


def test_a_blob_that_is_there_is_no_change(alice: Registry, engine: MemoryEngine) -> None:
    digest = push_blob(alice, b"content")
    push_blob(alice, b"content")
    alice.holdings.renew(NAME, digest)
    alice.blobs.mount(NAME, digest, NAME, alice.author("bob"))
    assert link_changes(engine) == [change("link", "alice", digest)]

"""Steps of the housekeeper: large manifests are processed in small transactions."""

from __future__ import annotations

from functools import partial

import pytest

from dtrfast.config import Config
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import MANIFESTS_UNTAGGED
from dtrfast.jobs.tasks import empty_trash
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import Manifest, read_manifest
from dtrfast.oci.media_types import OCI_MANIFEST
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import manifests, policies, policing, repositories, trash, untagged
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.policies import StorageSettings
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author, TargetRepository
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import image_manifest
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine

AUTHOR = Author("owen", 1)
NAME = RepositoryName("acme/app")
PLACE = TargetRepository(RepositoryId(1), NAME, AUTHOR)
BODIES = [image_manifest(b"%d" % number) for number in range(3)]


def _enter(
    transaction: WriteTransaction, digest: Digest, stored: StoredManifest, manifest: Manifest
) -> None:
    manifests.enter(transaction, PLACE, digest, stored, manifest)


def _remove(transaction: WriteTransaction, digest: Digest, stored: StoredManifest) -> None:
    manifests.remove(transaction, PLACE, digest, stored)


@pytest.fixture
def engine() -> MemoryEngine:
    made = MemoryEngine()
    made.write(lambda transaction: repositories.create(transaction, NAME, AUTHOR))
    for body in BODIES:
        stored = StoredManifest(OCI_MANIFEST, body, 1)
        manifest, digest = read_manifest(body, OCI_MANIFEST), Digest.of_bytes(body)
        made.write(partial(_enter, digest=digest, stored=stored, manifest=manifest))
    return made


@pytest.mark.parametrize(("size", "count"), [(1 << 20, 3), (10, 1)])
def test_the_trash_is_emptied_in_bounded_steps(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch, size: int, count: int
) -> None:
    for body in BODIES:
        digest, stored = Digest.of_bytes(body), StoredManifest(OCI_MANIFEST, body, 1)
        engine.write(partial(_remove, digest=digest, stored=stored))
    monkeypatch.setattr(trash, "_STEP_BYTES_MAX", size)
    clock = Clock()
    holdings = index_holdings(engine, MemoryBlobs(clock), Config(), clock)
    steps = []
    while step := empty_trash(engine, holdings, 10, all_of_it=True):
        steps.append(step)
    assert steps == [count] * (3 // count)


@pytest.mark.parametrize(("size", "count"), [(1 << 20, 3), (10, 1)])
def test_untagged_manifests_are_deleted_in_bounded_steps(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch, size: int, count: int
) -> None:
    digests = [Digest.of_bytes(body) for body in BODIES]
    engine.write(lambda transaction: untagged.note_all(transaction, PLACE, digests))
    monkeypatch.setattr(policies, "read", lambda transaction: StorageSettings(untagged_days=1))
    monkeypatch.setattr(policing, "_STEP_BYTES_MAX", size)
    assert policing.step(engine, 10 * policies.DAY_SECONDS) == count
    with engine.read() as transaction:
        assert len(list(transaction.scan(MANIFESTS_UNTAGGED))) == 3 - count

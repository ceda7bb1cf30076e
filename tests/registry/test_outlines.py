"""Outlines: stored for large manifests, computed for those of older versions, within a budget."""

from __future__ import annotations

import json

import msgspec
import pytest

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import OUTLINES
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import read_manifest
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import manifests, outlines, repositories
from dtrfast.registry.budget import Budget
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.outlines import OutlineBacklog
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author, TargetRepository
from tests.fakes.client import descriptor
from tests.fakes.engine import MemoryEngine

APP = RepositoryName("acme/app")
AUTHOR = Author("owen", 1)
NUMBER = RepositoryId(1)


def image(count: int, **fields: object) -> bytes:
    layers = [descriptor(b"%d" % number, "a/layer") for number in range(count)]
    config = descriptor(b"{}", "application/vnd.oci.image.config.v1+json")
    document = {"schemaVersion": 2, "config": config, "layers": layers, **fields}
    return json.dumps(document).encode()


SMALL, LARGE = image(2), image(40)


@pytest.fixture
def engine() -> MemoryEngine:
    made = MemoryEngine()
    made.write(lambda transaction: repositories.create(transaction, APP, AUTHOR))
    return made


def store(engine: MemoryEngine, body: bytes, media_type: str = OCI_MANIFEST) -> Digest:
    digest = Digest.of_bytes(body)
    manifest = read_manifest(body, media_type)
    stored = StoredManifest(media_type, body, 1)
    place = TargetRepository(NUMBER, APP, AUTHOR)
    engine.write(lambda transaction: manifests.enter(transaction, place, digest, stored, manifest))
    return digest


def rows(engine: MemoryEngine) -> int:
    with engine.read() as transaction:
        return len(list(transaction.scan(OUTLINES)))


def find_outline(
    transaction: ReadTransaction, digest: Digest, budget: Budget
) -> outlines.Outline | None:
    look = outlines.look(transaction, NUMBER, digest, budget)
    assert look is not None
    return look.outline


def test_the_outline_of_a_large_manifest_is_kept_with_it(engine: MemoryEngine) -> None:
    small, large = store(engine, SMALL), store(engine, LARGE)
    assert rows(engine) == 1
    with engine.read() as transaction:
        outline = find_outline(transaction, large, Budget(bytes_left=0))
        assert outline is not None
        assert (outline.kind, outline.count, outline.manifest_size) == ("image", 40, len(LARGE))
        assert outline.sizes_by_blob()[Digest.of_bytes(b"12").key()] == 2
        assert outline.bare_layers()[39].digest == str(Digest.of_bytes(b"39"))
        assert outline == outlines.outline_of(read_manifest(LARGE, OCI_MANIFEST), len(LARGE))
        stored = manifests.stored_manifest(transaction, NUMBER, large)
    assert stored is not None
    place = TargetRepository(NUMBER, APP, AUTHOR)
    engine.write(lambda transaction: manifests.remove(transaction, place, large, stored))
    assert rows(engine) == 0
    with engine.read() as transaction:
        assert outlines.look(transaction, NUMBER, large, Budget()) is None
        assert outlines.look(transaction, NUMBER, small, Budget()) is not None


def test_what_the_budget_does_not_pay_for_is_not_known(engine: MemoryEngine) -> None:
    digest = store(engine, image(2, annotations={"only": "here"}))
    with engine.read() as transaction:
        budget = Budget(bytes_left=10)
        assert find_outline(transaction, digest, budget) is None
        assert budget.is_spent
        assert find_outline(transaction, digest, Budget()) is not None


@pytest.mark.parametrize("version", [None, 99])
def test_the_housekeeper_makes_outlines_of_what_other_versions_stored(
    engine: MemoryEngine, version: int | None
) -> None:
    digests = [store(engine, image(40 + number)) for number in range(3)]
    store(engine, SMALL)
    keys = [b"\0" * 7 + b"\1" + digest.key() for digest in digests]
    if version is None:
        engine.write(lambda transaction: transaction.delete_all(OUTLINES, keys))
    else:
        with engine.read() as transaction:
            data = transaction.get(OUTLINES, keys[0])
        assert data is not None
        other = msgspec.msgpack.encode([version, *msgspec.msgpack.decode(data)[1:]])
        engine.write(lambda transaction: transaction.put(OUTLINES, keys[0], other))
    backlog = OutlineBacklog(engine)
    while backlog.step():
        pass
    with engine.read() as transaction:
        assert all(find_outline(transaction, digest, Budget(bytes_left=0)) for digest in digests)
    assert rows(engine) == 3


def test_an_outline_has_what_fits(engine: MemoryEngine) -> None:
    entries = [descriptor(b"%d" % n, OCI_MANIFEST) for n in range(600)]
    notes = {f"note{n}": "x" for n in range(600)}
    document = {"schemaVersion": 2, "manifests": entries, "annotations": notes}
    manifest = read_manifest(json.dumps(document).encode(), OCI_INDEX)
    outline = outlines.outline_of(manifest, 1)
    assert (len(outline.listed), outline.count) == (500, 600)
    assert len(list(outlines.split(outline.children))) == 600
    assert len(outline.annotations) == 500
    assert not outline.is_whole

"""Dropping links whose grace is over."""

from __future__ import annotations

import logging

import pytest

from dtrfast.errors import BlobUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import LINKS
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.registry import Registry
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine

NAME = RepositoryName("team/app")
DAY_SECONDS = 86_400


def push(registry: Registry, body: bytes) -> Digest:
    upload = registry.uploads.begin(NAME)
    upload.append(body)
    digest = Digest.of_bytes(body)
    registry.uploads.finish(upload, NAME, digest, registry.author())
    return digest


def test_a_link_that_cannot_be_read_does_not_keep_others(
    registry: Registry, engine: MemoryEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    digests = [push(registry, b"%d" % number) for number in range(3)]
    with engine.read() as transaction:
        bad, _ = next(transaction.scan(LINKS))

    def spoil(transaction: WriteTransaction) -> None:
        transaction.put(LINKS, bad, b"no link")

    engine.write(spoil)
    clock.advance(2 * DAY_SECONDS)
    with caplog.at_level(logging.ERROR, "dtrfast.reclaim"):
        assert registry.holdings.drop_unheld(100) == 4, "two links, and two contents"
    assert len(caplog.records) == 1
    for digest in digests:
        if digest.key() not in bad:
            with pytest.raises(BlobUnknown):
                registry.blobs.store.stat(digest)

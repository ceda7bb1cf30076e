"""The housekeeper's first steps clean up after pushes of ended processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.errors import BlobUnknown
from dtrfast.index.tables import BLOBS, CONTENTS_UNLINKED, FILES
from dtrfast.jobs.tasks import housekeeping
from dtrfast.oci.digests import Digest
from dtrfast.store.store import Store
from tests import verifying
from tests.fakes.clock import Clock
from tests.jobs.dying import KINDS, NAME, make_body, open_registry, push
from tests.two_environments import ENGINES

pytestmark = pytest.mark.long

_ROOT = Path(__file__).parents[2]


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of a program that ended between the steps of pushes."""
    program = [sys.executable, "-m", "tests.jobs.dying", request.param, str(tmp_path / "data")]
    ended = subprocess.run(program, cwd=_ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 9, ended.stderr
    config, clock = StoreConfig(upload_expiry_seconds=1), Clock(int(time.time()) + 10)
    engine = ENGINES[request.param]
    store = Store.open(tmp_path / "data", config, open_index=engine, clock=clock)
    yield store
    store.close()


def keep_house(store: Store) -> None:
    """Run the first step of each task, as a housekeeper does at its start."""
    with ExitStack() as stack:
        config = Config(store=StoreConfig(data=store.layout.data))
        for task in housekeeping(store, config, stack):
            task.run()


def digests(name: str) -> list[Digest]:
    return [Digest.of_bytes(make_body(name, kind)) for kind in KINDS]


def is_known(store: Store, digest: Digest) -> bool:
    try:
        return store.blobs.stat(digest).size > 0
    except BlobUnknown:
        return False


def test_content_without_a_link_goes_and_nothing_else_does(store: Store) -> None:
    registry = open_registry(store)
    assert all(is_known(store, one) for one in digests("lost")), "it was placed"
    for kind in KINDS:
        push(registry, make_body("pushed again", kind))
    keep_house(store)
    for name in ("lost", "unsettled"):
        assert not any(is_known(store, one) for one in digests(name)), name
    for name in ("kept", "linked", "pushed again"):
        for kind, digest in zip(KINDS, digests(name), strict=True):
            with registry.blobs.open_range(NAME, digest) as reader:
                found = b"".join(
                    s if isinstance(s, bytes) else os.pread(s.descriptor, s.length, s.offset)
                    for s in reader
                )
            assert found == make_body(name, kind), (name, kind)
    assert verifying.findings(store) == []


def test_no_row_and_no_file_is_left(store: Store) -> None:
    for _ in range(2):  # uploads expire after the first content was freed
        keep_house(store)
    with store.engine.read() as transaction:
        names = {Digest.from_key(key) for key, _ in transaction.scan(BLOBS)}
        listed = list(transaction.scan(CONTENTS_UNLINKED))
        files = {key.hex() for key, _ in transaction.scan(FILES)}
    again = [Digest.of_bytes(make_body("kept", kind), "sha512") for kind in KINDS]
    assert names == {*digests("kept"), *digests("linked"), *again}
    assert listed == []
    assert {path.name for path in store.layout.data.glob("[bp]*/*/*")} == files
    assert os.listdir(store.layout.uploads) == []

"""The assemblies of processes that tests start: the values that DTRFAST_TEST_ASSEMBLY may have.

`tests/conftest.py` sets it to `SCOPED` for every test run, and `make test-blobs` to `FILES`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from dtrfast.config import TEST_ASSEMBLY, Config
from dtrfast.store.blobs import BlobStore
from dtrfast.store.store import Store
from tests.blobs_as_files import FileBlobs
from tests.scoped import install
from tests.two_environments import TwoEnvironments

SCOPED = "tests.assembly:scoped"
FILES = "tests.assembly:files"
TWO_ENVIRONMENTS = "tests.assembly:two_environments"

_ROOT = Path(__file__).parents[1]


def scoped(store: Store, config: Config) -> Store:
    """Hold the process to the rules of the seams."""
    install()
    return store


def files(store: Store, config: Config) -> Store:
    """`scoped`, over the second blob store."""
    store.blobs = FileBlobs(config.store.data / "files", lambda: int(time.time()))
    return scoped(store, config)


def two_environments(store: Store, config: Config) -> Store:
    """`scoped`, over an index whose shared half is in another environment."""
    store.close()
    store = Store.open(config.store.data, config.store, open_index=TwoEnvironments)
    return scoped(store, config)


def variables(name: str) -> dict[str, str]:
    """Return the environment variables of processes with this assembly.

    Workers do not search the folder that their server was started in, so a variable names the
    folder of the tests.
    """
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {TEST_ASSEMBLY: name, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def is_over_files() -> bool:
    """True in a test run over the second blob store."""
    return os.environ.get(TEST_ASSEMBLY) == FILES


def blobs_under_test(usual: BlobStore, folder: Path, clock: Callable[[], int]) -> BlobStore:
    """Return the blob store for a registry in this process.

    That is `usual`, except in a run over the second store.
    """
    return FileBlobs(folder, clock) if is_over_files() else usual

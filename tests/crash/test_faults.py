"""Disks that are full, fail, or do half of a call: none loses anything that was acknowledged."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dtrfast.config import StoreConfig
from dtrfast.store.store import Store
from tests.crash.audit import Audit
from tests.crash.facts import Facts
from tests.crash.recording import build_library

# A nightly run may set more.
_ROUNDS = int(os.environ.get("FAULTS_ROUNDS", "1"))
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Fault:
    """A failing call.

    `error` 0 does half of the call. `count` -1 fails for good. `only` is part of the path.
    """

    call: str
    error: int
    skip_max: int
    count: int = 1
    only: str = ""
    spared: str = ""


FAULTS = {
    "full": Fault("write", errno.ENOSPC, 300, 20),
    "full-for-good": Fault("write", errno.ENOSPC, 300, -1, spared="log/"),
    "full-index": Fault("write", errno.ENOSPC, 200, 3, only="data.mdb"),
    "broken-write": Fault("write", errno.EIO, 300),
    "broken-index-write": Fault("write", errno.EIO, 200, only="data.mdb"),
    "short-write": Fault("write", 0, 50, 300, spared="data.mdb"),
    "broken-read": Fault("read", errno.EIO, 200, 3, spared="data.mdb"),
    "short-read": Fault("read", 0, 20, 500, spared="data.mdb"),
    "failed-sync": Fault("sync", errno.EIO, 60, 2, spared="data.mdb"),
    "failed-write-back": Fault("write-back", errno.EIO, 60),
    "full-in-write-back": Fault("write-back", errno.ENOSPC, 60, 3),
    "no-write-back": Fault("write-back", errno.ENOSYS, 1, -1),
    "failed-index-sync": Fault("sync", errno.EIO, 100, only="data.mdb"),
    "no-inodes": Fault("create", errno.ENOSPC, 40, 10, spared="lock"),
    "no-descriptors": Fault("create", errno.EMFILE, 40, 3),
    "no-unlink": Fault("unlink", errno.EIO, 20, 5),
}


# The kinds that the short suite tries too.
_SHORT = ("full", "failed-sync")


@pytest.fixture(scope="module")
def shim(recorder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes calls fail."""
    return build_library(tmp_path_factory.mktemp("faults") / "faults.so", [_HERE / "faults.c"])


def run_faulty(shim: Path, root: Path, seed: int, fault: Fault, skip: int) -> Facts:
    """Run the workload; returns the facts that its clients were told."""
    facts = root.with_suffix(".facts")
    facts.touch()
    root.mkdir()
    Store.open(root / "data", StoreConfig()).close()  # the store exists before the faults
    environment = os.environ | {
        "LD_PRELOAD": ":".join(p for p in (os.environ.get("LD_PRELOAD"), str(shim)) if p),
        "FAULT_ROOT": str(root / "data"),
        "FAULT_CALL": fault.call,
        "FAULT_ERROR": str(fault.error),
        "FAULT_SKIP": str(skip),
        "FAULT_COUNT": str(fault.count),
        "FAULT_ONLY": fault.only,
        "FAULT_NOT": fault.spared,
        "PYTHONPATH": str(_HERE.parent.parent),
    }
    program = [sys.executable, "-m", "tests.crash.faulty", str(seed), str(root), str(facts)]
    # The program may die of the fault, as a worker does. It may not hang.
    ended = subprocess.run(program, env=environment, capture_output=True, timeout=120, check=False)
    told = Facts(facts.read_text().splitlines())
    if ended.returncode:
        told.tell_of_death()
    return told


def _read_again(data: Path) -> None:
    """Scrub again, now that the disk can be read: this clears marks of damage that were wrong."""
    store = Store.open(data, StoreConfig())
    sum(store.check_contents())
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [kind if kind in _SHORT else pytest.param(kind, marks=pytest.mark.long) for kind in FAULTS],
)
def test_nothing_acknowledged_is_lost(kind: str, shim: Path, tmp_path: Path, seed: int) -> None:
    fault = FAULTS[kind]
    chance = random.Random(f"{seed} {kind}")
    for number in range(_ROUNDS):
        skip = chance.randrange(fault.skip_max)
        root = tmp_path / str(number)
        try:
            told = run_faulty(shim, root, seed + number, fault, skip)
            _read_again(root / "data")
            Audit(root / "data", told, seed + number, None).run()
        except BaseException as error:
            error.add_note(f"POWERCUT_SEED={seed} {kind}: round {number}, after {skip} calls")
            raise

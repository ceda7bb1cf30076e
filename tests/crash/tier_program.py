"""The gzip tier at work beside a server, until it is killed.

Run with a data directory, the name of an engine, a seed, and a file that gets a byte for each layer
that was changed.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from dtrfast.config import StoreConfig
from dtrfast.store.store import Store
from tests import tiering
from tests.two_environments import ENGINES

_PAUSE_SECONDS = 0.05


def main(data: Path, engine: str, seed: str, told: Path) -> None:
    tiering.use_small_limits()
    os.nice(10)
    chance = random.Random(seed)
    store = Store.open(data, StoreConfig(), open_index=ENGINES[engine])
    with told.open("ab", buffering=0) as file:
        while True:
            file.write(b"." * tiering.work(store, chance))
            time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))

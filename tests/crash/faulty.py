"""The workload on a disk that fails: a client gives up a refused push, and starts the next one.

Run with a seed, a root, and a file for the facts.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from dtrfast.config import StoreConfig
from dtrfast.errors import DtrfastError
from dtrfast.jobs.tasks import content_tasks
from dtrfast.registry.registry import Registry
from dtrfast.store import recipes
from dtrfast.store.store import Store
from tests.crash import facts, workload
from tests.crash.workload import CLIENTS, Client


class FaultyClient(Client):
    """A client that goes on after each failure, like one that received a 507 or a 500."""

    def run(self) -> None:
        for image in range(4):
            try:
                digest, names = self._push_image(image)
                if self._chance.random() < 0.5:
                    self._delete_image(digest, names)
            except DtrfastError:
                continue


def _keep_house(store: Store, registry: Registry, stop: threading.Event) -> None:
    tasks = content_tasks(store, registry.holdings)
    while not stop.wait(0.01):
        for task in tasks:
            try:
                task.run()
            except DtrfastError:
                continue


def main(seed: int, root: Path, facts_path: Path) -> None:
    descriptor = os.open(facts_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    monkey = {"mark": lambda text: os.write(descriptor, text.encode() + b"\n")}
    vars(facts).update(monkey)  # no recorder takes the marks here
    recipes.SLICE_PARTS_MAX = 2
    workload.be_on_a_slow_disk()
    store = Store.open(root / "data", StoreConfig())
    registry = workload.open_registry(store, root)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep_house, args=(store, registry, stop), daemon=True)
    clients = [
        threading.Thread(target=FaultyClient(registry, seed, number).run)
        for number in range(CLIENTS)
    ]
    for thread in [keeper, *clients]:
        thread.start()
    for thread in clients:
        thread.join()
    stop.set()
    keeper.join()
    os._exit(0)  # like a killed process: the kernel releases all that it held open


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))

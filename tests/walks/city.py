"""A city: the scene of the walks at the size of a large registry, on a real store.

acme/app has dozens of images of 10,000 layers, and some of 26,000 foreign layers. It also has an
index of 10,000 images, 20,000 tags, hundreds of referrers, and a full trash. The registry has
thousands of users, repositories and sessions, and long logs. Most of it is written through the
domain, because the API would take minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dtrfast.config import Config, StoreConfig
from dtrfast.store.store import Store
from tests.api.managed.town import Town
from tests.fakes.clock import Clock
from tests.fakes.hop import ThreadHop
from tests.walks import citizens, scene, warehouse
from tests.walks.rehearsal import Rehearsal
from tests.walks.scene import Scene


@dataclass(frozen=True, slots=True)
class City:
    """A large scene. `engine` forgets changes once the walk begins. `manifests` were not pushed."""

    scene: Scene
    engine: Rehearsal
    manifests: dict[str, bytes]


@contextmanager
def built(folder: Path) -> Iterator[City]:
    """Yield a city whose data are in `folder`."""
    clock, hop, data = Clock(), ThreadHop(), folder / "data"
    store = Store.open(data, StoreConfig(data=data), clock=clock)
    engine = Rehearsal(store.engine)
    config = Config(store=StoreConfig(data=data))
    with asyncio.Runner() as runner:
        town = Town(engine, store.blobs, clock, hop, runner, config)
        with scene.prepared(town, folder) as small:
            stock = warehouse.fill(town, store.blobs)
            citizens.settle(town)
            citizens.write_logs(data)
            facts = {**small.facts, **stock.facts}
            yield City(replace(small, facts=facts), engine, stock.manifests)
        town.client.close()
    hop.close()
    store.close()

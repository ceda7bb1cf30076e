"""A town for each test, on each implementation of the seams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import World
from tests.api.managed.town import Town


@pytest.fixture
def town(world: World) -> Iterator[Town]:
    town = Town(world.backend.engine, world.backend.blobs, world.clock, world.hop, world.runner)
    yield town
    town.client.close()

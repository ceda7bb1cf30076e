"""A new town for each test. It runs on the fakes, which pass the contracts of the real parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.managed.town import Town, in_memory


@pytest.fixture
def town() -> Iterator[Town]:
    with in_memory() as town:
        yield town

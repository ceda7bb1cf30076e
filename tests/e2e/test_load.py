"""Many clients at once, on a real server with its workers and its housekeeper."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.http_client import connect, digest_of, pieces_of, pull, push, push_image
from tests.e2e.registry import Registry

GZIP = b"\x1f\x8b"


def random_bytes(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.slow
def test_sixty_four_clients_push_and_pull_at_once(own_registry: Registry) -> None:
    def work(number: int) -> None:
        body = (GZIP if number % 2 else b"") + random_bytes(1_500_000 + number, number)
        with connect(own_registry) as client:
            push(client, f"load/{number % 8}", pieces_of(body, 100_000), digest_of(body))
            assert pull(client, f"load/{number % 8}", digest_of(body)) == body

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))


@pytest.mark.slow
@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_fifty_clients_that_push_the_same_layer_store_it_once(
    own_registry: Registry, magic: bytes
) -> None:
    layer = magic + random_bytes(4_000_000, 7)

    def work(number: int) -> str:
        with connect(own_registry) as client:
            return push_image(client, f"job/{number}", "latest", [layer])

    with ThreadPoolExecutor(50) as pool:
        digests = set(pool.map(work, range(50)))
    assert len(digests) == 1
    # The index and 50 manifests. Slow readers on a busy machine delay the reuse of pages.
    assert own_registry.disk_usage() < len(layer) + 8_000_000
    with connect(own_registry) as client:
        assert pull(client, "job/49", digest_of(layer)) == layer


@pytest.mark.slow
def test_a_layer_with_one_file_changed_adds_little(own_registry: Registry) -> None:
    layer = random_bytes(20_000_000, 8)
    changed = layer[:7_000_000] + random_bytes(50_000, 9) + layer[7_040_000:]
    with connect(own_registry) as client:
        push(client, "a/b", layer, digest_of(layer))
        before = own_registry.disk_usage()
        push(client, "a/b", changed, digest_of(changed))
        assert own_registry.disk_usage() - before < 0.05 * len(changed)
        assert pull(client, "a/b", digest_of(changed)) == changed

"""Holdings may answer later. Then the hot lane leaves the request to the application."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import cast

import pytest

from dtrfast._core import parse_head
from dtrfast.api.app import create_app
from dtrfast.api.types import ApiContext
from dtrfast.config import Config
from dtrfast.identity.guard import OpenGuard
from dtrfast.oci.digests import Digest
from dtrfast.registry.holdings import Holdings, Lookup
from dtrfast.registry.permits import EVERYBODY
from dtrfast.registry.registry import Registry
from dtrfast.server.door.hot import HotLane
from dtrfast.server.door.wire import Dates
from dtrfast.store.report import StoreReport
from tests.api.conftest import World
from tests.fakes.client import NAME, Client, image_manifest
from tests.fakes.holdings import LaterHoldings

MANIFEST = str(Digest.of_bytes(image_manifest(b"layer")))
LAYER = str(Digest.of_bytes(b"layer"))
NOTHING = str(Digest.of_bytes(b"nothing has this digest"))
FOUND = [f"manifests/{end}" for end in ("v1", MANIFEST)] + [f"blobs/{LAYER}"]
MISSING = [f"manifests/{end}" for end in ("v2", NOTHING)] + [f"blobs/{NOTHING}"]


@dataclass
class Side:
    """A registry with its two ways of answers: the hot lane and the application."""

    registry: Registry
    hot: HotLane
    client: Client


def side(world: World, registry: Registry) -> Side:
    guard = OpenGuard(registry)
    context = ApiContext(registry, world.hop, Config(), guard, StoreReport(world.backend.engine))
    client = Client(create_app(context), world.runner)
    world.clients.append(client)
    return Side(registry, HotLane(guard, Dates()), client)


@pytest.fixture
def direct(world: World) -> Side:
    """A registry with an image, which answers at once."""
    engine, blobs = world.backend.engine, world.backend.blobs
    registry = Registry(engine, blobs, Config(), clock=world.clock, fullness=lambda: 0.0)
    made = side(world, registry)
    assert made.client.push_image("v1") == MANIFEST
    return made


@pytest.fixture
def holdings(direct: Side) -> LaterHoldings:
    return LaterHoldings(direct.registry.holdings)


@pytest.fixture
def later(world: World, direct: Side, holdings: LaterHoldings) -> Side:
    """The same registry, which answers only later."""
    registry = direct.registry.acting_for(EVERYBODY)
    registry.holdings = cast(Holdings, holdings)
    return side(world, registry.acting_for(EVERYBODY))


def hot_answer(made: Side, method: str, end: str, field: bytes = b"") -> bytes | None:
    line = f"{method} /v2/{NAME}/{end} HTTP/1.1\r\nhost: registry\r\n".encode()
    head = parse_head(line + field + b"\r\n")
    assert head is not None
    return made.hot.answer(head, None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("end", FOUND + MISSING)
def test_the_client_gets_the_answer_of_the_application(
    direct: Side, later: Side, holdings: LaterHoldings, method: str, end: str
) -> None:
    fast = hot_answer(direct, method, end)
    assert fast is not None, "the lane has an answer where there is one at once"
    assert hot_answer(later, method, end) is None
    assert holdings.put_off == 1
    assert holdings.waited == set(), "the event loop does not wait"
    slow = later.client.request(method, f"/v2/{NAME}/{end}")
    assert slow.status_code == (200 if end in FOUND else 404)
    assert slow.status_code == int(fast.split()[1])
    assert fast.partition(b"\r\n\r\n")[2] == slow.content
    plain = direct.client.request(method, f"/v2/{NAME}/{end}")
    assert (slow.headers, slow.content) == (plain.headers, plain.content)
    assert holdings.waited
    assert threading.get_ident() not in holdings.waited


@pytest.mark.parametrize("end", FOUND)
def test_a_client_that_has_the_content_is_told_so(direct: Side, later: Side, end: str) -> None:
    known = f'"{LAYER if end.startswith("blobs") else MANIFEST}"'
    assert hot_answer(direct, "GET", end, f"if-none-match: {known}\r\n".encode()) is not None
    assert hot_answer(later, "GET", end, f"if-none-match: {known}\r\n".encode()) is None
    answer = later.client.get(f"/v2/{NAME}/{end}", headers={"if-none-match": known})
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize("end", FOUND)
def test_what_fails_at_once_is_left_to_the_application(
    direct: Side, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application answers 500 and logs the error. Otherwise the connection would just end."""

    def fail(questions: list[Lookup]) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(direct.registry.holdings, "resolve", fail)
    assert hot_answer(direct, "GET", end) is None


def test_a_push_and_a_mount_need_no_answer_at_once(later: Side, holdings: LaterHoldings) -> None:
    digest = later.client.push_image("v3", layer=b"another layer")
    assert later.client.get(f"/v2/{NAME}/manifests/v3").headers["docker-content-digest"] == digest
    blob = Digest.of_bytes(b"another layer")
    mounted = later.client.post(f"/v2/other/blobs/uploads/?mount={blob}&from={NAME}")
    assert mounted.status_code == 201
    assert later.client.get(f"/v2/other/blobs/{blob}").content == b"another layer"
    assert holdings.put_off == 0

"""A registry with accounts, in one process.

- admin: the system administrator.
- owen: the owner of the organization acme.
- rita: in acme's team readers, which is read-only on acme/app.
- will: in acme's team writers, which is read-write on acme/app.
- ada: in acme's team admins, which is admin on acme/app.
- nora: in no organization.
- acme: has the repositories acme/app and acme/secret (private), and acme/open (public).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import httpx

from dtrfast.api.app import create_app
from dtrfast.api.types import ApiContext
from dtrfast.config import Config
from dtrfast.console.routes import console_routes
from dtrfast.identity import accounts
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.events import Event
from dtrfast.identity.identity import Identity
from dtrfast.identity.names import AccountName
from dtrfast.identity.passwords import hash_password
from dtrfast.identity.tries import SIZE, Tries
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import read_manifest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import manifests, repositories, tags
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.registry import Registry
from dtrfast.registry.writing import Author, TargetRepository
from dtrfast.store.blobs import BlobStore
from dtrfast.store.report import StoreReport
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import Client, image_manifest
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine, Snapshot
from tests.fakes.hop import ThreadHop

PASSWORD = "correct horse battery"
PEOPLE = ("owen", "rita", "will", "ada", "nora")
TEAMS = {
    "readers": ("rita", "read-only"),
    "writers": ("will", "read-write"),
    "admins": ("ada", "admin"),
}
_HASH = hash_password(PASSWORD)


@dataclass
class KeptEvents:
    """Events in a list."""

    all: list[Event] = field(default_factory=list)
    by_admin: list[Event] = field(default_factory=list)

    def add(self, event: Event, *, by_admin: bool = False) -> None:
        self.all.append(event)
        if by_admin:
            self.by_admin.append(event)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.all if event.kind == kind]


class Town:
    """The registry with its accounts, and a client for each of them."""

    def __init__(
        self,
        engine: Engine,
        blobs: BlobStore,
        clock: Clock,
        hop: ThreadHop,
        runner: asyncio.Runner,
        config: Config | None = None,
        *,
        local: Engine | None = None,
        is_founded: bool = False,
    ) -> None:
        """Make the town.

        `local` has the store's tables, if `engine` does not. With `is_founded` the engine and the
        blobs already have the accounts and the organization.
        """
        config = config or Config()
        self.engine = engine
        self.blobs = blobs
        self.clock = clock
        self.events = KeptEvents()
        self.registry = Registry(engine, blobs, config, clock=clock, fullness=lambda: 0.5)
        self.identity = Identity.open(
            engine, self.registry, config, clock, Tries(bytearray(SIZE), clock), self.events
        )
        report = StoreReport(local or engine)
        context = ApiContext(self.registry, hop, config, self.identity.guard, report, self.identity)
        pages = console_routes(context, self.identity)
        self.client = Client(create_app(context, pages), runner)
        if not is_founded:
            self.add_users("admin", *PEOPLE)
            self._organization()

    def add_users(self, *names: str) -> None:
        """Make users whose password is `PASSWORD`. `admin` becomes a system administrator."""
        self.engine.write(partial(self._add_users, names=names))

    def _add_users(self, transaction: WriteTransaction, names: Iterable[str]) -> None:
        author = Author("system", self.clock())
        for name in names:
            new = NewAccount(AccountName(name), is_admin=name == "admin")
            account = accounts.create(transaction, author, new)
            accounts.remember_password(transaction, account, _HASH, self.clock())

    def _organization(self) -> None:
        self.api("admin", "POST", "accounts", {"name": "acme", "type": "organization"}, 201)
        self.api("admin", "PUT", "accounts/acme/teams/owners/members/owen")
        self.api("admin", "DELETE", "accounts/acme/teams/owners/members/admin", status=204)
        for name, visibility in (("app", "private"), ("secret", "private"), ("open", "public")):
            body = {"name": name, "visibility": visibility}
            self.api("owen", "POST", "repositories/acme", body, 201)
            self.push(f"acme/{name}", name.encode())
        for team, (member, level) in TEAMS.items():
            self.api("owen", "POST", "accounts/acme/teams", {"name": team}, 201)
            self.api("owen", "PUT", f"accounts/acme/teams/{team}/members/{member}")
            body = {"accessLevel": level}
            self.api("owen", "PUT", f"repositories/acme/app/teamAccess/{team}", body)

    def push(self, repository: str, layer: bytes, who: str = "owen", tag: str = "v1") -> str:
        """Push an image of one layer; returns the layer's digest."""
        headers = basic(who)
        post = self.client.post(f"/v2/{repository}/blobs/uploads/", headers=headers)
        assert post.status_code == 202, post.text
        manifest = image_manifest(layer)
        digests = [entry["digest"] for entry in _blobs_of(manifest)]
        for digest, content in zip(digests, (b"{}", layer), strict=True):
            url = f"/v2/{repository}/blobs/uploads/?digest={digest}"
            assert self.client.post(url, headers=headers, content=content).status_code == 201
        put = self.client.put(
            f"/v2/{repository}/manifests/{tag}",
            headers={**headers, "content-type": "application/vnd.oci.image.manifest.v1+json"},
            content=manifest,
        )
        assert put.status_code == 201, put.text
        return str(digests[1])

    def keep_manifest(self, tag: str, body: bytes, media_type: str) -> str:
        """Store a manifest in acme/app with an old version's checks only; returns its digest."""
        name, digest = RepositoryName("acme/app"), Digest.of_bytes(body)

        def change(transaction: WriteTransaction) -> None:
            author = Author("owen", self.clock())
            place = TargetRepository(repositories.get(transaction, name), name, author)
            stored = StoredManifest(media_type, body, author.now)
            manifest = read_manifest(body, media_type)
            manifests.enter(transaction, place, digest, stored, manifest)
            tags.put(transaction, place, Tag(tag), digest)

        self.engine.write(change)
        return str(digest)

    def api(
        self,
        who: str,
        method: str,
        path: str,
        body: object = None,
        status: int | None = 200,
        **options: Any,
    ) -> Any:
        """Send a request to the management API as this user, and check the answer's status."""
        response = self.ask(who, method, path, body, **options)
        assert status in (None, response.status_code), response.text
        return response.json() if response.content else None

    def ask(
        self, who: str, method: str, path: str, body: object = None, **options: Any
    ) -> httpx.Response:
        headers = {**basic(who), **options.pop("headers", {})}
        if body is not None:
            options["json"] = body
        answer = self.client.request(method, f"/api/v0/{path}", headers=headers, **options)
        self.client.forget_cookies()
        return answer

    def token(self, who: str, *scopes: str, password: str = PASSWORD) -> str:
        """Return an access token of the token service for some scopes."""
        response = self.ask_token(who, *scopes, password=password)
        assert response.status_code == 200, response.text
        return str(response.json()["token"])

    def ask_token(self, who: str, *scopes: str, password: str = PASSWORD) -> httpx.Response:
        return self.client.get(
            "/auth/token",
            params={"service": "dtrfast", "scope": list(scopes)},
            headers=basic(who, password),
        )

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return self.client.get(path, headers=headers)


@dataclass(frozen=True)
class _Founding:
    """The state of a new town, kept because founding one takes about sixty requests."""

    index: Snapshot
    contents: dict[Digest, bytes]
    events: KeptEvents


@contextmanager
def in_memory(clock: Clock | None = None, config: Config | None = None) -> Iterator[Town]:
    """Yield a town on the fakes.

    With the default clock and configuration it starts as a copy of a founded town.
    """
    founding = _founding() if clock is None and config is None else None
    with _built(clock or Clock(), config, founding) as (town, _):
        yield town


@cache
def _founding() -> _Founding:
    with _built(Clock(), None, None) as (town, blobs):
        assert isinstance(town.engine, MemoryEngine)
        return _Founding(town.engine.snapshot(), blobs.contents, town.events)


@contextmanager
def _built(
    clock: Clock, config: Config | None, founding: _Founding | None
) -> Iterator[tuple[Town, MemoryBlobs]]:
    hop, engine = ThreadHop(), MemoryEngine()
    blobs = MemoryBlobs(clock)
    if founding is not None:
        engine.restore(founding.index)
        blobs.contents.update(founding.contents)
    with asyncio.Runner() as runner:
        town = Town(engine, blobs, clock, hop, runner, config, is_founded=founding is not None)
        if founding is not None:
            town.events.all += founding.events.all
            town.events.by_admin += founding.events.by_admin
        yield town, blobs
        town.client.close()
    hop.close()


def basic(who: str, password: str = PASSWORD) -> dict[str, str]:
    """Return the Authorization header of a user; none for an empty name."""
    if not who:
        return {}
    text = f"{who}:{password}".encode()
    return {"authorization": "Basic " + base64.b64encode(text).decode()}


def session_cookie(answer: httpx.Response) -> str:
    """Return the Set-Cookie header of the session, which is the last one of a sign-in."""
    return str(answer.headers.get_list("set-cookie")[-1])


def granted(token: str) -> dict[str, list[str]]:
    """Return the actions that a token grants, by repository."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {entry["name"]: entry["actions"] for entry in claims["access"]}


def _blobs_of(manifest: bytes) -> list[dict[str, str]]:
    document = json.loads(manifest)
    return [document["config"], *document["layers"]]

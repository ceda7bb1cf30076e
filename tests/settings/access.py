"""Proofs of the settings of access, and of the server's of accounts."""

from __future__ import annotations

from dtrfast.config import AuthConfig, Config
from tests.api.managed.town import Town, basic, in_memory
from tests.settings.application import open_application
from tests.settings.proof import Bench, proves


def _town(bench: Bench, **fields: object) -> Town:
    town = bench.stack.enter_context(in_memory())
    town.api("admin", "PUT", "admin/settings/access", fields)
    return town


@proves("access.createOnPush", (True, 202), (False, 403))
def creates_on_push(bench: Bench, value: object) -> object:
    town = _town(bench, createOnPush=value)
    return town.client.post("/v2/nora/new/blobs/uploads/", headers=basic("nora")).status_code


@proves("access.createNamespaceOnPush", (True, 202), (False, 403))
def creates_namespaces_on_push(bench: Bench, value: object) -> object:
    town = _town(bench, createNamespaceOnPush=value)
    return town.client.post("/v2/acne/app/blobs/uploads/", headers=basic("admin")).status_code


@proves("access.publicOnPush", (True, 200), (False, 401))
def makes_public(bench: Bench, value: object) -> object:
    town = _town(bench, publicOnPush=value)
    town.push("nora/new", b"layer", who="nora")
    return town.client.get("/v2/nora/new/manifests/v1").status_code


@proves("access.tokenDaysDefault", (1, 401), (2, 200))
def tokens_expire(bench: Bench, value: object) -> object:
    """After a day and a half a token for one day has expired, and one for two days has not."""
    town = _town(bench, tokenDaysDefault=value)
    made = town.api("nora", "POST", "accounts/nora/tokens", {"name": "ci"}, 201)
    town.clock.now += 3 * 43_200
    answer = town.client.get("/v2/", headers=basic("nora", made["token"]))
    return answer.status_code


@proves("auth.token_seconds", (60, 60), (900, 900))
def tokens_of_clients_expire(bench: Bench, value: object) -> object:
    config = Config(auth=AuthConfig(token_seconds=value))  # type: ignore[arg-type]
    town = bench.stack.enter_context(in_memory(config=config))
    return town.ask_token("nora", "repository:nora/app:pull").json()["expires_in"]


@proves("auth.mode", ("managed", 401), ("none", 200))
def requires_a_sign_in(bench: Bench, value: object) -> object:
    config = Config(auth=AuthConfig(mode=value))  # type: ignore[arg-type]
    return open_application(bench, config).get("/v2/").status_code

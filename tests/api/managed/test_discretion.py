"""Only administrators and the user see that an account is inactive or a system administrator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.api.managed.town import PASSWORD, Town, basic

FIELDS = {"isActive", "isAdmin"}


def people_in(found: Any) -> Iterator[dict[str, Any]]:
    """Yield all accounts of users in an answer."""
    if isinstance(found, dict):
        if found.get("type") == "user":
            yield found
        for inner in found.values():
            yield from people_in(inner)
    elif isinstance(found, list):
        for inner in found:
            yield from people_in(inner)


def prepare(town: Town) -> None:
    """Make the administrator and an inactive user members like any other."""
    town.api("owen", "PUT", "accounts/acme/teams/readers/members/admin")
    town.add_users("zoe")
    town.api("owen", "PUT", "accounts/acme/teams/readers/members/zoe")
    for user in ("zoe", "admin"):
        grant = {"accessLevel": "read-only"}
        town.api("ada", "PUT", f"repositories/acme/app/userAccess/{user}", grant)
    town.api("admin", "PUT", "accounts/zoe/deactivate")


def test_views_of_accounts_do_not_tell_others(town: Town) -> None:
    prepare(town)
    for path in (
        "accounts",
        "accounts/admin",
        "accounts/zoe",
        "accounts/acme/members",
        "accounts/acme/members/admin",
        "accounts/acme/teams/readers/members",
        "accounts/acme/teams/readers/members/zoe",
        "repositories/acme/app/userAccess",
        "accounts/admin/repositoryAccess/acme/app",
        "index/search?query=",
    ):
        told = {
            user["name"]: set(user) & FIELDS for user in people_in(town.api("ada", "GET", path))
        }
        assert told.pop("ada", FIELDS) == FIELDS, path
        assert set(map(frozenset, told.values())) == {frozenset()}, path
    known = {a["name"]: a for a in people_in(town.api("admin", "GET", "accounts"))}
    assert (known["zoe"]["isActive"], known["admin"]["isAdmin"]) == (False, True)
    assert town.api("ada", "GET", "sessions/current")["account"]["isAdmin"] is False
    form = {"username": "ada", "password": PASSWORD}
    assert town.api("", "POST", "sessions", form, 201)["account"]["isActive"] is True


def test_a_level_does_not_tell_either(town: Town) -> None:
    """The API shows the granted level, also of users who are inactive or administrators."""
    prepare(town)
    for user in ("zoe", "admin", "rita"):
        path = f"accounts/{user}/repositoryAccess/acme/app"
        assert town.api("ada", "GET", path)["accessLevel"] == "read-only", user
    levels = {
        user: town.api("admin", "GET", f"accounts/{user}/repositoryAccess/acme/app")["accessLevel"]
        for user in ("zoe", "admin")
    }
    assert levels == {"zoe": "none", "admin": "admin"}


def test_an_inactive_user_is_refused_as_a_wrong_password_and_a_revoked_token(town: Town) -> None:
    token = town.api("will", "POST", "accounts/will/tokens", {"name": "ci"}, 201)["token"]
    passes = {"will": PASSWORD, "rita": "a wrong password"}
    bearers = {name: town.token(name, "repository:acme/app:pull") for name in ("will", "rita")}
    revoked = town.api("rita", "POST", "accounts/rita/tokens", {"name": "ci"}, 201)["token"]
    of_tokens = [town.token("will", password=token), town.token("rita", password=revoked)]
    town.api("rita", "DELETE", "accounts/rita/tokens/ci", status=204)
    town.api("admin", "PUT", "accounts/will/deactivate")
    changed = {"oldPassword": PASSWORD, "newPassword": "another battery staple"}
    town.api("rita", "POST", "accounts/rita/changePassword", changed)

    def refusal_of(headers: dict[str, str], path: str) -> str:
        answer = town.client.get(path, headers=headers)
        assert answer.status_code == 401
        return f"{answer.text}{answer.headers.get('www-authenticate', '')}"

    for path in ("/v2/acme/app/manifests/v1", "/auth/token", "/api/v0/accounts"):
        assert len({refusal_of(basic(name, secret), path) for name, secret in passes.items()}) == 1
        secrets = {"will": token, "rita": revoked}
        assert len({refusal_of(basic(name, secret), path) for name, secret in secrets.items()}) == 1
    path = "/v2/acme/app/manifests/v1"
    for pair in ([*bearers.values()], of_tokens):
        assert len({refusal_of({"authorization": f"Bearer {one}"}, path) for one in pair}) == 1

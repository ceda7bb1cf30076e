"""A name that was given up and taken again carries no right of its predecessor's."""

from __future__ import annotations

import msgspec
import pytest

from dtrfast.identity.sign_in import PASSWORD_SECONDS
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import GRANTS, REPOSITORIES_TRASHED, TRUSTS, number_key
from dtrfast.registry import ownership, removal
from tests.api.managed.test_trash import rows
from tests.api.managed.town import Town, basic

SECRET = "repositories/acme/secret"
ISSUER = {"name": "ci", "url": "https://ci.example", "audience": "registry.example"}


def delete_organization(town: Town) -> str:
    """Delete acme with its repositories; returns the id of acme/secret in the trash."""
    for name in ("app", "open", "secret"):
        town.api("owen", "DELETE", f"repositories/acme/{name}", status=204)
    town.api("admin", "DELETE", "accounts/acme", status=204)
    (gone,) = (one for one in trash(town, "admin") if one["name"] == "secret")
    return str(gone["id"])


def make_organization(town: Town, owner: str = "nora") -> None:
    town.api("admin", "POST", "accounts", {"name": "acme", "type": "organization"}, 201)
    town.api("admin", "PUT", f"accounts/acme/teams/owners/members/{owner}")


def trash(town: Town, who: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = town.api(who, "GET", "trash")["repositories"]
    return found


def pull(town: Town, who: str, repository: str = "acme/secret") -> int:
    path = f"/v2/{repository}/manifests/v1"
    return town.client.get(path, headers=basic(who)).status_code


# ---- trash -------------------------------------------------------------------------------------
def test_the_next_owners_of_a_name_have_no_right_to_its_trash(town: Town) -> None:
    number = delete_organization(town)
    make_organization(town)
    assert trash(town, "nora") == []
    town.api("nora", "POST", f"trash/{number}/restore", {}, 404)
    town.api("nora", "POST", f"trash/{number}/restore", {"name": "nora/mine"}, 404)
    assert pull(town, "nora") == 404


def test_the_next_user_of_a_name_has_no_right_to_its_trash(town: Town) -> None:
    town.push("nora/app", b"nora's", who="nora")
    town.api("nora", "DELETE", "repositories/nora/app", status=204)
    number = trash(town, "nora")[0]["id"]
    town.api("admin", "DELETE", "accounts/nora", status=204)
    town.clock.advance(PASSWORD_SECONDS)
    town.add_users("nora")
    assert trash(town, "nora") == []
    town.api("nora", "POST", f"trash/{number}/restore", {}, 404)


def test_administrators_restore_the_trash_of_a_deleted_account(town: Town) -> None:
    number = delete_organization(town)
    assert {one["name"] for one in trash(town, "admin")} == {"app", "open", "secret"}
    town.api("admin", "POST", f"trash/{number}/restore", {"name": "nora/secret"})
    assert pull(town, "nora", "nora/secret") == 200
    assert trash(town, "owen") == [], "the organization that owen owned is gone"


def test_a_repository_that_gets_another_owner_loses_its_grants_and_trusts(town: Town) -> None:
    town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [ISSUER]})
    town.api("owen", "PUT", f"{SECRET}/trusts/main", {"issuer": "ci", "claims": {"sub": "x"}})
    town.api("owen", "PUT", f"{SECRET}/userAccess/rita", {"accessLevel": "read-write"})
    number = delete_organization(town)
    make_organization(town)
    town.api("admin", "POST", f"trash/{number}/restore", {})
    assert pull(town, "nora") == 200
    assert pull(town, "rita") == 404
    assert rows(town, TRUSTS) == rows(town, GRANTS) == 0


def test_a_repository_that_comes_back_to_its_owner_keeps_grants_under_another_name(
    town: Town,
) -> None:
    town.api("owen", "PUT", f"{SECRET}/userAccess/rita", {"accessLevel": "read-only"})
    town.api("owen", "DELETE", SECRET, status=204)
    (gone,) = trash(town, "owen")
    town.api("owen", "POST", f"trash/{gone['id']}/restore", {"name": "acme/kept"})
    assert pull(town, "rita", "acme/kept") == 200


def test_trash_of_a_name_of_the_registry_itself_is_not_for_a_later_account(town: Town) -> None:
    town.push("tools/hammer", b"hammer", who="admin")
    town.api("admin", "DELETE", "repositories/tools/hammer", status=204)
    town.add_users("tools")
    assert trash(town, "tools") == []
    assert [one["name"] for one in trash(town, "admin")] == ["hammer"]


@pytest.mark.parametrize(("seconds", "seen"), [(0, 0), (60, 1)])
def test_trash_without_an_id_is_for_an_account_that_is_older(
    town: Town, seconds: int, seen: int
) -> None:
    """Records of an older version have the name alone."""
    town.add_users("zoe")
    town.clock.advance(seconds)
    town.push("zoe/app", b"zoe's", who="zoe")
    town.api("zoe", "DELETE", "repositories/zoe/app", status=204)
    number = int(trash(town, "zoe")[0]["id"])

    def forget(transaction: WriteTransaction) -> None:
        key = number_key(number)
        kept = msgspec.msgpack.decode(transaction.get(REPOSITORIES_TRASHED, key) or b"")
        transaction.put(REPOSITORIES_TRASHED, key, msgspec.msgpack.encode(kept[:-1]))

    town.engine.write(forget)
    with town.engine.read() as transaction:
        assert removal.find_trashed(transaction, number).owner == ownership.UNKNOWN
    assert len(trash(town, "zoe")) == seen
    assert len(trash(town, "admin")) == 1

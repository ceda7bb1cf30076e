"""The kinds of callers that the registry tells apart: one credential of each.

Tokens have the widest scopes and the most powerful owners, so that a cell of the table shows the
most that the kind can do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dtrfast.identity import scopes, trusts
from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.identity.callers import Caller, JobIdentity
from dtrfast.identity.oidc import identity_of
from dtrfast.oci.names import RepositoryName
from tests.api.managed.town import PASSWORD, Town, basic, session_cookie
from tests.walks.scene import Scene

# Columns of the table whose callers sign in with a password, and their accounts.
_PEOPLE = {
    "stranger": "nora",
    "member": "member",
    "reader": "reader",
    "writer": "writer",
    "keeper": "keeper",
    "manager": "manager",
    "owner": "owen",
    "system": "admin",
}
# Columns whose callers have a credential for repositories only.
BOUNDED = ("scoped", "deputy", "robot", "job", "bearer")
COLUMNS = ("anon", *_PEOPLE, *BOUNDED)
_WIDEST = ("repository:acme/app:*", "repository:acme/open:*", "registry:catalog:*")
_SCOPES = [{"repository": "acme/*", "actions": ["*"]}]
_JOB = "ci:job"


@dataclass(frozen=True, slots=True)
class Credential:
    """Headers that prove a caller. `account` is the user whose rights it has; empty for none."""

    account: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def credentials_of(scene: Scene) -> dict[str, Credential]:
    """Return a credential for each column of the table, by the column's name."""
    town = scene.town
    people = {kind: Credential(name, basic(name)) for kind, name in _PEOPLE.items()}
    return {
        "anon": Credential(),
        **people,
        "scoped": Credential("admin", _bearer(_scoped_token(town, "admin"))),
        "deputy": Credential("owen", _bearer(_scoped_token(town, "owen"))),
        "robot": Credential("", basic("acme+all", _robot_token(town))),
        "job": Credential("", _bearer(_job_token(scene))),
        "bearer": Credential("admin", _bearer(town.token("admin", *_WIDEST))),
    }


def former(scene: Scene) -> Credential:
    """A personal token of an administrator whose account was deactivated afterwards."""
    return Credential("former", _bearer(scene.facts["token_of_former"]))


def forged(scene: Scene) -> Credential:
    """The session of an administrator without its CSRF token, as another site would use it."""
    client = scene.town.client
    form = {"username": "admin", "password": PASSWORD}
    answer = client.post("/api/v0/sessions", json=form)
    assert answer.status_code == 201, answer.text
    client.forget_cookies()
    return Credential("admin", {"cookie": session_cookie(answer).partition(";")[0]})


def _job_token(scene: Scene) -> str:
    """Return the access token of a job that acme/app trusts with the widest possible trust."""
    identity = scene.town.identity
    name, claims = RepositoryName("acme/app"), {"sub": "job"}
    with identity.engine.read() as transaction:
        issuer = trusts.known_issuers(transaction).issuers[0]
        found = trusts.letting_in(transaction, name, issuer, claims)
        known = JobIdentity(identity_of(issuer), identity_of(issuer, "job"), claims)
        pairs = tuple((repository, trust.id) for repository, trust in found)
        caller = Caller("job", _JOB, "token", job=known, trusts=pairs)
    granted = scopes.grant(identity.engine, CallerPermits(caller), scopes.parse(_WIDEST))
    return identity.bearers.issue(caller, granted).text


def _scoped_token(town: Town, user: str) -> str:
    body = {"name": "scoped", "scopes": _SCOPES}
    return str(town.api(user, "POST", f"accounts/{user}/tokens", body, 201)["token"])


def _robot_token(town: Town) -> str:
    body = {"name": "all", "scopes": _SCOPES}
    return str(town.api("owen", "POST", "accounts/acme/robots", body, 201)["token"])


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}

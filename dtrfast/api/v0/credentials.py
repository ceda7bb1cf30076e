"""Operations on personal tokens, robots, and trusts of repositories in jobs."""

from __future__ import annotations

from typing import Literal

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import WholeQuery
from dtrfast.api.v0.operation import REPOSITORY, ApiCall, Operations
from dtrfast.errors import AccountInvalid, FieldProblem
from dtrfast.identity import tokens
from dtrfast.identity.credential_management import CredentialManagement, NewCredential
from dtrfast.identity.oidc import Trust
from dtrfast.identity.records import Bound, TokenKind
from dtrfast.identity.repository_trusts import RepositoryTrusts

operations = Operations("credentials")

_TRUSTS = f"{REPOSITORY}/trusts"


class CredentialsQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    """Credentials without a time in a column (never used, never expire) sort as the earliest."""

    sort: Literal[
        "created", "-created", "name", "-name", "expires", "-expires", "used", "-used"
    ] = "created"


def _page(call: ApiCall, query: CredentialsQuery, kind: TokenKind) -> objects.Credentials:
    page = call.use(CredentialManagement).page(kind, call.path["name"], query.request)
    return views.page(objects.Credentials, page, "credentials", views.credential)


def _create(call: ApiCall, body: objects.NewCredential, kind: TokenKind) -> objects.Credential:
    bounds = tuple(_bound(number, scope) for number, scope in enumerate(body.scopes))
    new = NewCredential(body.name, bounds, views.given(body.expires_in_days))
    owner = call.path["name"]
    made = views.credential(call.use(CredentialManagement).create(kind, owner, new))
    call.note(f"{_EVENTS[kind]}.create", owner, {"name": made.name, "id": made.id})
    return made


def _bound(number: int, scope: objects.Scope) -> Bound:
    try:
        return tokens.parse_bound(scope.repository, scope.actions)
    except AccountInvalid as error:
        raise AccountInvalid.of([FieldProblem(f"scopes[{number}]", error.message)]) from error


def _revoke(call: ApiCall, kind: TokenKind, name: str) -> None:
    owner = call.path["name"]
    call.use(CredentialManagement).revoke(kind, owner, name)
    call.note(f"{_EVENTS[kind]}.delete", owner, {"name": name})


_EVENTS: dict[TokenKind, str] = {"personal": "token", "robot": "robot"}


# ---- personal tokens -------------------------------------------------------------------------
@operations.add("GET", "/accounts/{name}/tokens")
def list_tokens(call: ApiCall, query: CredentialsQuery) -> objects.Credentials:
    """List a user's personal tokens."""
    return _page(call, query, "personal")


@operations.add("POST", "/accounts/{name}/tokens", status=201, refusals=(409,))
def create_token(call: ApiCall, body: objects.NewCredential) -> objects.Credential:
    """Create a personal token. Without scopes it has the rights of its user."""
    return _create(call, body, "personal")


@operations.add("DELETE", "/accounts/{name}/tokens/{token}", refusals=(409,))
def delete_token(call: ApiCall) -> None:
    """Revoke a personal token, by its name or its id."""
    _revoke(call, "personal", call.path["token"])


# ---- robots ----------------------------------------------------------------------------------
@operations.add("GET", "/accounts/{name}/robots")
def list_robots(call: ApiCall, query: CredentialsQuery) -> objects.Credentials:
    """List an organization's robots."""
    return _page(call, query, "robot")


@operations.add("POST", "/accounts/{name}/robots", status=201, refusals=(409,))
def create_robot(call: ApiCall, body: objects.NewCredential) -> objects.Credential:
    """Create a robot. Its scopes are its rights in the organization's repositories."""
    return _create(call, body, "robot")


@operations.add("DELETE", "/accounts/{name}/robots/{robot}", refusals=(409,))
def delete_robot(call: ApiCall) -> None:
    """Revoke a robot, by its name or its id."""
    _revoke(call, "robot", call.path["robot"])


# ---- jobs ------------------------------------------------------------------------------------
class TrustsQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    sort: Literal["name", "-name"] = "name"


@operations.add("GET", _TRUSTS)
def list_trusts(call: ApiCall, query: TrustsQuery) -> objects.Trusts:
    """List the jobs that may use a repository without a secret."""
    page = call.use(RepositoryTrusts).page(call.repository, query.request)
    return views.page(
        objects.Trusts, page, "trusts", lambda one: views.show(objects.Trust, one.trust, one)
    )


@operations.add("PUT", f"{_TRUSTS}/{{trust}}")
def put_trust(call: ApiCall, body: objects.NewTrust) -> objects.Trust:
    """Let jobs of an issuer use a repository."""
    actions = tuple(dict.fromkeys(body.actions))
    trust = views.parse(Trust, body, name=call.path["trust"], actions=actions)
    name = call.repository
    call.use(RepositoryTrusts).put(name, trust)
    call.note("trust.set", name.text, {"name": trust.name, "issuer": trust.issuer})
    return views.show(objects.Trust, trust)


@operations.add("DELETE", f"{_TRUSTS}/{{trust}}")
def delete_trust(call: ApiCall) -> None:
    """End the trust in jobs."""
    name = call.repository
    call.use(RepositoryTrusts).remove(name, call.path["trust"])
    call.note("trust.remove", name.text, {"name": call.path["trust"]})

"""Personal tokens, robots, and the trusts of repositories in jobs."""

from __future__ import annotations

from typing import Literal

import msgspec

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import Columns, WholeQuery, whole
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.api.v0.repositories import require
from dtrfast.errors import AccountInvalid
from dtrfast.identity import accounts, oidc, settings, tokens, trusts
from dtrfast.identity.records import Account, Bound, TokenKind
from dtrfast.identity.tokens import NewToken
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.registry import repositories
from dtrfast.registry.permits import Action

operations = Operations("credentials")

_DAY_SECONDS = 86_400
_TRUSTS = "/repositories/{namespace}/{repository}/trusts"


def _new(call: ApiCall, kind: TokenKind, bounds: list[Bound]) -> NewToken:
    body: objects.NewCredential = call.body
    with call.identity.engine.read() as transaction:
        days = settings.read(transaction).token_days_default
    if body.expires_in_days is not msgspec.UNSET:
        days = body.expires_in_days
    expires_at = call.identity.clock() + days * _DAY_SECONDS if days else 0
    return NewToken.make(kind, body.name, bounds, expires_at)


def _create(
    transaction: WriteTransaction, call: ApiCall, owner: Account, new: NewToken
) -> objects.Credential:
    made = tokens.create(transaction, call.author, owner, new)
    return views.credential(transaction, owner, made, new.text)


class CredentialsQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    """What has no time in a column (never used, never expires) is sorted as the earliest."""

    sort: Literal[
        "created", "-created", "name", "-name", "expires", "-expires", "used", "-used"
    ] = "created"


_COLUMNS: Columns[objects.Credential] = {
    "name": lambda one: one.name,
    "created": lambda one: one.created_at,
    "expires": lambda one: one.expires_at,
    "used": lambda one: one.last_used_at,
}


def _list(
    transaction: ReadTransaction, owner: Account, kind: TokenKind, query: CredentialsQuery
) -> objects.Credentials:
    found = tokens.of_account(transaction, owner.id, kind)
    shown = (views.credential(transaction, owner, token) for token in found)
    page, more = whole(shown, query, _COLUMNS)
    return objects.Credentials(credentials=page, next_page_start=more)


# ---- personal tokens -------------------------------------------------------------------------
@operations.add(
    "GET",
    "/accounts/{name}/tokens",
    answer=objects.Credentials,
    query=CredentialsQuery,
    refusals=(404,),
)
def list_tokens(call: ApiCall) -> objects.Credentials:
    """List a user's personal tokens."""
    with call.identity.engine.read() as transaction:
        user = accounts.get(transaction, call.path["name"], "user")
        call.require_self(transaction, user)
        return _list(transaction, user, "personal", call.query)


@operations.add(
    "POST",
    "/accounts/{name}/tokens",
    answer=objects.Credential,
    status=201,
    body=objects.NewCredential,
    refusals=(400, 404, 409),
)
def create_token(call: ApiCall) -> objects.Credential:
    """Make a personal token. Without scopes it may do what its user may."""
    bounds = [tokens.parse_bound(s.repository, s.actions) for s in call.body.scopes]
    new = _new(call, "personal", bounds)

    def change(transaction: WriteTransaction) -> objects.Credential:
        user = accounts.get(transaction, call.path["name"], "user")
        call.require_self(transaction, user)
        return _create(transaction, call, user, new)

    made = call.identity.engine.write(change)
    call.note("token.create", call.path["name"], detail={"name": made.name, "id": made.id})
    return made


@operations.add("DELETE", "/accounts/{name}/tokens/{token}", refusals=(404, 409))
def delete_token(call: ApiCall) -> None:
    """Revoke a personal token, by its name or its id."""

    def change(transaction: WriteTransaction) -> None:
        user = accounts.get(transaction, call.path["name"], "user")
        call.require_self(transaction, user)
        token = tokens.get(transaction, user, "personal", call.path["token"])
        tokens.remove(transaction, call.author, token)

    call.identity.engine.write(change)
    call.note("token.delete", call.path["name"], detail={"name": call.path["token"]})


# ---- robots ----------------------------------------------------------------------------------
@operations.add(
    "GET",
    "/accounts/{name}/robots",
    answer=objects.Credentials,
    query=CredentialsQuery,
    refusals=(404,),
)
def list_robots(call: ApiCall) -> objects.Credentials:
    """List an organization's robots."""
    with call.identity.engine.read() as transaction:
        organization = accounts.get(transaction, call.path["name"], "organization")
        call.require_owner(transaction, organization)
        return _list(transaction, organization, "robot", call.query)


@operations.add(
    "POST",
    "/accounts/{name}/robots",
    answer=objects.Credential,
    status=201,
    body=objects.NewCredential,
    refusals=(400, 404, 409),
)
def create_robot(call: ApiCall) -> objects.Credential:
    """Make a robot, which may do what its scopes say in its organization's repositories."""
    owner_name = call.path["name"]
    bounds = [_robot_bound(owner_name, scope) for scope in call.body.scopes]
    if not bounds:
        raise AccountInvalid("say what the robot may do: it has no rights but its scopes")
    new = _new(call, "robot", bounds)

    def change(transaction: WriteTransaction) -> objects.Credential:
        organization = accounts.get(transaction, owner_name, "organization")
        call.require_owner(transaction, organization)
        return _create(transaction, call, organization, new)

    made = call.identity.engine.write(change)
    call.note("robot.create", owner_name, detail={"name": made.name, "id": made.id})
    return made


def _robot_bound(owner: str, scope: objects.Scope) -> Bound:
    bound = tokens.parse_bound(scope.repository, scope.actions)
    if bound.repository != owner and not bound.repository.startswith(f"{owner}/"):
        raise AccountInvalid(f"a robot of {owner} has scopes for {owner} and below {owner}/ only")
    return bound


@operations.add("DELETE", "/accounts/{name}/robots/{robot}", refusals=(404, 409))
def delete_robot(call: ApiCall) -> None:
    """Revoke a robot, by its name or its id."""

    def change(transaction: WriteTransaction) -> None:
        organization = accounts.get(transaction, call.path["name"], "organization")
        call.require_owner(transaction, organization)
        token = tokens.get(transaction, organization, "robot", call.path["robot"])
        tokens.remove(transaction, call.author, token)

    call.identity.engine.write(change)
    call.note("robot.delete", call.path["name"], detail={"name": call.path["robot"]})


class TrustsQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    sort: Literal["name", "-name"] = "name"


# ---- jobs ------------------------------------------------------------------------------------
def _trust(found: oidc.Trust, *, is_in_force: bool = True) -> objects.Trust:
    return objects.Trust(
        name=found.name,
        issuer=found.issuer,
        claims=found.claims,
        actions=list(found.actions),
        is_in_force=is_in_force,
    )


@operations.add("GET", _TRUSTS, answer=objects.Trusts, query=TrustsQuery, refusals=(404,))
def list_trusts(call: ApiCall) -> objects.Trusts:
    """List which jobs may use a repository without a secret."""
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.ADMIN)
        found = trusts.of_repository(transaction, repositories.get(transaction, name))
        page, more = whole(found, call.query, {"name": lambda trust: trust.name})
        issuers = trusts.known_issuers(transaction)
        shown = [_trust(one, is_in_force=trusts.is_in_force(one, issuers)) for one in page]
        return objects.Trusts(trusts=shown, next_page_start=more)


@operations.add(
    "PUT",
    f"{_TRUSTS}/{{trust}}",
    answer=objects.Trust,
    body=objects.NewTrust,
    refusals=(400, 404),
)
def put_trust(call: ApiCall) -> objects.Trust:
    """Let jobs of an issuer use a repository."""
    body: objects.NewTrust = call.body
    actions = tuple(dict.fromkeys(body.actions))
    trust = oidc.Trust(
        name=call.path["trust"], issuer=body.issuer, claims=body.claims, actions=actions
    )
    oidc.check_trust(trust)

    def change(transaction: WriteTransaction) -> str:
        name = require(call, transaction, Action.ADMIN)
        trusts.put(transaction, call.author, name, trust)
        return name.text

    subject = call.identity.engine.write(change)
    call.note("trust.set", subject, detail={"name": trust.name, "issuer": trust.issuer})
    return _trust(trust)


@operations.add("DELETE", f"{_TRUSTS}/{{trust}}", refusals=(404,))
def delete_trust(call: ApiCall) -> None:
    """Trust these jobs no more."""

    def change(transaction: WriteTransaction) -> str:
        name = require(call, transaction, Action.ADMIN)
        trusts.remove(transaction, call.author, name, call.path["trust"])
        return name.text

    subject = call.identity.engine.write(change)
    call.note("trust.remove", subject, detail={"name": call.path["trust"]})

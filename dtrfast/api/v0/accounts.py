"""Users and organizations, and the members of these."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Literal

import msgspec

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import Columns, DatedQuery, NamedQuery, scanned
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import AccountInvalid, Conflict, Denied, SignInFailed, TeamUnknown
from dtrfast.identity import accounts, grants, passwords, teams, tokens
from dtrfast.identity.access import Standing
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.names import AccountName, TeamName
from dtrfast.identity.records import Account
from dtrfast.identity.teams import NewTeam
from dtrfast.index.engine import ReadTransaction, WriteTransaction

operations = Operations("accounts")

_COLUMNS: Columns[Account] = {
    "name": lambda account: account.name,
    "created": lambda account: account.created_at,
}


class AccountsQuery(DatedQuery, frozen=True, rename="camel", kw_only=True):
    """`type`: user or organization. `source`: whether users come from the LDAP directory."""

    type: str = ""
    source: Literal["", "ldap", "local"] = ""


@operations.add("GET", "/accounts", answer=objects.Accounts, query=AccountsQuery)
def list_accounts(call: ApiCall) -> objects.Accounts:
    """List users and organizations."""
    query: AccountsQuery = call.query
    with call.identity.engine.read() as transaction:
        standing = call.standing(transaction)
        found = (
            account
            for account in accounts.scan(transaction, query.first)
            if query.type in ("", account.kind) and _is_from(account, query.source)
        )
        page, more = scanned(found, query, _COLUMNS)
        return objects.Accounts(
            accounts=[views.account(a, standing) for a in page], next_page_start=more
        )


def _is_from(account: Account, source: str) -> bool:
    return not source or bool(account.directory_id) == (source == "ldap")


@operations.add(
    "POST",
    "/accounts",
    answer=objects.Account,
    status=201,
    body=objects.NewAccount,
    refusals=(400, 409),
)
def create_account(call: ApiCall) -> objects.Account:
    """Make a user or an organization."""
    body: objects.NewAccount = call.body
    name = AccountName.parse(body.name)
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    if body.type == "organization" and (body.password or body.is_admin):
        raise AccountInvalid("an organization has neither a password nor a global role")
    password_hash = ""
    if body.password:
        password_hash = passwords.hash_password(passwords.check_new(body.password, name.text))
    made = call.identity.engine.write(
        partial(_create, call=call, name=name, password_hash=password_hash)
    )
    call.note("account.create", name.text, detail={"type": body.type, "admin": body.is_admin})
    return made


def _create(
    transaction: WriteTransaction, call: ApiCall, name: AccountName, password_hash: str
) -> objects.Account:
    body: objects.NewAccount = call.body
    standing = call.require_admin(transaction)
    new = NewAccount(name, body.type, is_admin=body.is_admin, full_name=body.full_name)
    account = accounts.create(transaction, call.author, new)
    if account.is_user:
        if password_hash:
            accounts.remember_password(transaction, account, password_hash, call.author.now)
        if not body.is_active:
            inactive = msgspec.structs.replace(account, is_active=False)
            accounts.put(transaction, call.author, account, inactive)
        return views.account(accounts.get(transaction, account.name), standing)
    owners = teams.create(transaction, call.author, account, NewTeam(TeamName(teams.OWNERS)))
    creator = accounts.find_id(transaction, standing.account_id)
    if creator is not None:
        teams.add_member(transaction, call.author, account, owners, creator)
    return views.account(account, standing)


@operations.add("GET", "/accounts/{name}", answer=objects.Account, refusals=(404,))
def get_account(call: ApiCall) -> objects.Account:
    """Show a user or an organization."""
    with call.identity.engine.read() as transaction:
        return views.account(call.account(transaction), call.standing(transaction))


@operations.add(
    "PATCH",
    "/accounts/{name}",
    answer=objects.Account,
    body=objects.AccountChange,
    refusals=(400, 404, 409),
)
def update_account(call: ApiCall) -> objects.Account:
    """Change an account's full name, or whether a user is a system administrator."""
    changed = call.identity.engine.write(partial(_update, call=call))
    shown = {k: str(v) for k, v in msgspec.to_builtins(call.body).items()}
    is_role = call.body.is_admin is not msgspec.UNSET
    call.note("account.update", changed.name, detail=dict(shown), by_admin=is_role)
    return changed


def _update(transaction: WriteTransaction, call: ApiCall) -> objects.Account:
    body: objects.AccountChange = call.body
    old = call.account(transaction)
    if old.is_user:
        standing = call.require_self(transaction, old)
    else:
        standing = call.require_owner(transaction, old)
    new = old
    if body.full_name is not msgspec.UNSET:
        new = msgspec.structs.replace(new, full_name=body.full_name)
    if body.is_admin is not msgspec.UNSET and body.is_admin != old.is_admin:
        if not standing.is_admin:
            raise Denied("only a system administrator may change the global role")
        if not old.is_user:
            raise AccountInvalid("an organization has no global role")
        new = msgspec.structs.replace(new, is_admin=body.is_admin)
    accounts.put(transaction, call.author, old, new)
    return views.account(new, standing)


@operations.add("DELETE", "/accounts/{name}", refusals=(404, 409))
def delete_account(call: ApiCall) -> None:
    """Delete a user, or an organization with its teams. Its repositories have to go before."""
    call.identity.engine.write(partial(_delete, call=call))
    call.note("account.delete", call.path["name"])


def _delete(transaction: WriteTransaction, call: ApiCall) -> None:
    call.require_admin(transaction)
    account = call.account(transaction)
    author = call.author
    if account.is_user:
        leave_all(transaction, call, account)
        grants.remove_grantee(transaction, author, account.id)
    else:
        teams.delete_all(transaction, author, account)
    grants.remove_place(transaction, author, grants.namespace_place(account.id))
    tokens.remove_all(transaction, author, account)
    accounts.delete(transaction, author, account)


def leave_all(transaction: WriteTransaction, call: ApiCall, user: Account) -> None:
    """Take a user out of all teams. Raises `Conflict` for the last owner of an organization."""
    for membership in teams.memberships(transaction, user.id):
        leave(transaction, call, user, membership.organization_id, membership.team_id)


def leave(
    transaction: WriteTransaction, call: ApiCall, user: Account, organization_id: int, team_id: int
) -> None:
    """Take a user out of one team, by numbers."""
    organization = accounts.find_id(transaction, organization_id)
    found = teams.find_id(transaction, team_id)
    if organization is not None and found is not None:
        teams.remove_member(transaction, call.author, organization, found[1], user)


@operations.add(
    "POST",
    "/accounts/{name}/changePassword",
    answer=objects.Account,
    body=objects.PasswordChange,
    refusals=(400, 404, 409, 429, 503),
)
def change_password(call: ApiCall) -> objects.Account:
    """Change a user's password. All sessions and sign-ins of that user end."""
    body: objects.PasswordChange = call.body
    with call.identity.engine.read() as transaction:
        user = accounts.get(transaction, call.path["name"], "user")
        standing = call.require_self(transaction, user)
    if standing.account_id == user.id:
        _prove_old(call, user, body.old_password)
    password_hash = passwords.hash_password(passwords.check_new(body.new_password, user.name))
    set_password(call, user.name, password_hash)
    call.note("password.change", user.name)
    return views.account(user, standing)


def _prove_old(call: ApiCall, user: Account, password: str) -> None:
    try:
        call.identity.sign_in.password(user.name, password, call.origin)
    except SignInFailed as error:
        raise Denied("the old password is wrong") from error


def set_password(call: ApiCall, name: str, password_hash: str) -> None:
    """Store a hash, and end what was signed in before."""

    def change(transaction: WriteTransaction) -> None:
        account = accounts.get(transaction, name, "user")
        call.require_self(transaction, account)
        accounts.set_password(transaction, call.author, account, password_hash)

    call.identity.engine.write(change)


@operations.add(
    "POST",
    "/accounts/{name}/resetPassword",
    answer=objects.NewPassword,
    refusals=(404, 409, 503),
)
def reset_password(call: ApiCall) -> objects.NewPassword:
    """Give a user a random password, which is shown once."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
        user = accounts.get(transaction, call.path["name"], "user")
    password = passwords.make_random()
    set_password(call, user.name, passwords.hash_password(password))
    call.note("password.reset", user.name)
    return objects.NewPassword(password=password)


@operations.add("PUT", "/accounts/{name}/activate", answer=objects.Account, refusals=(404, 409))
def activate(call: ApiCall) -> objects.Account:
    """Let a user sign in again."""
    return _set_active(call, is_active=True)


@operations.add("PUT", "/accounts/{name}/deactivate", answer=objects.Account, refusals=(404, 409))
def deactivate(call: ApiCall) -> objects.Account:
    """Let a user sign in no more; what is signed in ends at once."""
    return _set_active(call, is_active=False)


def _set_active(call: ApiCall, *, is_active: bool) -> objects.Account:
    def change(transaction: WriteTransaction) -> objects.Account:
        standing = call.require_admin(transaction)
        old = accounts.get(transaction, call.path["name"], "user")
        new = msgspec.structs.replace(old, is_active=is_active)
        accounts.put(transaction, call.author, old, new)
        return views.account(accounts.get(transaction, old.name), standing)

    changed = call.identity.engine.write(change)
    call.note("account.activate" if is_active else "account.deactivate", changed.name)
    return changed


class OrganizationsQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`owned`: those that the user owns."""

    owned: bool = False


@operations.add(
    "GET",
    "/accounts/{name}/organizations",
    answer=objects.Organizations,
    query=OrganizationsQuery,
    refusals=(404,),
)
def list_organizations(call: ApiCall) -> objects.Organizations:
    """List the organizations that a user is in."""
    query: OrganizationsQuery = call.query
    with call.identity.engine.read() as transaction:
        user = accounts.get(transaction, call.path["name"], "user")
        standing = call.require_self(transaction, user)
        inside = teams.memberships(transaction, user.id)
        numbers = {m.organization_id for m in inside if m.is_owner or not query.owned}
        found = [accounts.find_id(transaction, number) for number in numbers]
        shown = sorted((a for a in found if a is not None), key=lambda a: a.name)
        return objects.Organizations(organizations=[views.account(a, standing) for a in shown])


# ---- members of organizations ----------------------------------------------------------------
@operations.add(
    "GET",
    "/accounts/{name}/members",
    answer=objects.OrganizationMembers,
    query=NamedQuery,
    refusals=(404,),
)
def list_members(call: ApiCall) -> objects.OrganizationMembers:
    """List all that are in any team of an organization, with those teams."""
    query: NamedQuery = call.query
    with call.identity.engine.read() as transaction:
        organization = accounts.get(transaction, call.path["name"], "organization")
        standing = require_member(call, transaction, organization)
        found = teams.members_of_organization(transaction, organization, query.first)
        page, more = scanned(found, query, {"name": lambda row: row[0]})
        shown = [_member_of(transaction, organization, number, standing) for _, number in page]
        members = [one for one in shown if one is not None]
        return objects.OrganizationMembers(members=members, next_page_start=more)


def _member_of(
    transaction: ReadTransaction, organization: Account, user_id: int, viewer: Standing
) -> objects.OrganizationMember | None:
    user = views.account_of(transaction, user_id, viewer)
    if user is None:
        return None
    inside = [
        teams.find_id(transaction, membership.team_id)
        for membership in teams.memberships(transaction, user_id)
        if membership.organization_id == organization.id
    ]
    names = sorted(found[1].name for found in inside if found is not None)
    return objects.OrganizationMember(**msgspec.structs.asdict(user), teams=names)


def members_page(
    transaction: ReadTransaction,
    found: Iterable[tuple[str, int]],
    query: NamedQuery,
    viewer: Standing,
) -> objects.Members:
    """A page of names and ids as accounts."""
    page, more = scanned(found, query, {"name": lambda row: row[0]})
    shown = [views.account_of(transaction, number, viewer) for _, number in page]
    members = [account for account in shown if account is not None]
    return objects.Members(members=members, next_page_start=more)


@operations.add("GET", "/accounts/{name}/members/{member}", answer=objects.Member, refusals=(404,))
def get_member(call: ApiCall) -> objects.Member:
    """Show whether a user is in an organization."""
    with call.identity.engine.read() as transaction:
        organization = accounts.get(transaction, call.path["name"], "organization")
        standing = require_member(call, transaction, organization)
        user = member(call, transaction, organization)
        found = teams.memberships(transaction, user.id)
        is_owner = any(m.is_owner and m.organization_id == organization.id for m in found)
        return objects.Member(member=views.account(user, standing), is_owner=is_owner)


@operations.add("DELETE", "/accounts/{name}/members/{member}", refusals=(404, 409))
def delete_member(call: ApiCall) -> None:
    """Take a user out of all teams of an organization."""

    def change(transaction: WriteTransaction) -> None:
        organization = accounts.get(transaction, call.path["name"], "organization")
        call.require_owner(transaction, organization)
        user = member(call, transaction, organization)
        for membership in teams.memberships(transaction, user.id):
            if membership.organization_id == organization.id:
                refuse_ldap_team(transaction, membership.team_id)
                leave(transaction, call, user, organization.id, membership.team_id)

    call.identity.engine.write(change)
    call.note("member.remove", call.path["name"], detail={"user": call.path["member"]})


@operations.add(
    "GET", "/accounts/{name}/members/{member}/teams", answer=objects.Teams, refusals=(404,)
)
def list_teams_of_member(call: ApiCall) -> objects.Teams:
    """List the teams of an organization that a user is in."""
    with call.identity.engine.read() as transaction:
        organization = accounts.get(transaction, call.path["name"], "organization")
        standing = require_member(call, transaction, organization)
        user = member(call, transaction, organization)
        shown = [
            views.team_of(transaction, m.team_id, standing)
            for m in teams.memberships(transaction, user.id)
            if m.organization_id == organization.id
        ]
        return objects.Teams(teams=[team for team in shown if team is not None])


def require_member(call: ApiCall, transaction: ReadTransaction, organization: Account) -> Standing:
    """Only who is in an organization sees who else is."""
    standing = call.standing(transaction)
    user = accounts.find_id(transaction, standing.account_id)
    inside = user is not None and teams.is_in_organization(transaction, organization, user)
    if not standing.is_admin and not inside:
        raise Denied(f"only members of {organization.name} may see this")
    return standing


def member(call: ApiCall, transaction: ReadTransaction, organization: Account) -> Account:
    """The member in the path. Raises `AccountUnknown`, `TeamUnknown`."""
    user = accounts.get(transaction, call.path["member"], "user")
    if not teams.is_in_organization(transaction, organization, user):
        raise TeamUnknown(f"{user.name} is in no team of {organization.name}")
    return user


def refuse_ldap_team(transaction: ReadTransaction, team_id: int) -> None:
    """The directory says who is in such a team."""
    found = teams.find_id(transaction, team_id)
    if found is not None and found[1].type == "ldap":
        raise Conflict(f"the members of the team {found[1].name} are those of its LDAP group")

"""Operations on users and organizations, and on members of organizations."""

from __future__ import annotations

from typing import Literal

import msgspec

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import DatedQuery, NamedQuery
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import AccessRefused, FieldProblem, SettingsInvalid, SignInFailed
from dtrfast.identity import account_tables
from dtrfast.identity.account_management import AccountChange, AccountDraft, AccountManagement
from dtrfast.identity.checks import Checks
from dtrfast.identity.events import Detail
from dtrfast.identity.names import AccountName
from dtrfast.identity.team_management import OrganizationMember, TeamManagement

operations = Operations("accounts")


class AccountsQuery(DatedQuery, frozen=True, rename="camel", kw_only=True):
    """`type`: `user` or `organization`. `source`: `ldap` (users of the directory) or `local`."""

    type: str = ""
    source: Literal["", "ldap", "local"] = ""


@operations.add("GET", "/accounts")
def list_accounts(call: ApiCall, query: AccountsQuery) -> objects.Accounts:
    """List users and organizations."""
    page = call.use(AccountManagement).page(query.request, query.type, query.source)
    return views.page(objects.Accounts, page, "accounts", views.account)


@operations.add("POST", "/accounts", status=201, refusals=(409,))
def create_account(call: ApiCall, body: objects.NewAccount) -> objects.Account:
    """Create a user or an organization."""
    draft = views.parse(AccountDraft, body, name=AccountName.parse(body.name), kind=body.type)
    created = call.use(AccountManagement).create(draft)
    call.note("account.create", body.name, {"type": body.type, "admin": body.is_admin})
    return views.account(created)


@operations.add("GET", "/accounts/{name}")
def get_account(call: ApiCall) -> objects.Account:
    """Show a user or an organization."""
    return views.account(call.use(AccountManagement).get(call.path["name"]))


@operations.add("PATCH", "/accounts/{name}", refusals=(409,))
def update_account(call: ApiCall, body: objects.AccountChange) -> objects.Account:
    """Change an account's full name, or a user's global role."""
    change = views.parse(AccountChange, body)
    changed = call.use(AccountManagement).update(call.path["name"], change)
    detail: Detail = {key: str(value) for key, value in msgspec.to_builtins(body).items()}
    is_role = change.is_admin is not None
    call.note("account.update", call.path["name"], detail, by_admin=is_role)
    return views.account(changed)


@operations.add("DELETE", "/accounts/{name}", refusals=(409,))
def delete_account(call: ApiCall) -> None:
    """Delete a user, or an organization with its teams. Its repositories must be deleted before."""
    call.use(AccountManagement).delete(call.path["name"])
    call.note("account.delete", call.path["name"])


@operations.add("POST", "/admin/importAccounts")
def import_accounts(call: ApiCall, body: objects.AccountsImport) -> objects.ImportReport:
    """Create users from comma-separated values. Existing accounts are not changed."""
    call.use(Checks).require_admin()

    def note(draft: AccountDraft) -> None:
        detail: Detail = {"type": "user", "admin": draft.is_admin, "by": "import"}
        call.note("account.create", draft.name.text, detail)

    try:
        drafts = account_tables.parse(body.csv)
    except SettingsInvalid as error:
        raise SettingsInvalid.of([FieldProblem("csv", error.message)]) from error
    created, taken = call.use(AccountManagement).create_missing(drafts, note)
    return objects.ImportReport(made=created, taken=taken)


# ---- passwords -------------------------------------------------------------------------------
@operations.add("POST", "/accounts/{name}/changePassword", refusals=(409,))
def change_password(call: ApiCall, body: objects.PasswordChange) -> objects.Account:
    """Change a user's password. This ends all sessions and sign-ins of the user."""
    name = call.path["name"]
    management = call.use(AccountManagement)
    if management.check_password_change(name):
        try:
            call.identity.sign_in.password(name, body.old_password, call.origin)
        except SignInFailed as error:
            wrong = FieldProblem("oldPassword", "the current password is wrong")
            raise AccessRefused.of([wrong]) from error
    changed = management.set_password(name, body.new_password)
    call.note("password.change", name)
    return views.account(changed)


@operations.add("POST", "/accounts/{name}/resetPassword", refusals=(409,))
def reset_password(call: ApiCall) -> objects.NewPassword:
    """Give a user a random password. It is shown only once."""
    password = call.use(AccountManagement).reset_password(call.path["name"])
    call.note("password.reset", call.path["name"])
    return objects.NewPassword(password=password)


@operations.add("PUT", "/accounts/{name}/activate", refusals=(409,))
def activate(call: ApiCall) -> objects.Account:
    """Let a user sign in again."""
    return _set_active(call, is_active=True)


@operations.add("PUT", "/accounts/{name}/deactivate", refusals=(409,))
def deactivate(call: ApiCall) -> objects.Account:
    """Stop a user from signing in; its sessions and tokens end at once."""
    return _set_active(call, is_active=False)


def _set_active(call: ApiCall, *, is_active: bool) -> objects.Account:
    changed = call.use(AccountManagement).set_active(call.path["name"], is_active=is_active)
    call.note("account.activate" if is_active else "account.deactivate", call.path["name"])
    return views.account(changed)


# ---- organizations ---------------------------------------------------------------------------
class OrganizationsQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`owned`: only organizations that the user owns."""

    owned: bool = False


@operations.add("GET", "/accounts/{name}/organizations")
def list_organizations(call: ApiCall, query: OrganizationsQuery) -> objects.Organizations:
    """List the organizations that a user is a member of."""
    management = call.use(AccountManagement)
    found = management.organizations_of(call.path["name"], is_owned=query.owned)
    return objects.Organizations(organizations=[views.account(one) for one in found])


@operations.add("GET", "/accounts/{name}/members")
def list_members(call: ApiCall, query: NamedQuery) -> objects.OrganizationMembers:
    """List the members of an organization, with the teams of each."""
    page = call.use(TeamManagement).members(call.path["name"], query.request)
    return views.page(objects.OrganizationMembers, page, "members", _organization_member)


def _organization_member(member: OrganizationMember) -> objects.OrganizationMember:
    account = msgspec.structs.asdict(views.account(member.user))
    return objects.OrganizationMember(**account, teams=member.teams)


@operations.add("GET", "/accounts/{name}/members/{member}")
def get_member(call: ApiCall) -> objects.Member:
    """Show a user of an organization."""
    return views.member(call.use(TeamManagement).member(call.path["name"], call.path["member"]))


@operations.add("DELETE", "/accounts/{name}/members/{member}", refusals=(409,))
def delete_member(call: ApiCall) -> None:
    """Remove a user from all teams of an organization."""
    name, member = call.path["name"], call.path["member"]
    call.use(TeamManagement).remove_from_organization(name, member)
    call.note("member.remove", name, {"user": member})


@operations.add("GET", "/accounts/{name}/members/{member}/teams")
def list_teams_of_member(call: ApiCall) -> objects.Teams:
    """List the teams of an organization that a user is a member of."""
    found = call.use(TeamManagement).teams_of_member(call.path["name"], call.path["member"])
    return objects.Teams(teams=[views.team(one) for one in found])

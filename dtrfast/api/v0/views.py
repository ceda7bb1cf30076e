"""From what the registry knows to the objects of the management API."""

from __future__ import annotations

from msgspec import UNSET

from dtrfast.api.v0 import objects
from dtrfast.errors import NameInvalid, RepositoryUnknown
from dtrfast.identity import access, accounts, teams, tokens
from dtrfast.identity.access import Standing
from dtrfast.identity.grants import Level, level_of
from dtrfast.identity.records import Account, Bound, Team, Token
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci import characters
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import readmes
from dtrfast.registry.permits import NOTHING, Action
from dtrfast.registry.records import RepositoryRecord
from dtrfast.times import rfc3339

# What stands for the namespace of repositories that have none, in paths. No account has this name.
ROOT = "_"


def account(found: Account, viewer: Standing) -> objects.Account:
    """An account as the viewer sees it: that a user is inactive, or a system administrator, is for
    system administrators and the user itself.
    """
    is_told = viewer.is_admin or viewer.account_id == found.id or not found.is_user
    return objects.Account(
        id=str(found.id),
        type=found.kind,
        name=found.name,
        is_active=found.is_active if is_told else UNSET,
        is_admin=found.is_admin if is_told else UNSET,
        full_name=characters.shown(found.full_name),
        ldap_login=found.name if found.directory_id else "",
        created_at=rfc3339(found.created_at),
    )


def account_of(
    transaction: ReadTransaction, account_id: int, viewer: Standing
) -> objects.Account | None:
    found = accounts.find_id(transaction, account_id)
    return None if found is None else account(found, viewer)


def team(
    transaction: ReadTransaction, organization_id: int, found: Team, standing: Standing
) -> objects.Team:
    return objects.Team(
        id=str(found.id),
        org_id=str(organization_id),
        name=found.name,
        description=characters.shown(found.description),
        type=found.type,
        ldap_dn=characters.shown(found.group_dn),
        ldap_group_member_attribute=found.member_attribute if found.group_dn else "",
        client_user_is_member=found.id in standing.grantees,
    )


def team_of(transaction: ReadTransaction, team_id: int, standing: Standing) -> objects.Team | None:
    found = teams.find_id(transaction, team_id)
    return None if found is None else team(transaction, *found, standing)


def repository(
    transaction: ReadTransaction,
    name: RepositoryName,
    record: RepositoryRecord,
    rights: Action = NOTHING,
    *,
    with_readme: bool = False,
) -> objects.Repository:
    owner, _, rest = name.text.partition("/")
    namespace = access.namespace_of(transaction, name)
    return objects.Repository(
        id=str(record.id),
        namespace=owner if rest else "",
        namespace_type="" if namespace is None else namespace.kind,
        name=rest or owner,
        short_description=characters.shown(record.description),
        long_description=_readme(transaction, record) if with_readme else "",
        visibility="public" if record.is_public else "private",
        created_at=rfc3339(record.created_at),
        access_level=level_text(rights),
    )


def _readme(transaction: ReadTransaction, record: RepositoryRecord) -> str:
    return characters.shown_lines(readmes.get(transaction, record.id))


def level_text(rights: Action) -> str:
    """The greatest level that these rights have."""
    level = level_of(rights)
    return "none" if level is Level.NONE else level.text


def repository_name(namespace: str, name: str) -> RepositoryName:
    """The repository of two pieces of a path; the second may hold encoded slashes.

    Raises `RepositoryUnknown`, as what has no name cannot be there.
    """
    try:
        return RepositoryName.parse(name if namespace == ROOT else f"{namespace}/{name}")
    except NameInvalid as error:
        raise RepositoryUnknown(error.message) from error


def credential(
    transaction: ReadTransaction, owner: Account, found: Token, text: str = ""
) -> objects.Credential:
    """`text` is the token itself, which is known when it is made and never again."""
    use = tokens.last_use(transaction, found.id)
    is_robot = found.kind == "robot"
    return objects.Credential(
        id=str(found.id),
        name=found.name,
        user=tokens.robot_name(owner.name, found.name) if is_robot else owner.name,
        scopes=[_scope(bound) for bound in found.bounds],
        created_at=rfc3339(found.created_at),
        created_by=found.created_by,
        expires_at=rfc3339(found.expires_at) if found.expires_at else "",
        last_used_at="" if use is None else rfc3339(use.at),
        last_used_from="" if use is None else use.remote,
        token=text,
    )


def _scope(bound: Bound) -> objects.Scope:
    return objects.Scope(bound.repository, tokens.action_names(bound.actions))

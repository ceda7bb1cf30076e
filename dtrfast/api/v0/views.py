"""Views: API objects made from records of the registry and of identity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from inspect import signature
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from dtrfast.api.v0 import objects
from dtrfast.identity import tokens
from dtrfast.identity.account_views import AccountView, TeamView
from dtrfast.identity.credential_management import Credential
from dtrfast.identity.grants import Level, level_of
from dtrfast.identity.team_management import Member
from dtrfast.oci import characters
from dtrfast.oci.digests import Digest
from dtrfast.registry.listing import Listing
from dtrfast.registry.management import RepositoryView
from dtrfast.registry.permits import Action
from dtrfast.times import rfc3339

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def show(kind: type[S], /, *records: object, **values: Any) -> S:
    """Return an API object of a kind. A field has the value in `values`, else the attribute of the
    same name of the first record whose class declares it. Ids, digests and times become texts; a
    time of 0 is empty. Records in fields become API objects, too.
    """
    types = tuple(type(record) for record in records)
    for name, number in _shared_names(kind, types):
        if name not in values:
            values[name] = _shown(name, getattr(records[number], name))
    return msgspec.convert(SimpleNamespace(**values), kind, from_attributes=True)


@cache
def _shared_names(kind: type[msgspec.Struct], types: tuple[type, ...]) -> list[tuple[str, int]]:
    """Return the fields of a kind that a record has, with the number of the first such record."""
    owners = {
        name: [number for number, owner in enumerate(types) if hasattr(owner, name)]
        for name in kind.__struct_fields__
    }
    return [(name, numbers[0]) for name, numbers in owners.items() if numbers]


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Digest) or name == "id":
        return str(value)
    if isinstance(value, datetime):
        return rfc3339(value.timestamp())
    if name.endswith(("_at", "_until")) or name == "time":
        return rfc3339(value) if value else ""
    return value


def page(
    kind: type[S], listing: Listing[T], field: str, view: Callable[[T], object], /, **values: Any
) -> S:
    """Return an API object of a kind for a page of a list. Its `field` has the view of each entry;
    `values` are its other fields.
    """
    if "is_exact" in kind.__struct_fields__:
        values["is_exact"] = listing.is_exact
    values[field] = [view(entry) for entry in listing.entries]
    return kind(**values, next_page_start=listing.next_start)


def account(view: AccountView) -> objects.Account:
    """Return an account as its caller sees it."""
    found = view.account
    return objects.Account(
        id=str(found.id),
        type=found.kind,
        name=found.name,
        is_active=found.is_active if view.has_state else UNSET,
        is_admin=found.is_admin if view.has_state else UNSET,
        full_name=characters.shown(found.full_name),
        ldap_login=found.name if found.directory_id else "",
        created_at=rfc3339(found.created_at),
    )


def member(view: Member) -> objects.Member:
    """Return a member of an organization or a team, as its caller sees it."""
    return objects.Member(member=account(view.user), is_owner=view.is_owner)


def team(view: TeamView) -> objects.Team:
    """Return a team as its caller sees it."""
    found = view.team
    return objects.Team(
        id=str(found.id),
        org_id=str(view.organization_id),
        name=found.name,
        description=characters.shown(found.description),
        type=found.type,
        ldap_dn=characters.shown(found.group_dn),
        ldap_group_member_attribute=found.member_attribute if found.group_dn else "",
        client_user_is_member=view.has_caller,
    )


def repository(view: RepositoryView) -> objects.Repository:
    """Return a repository as its caller sees it."""
    namespace, name = split_name(view.name.text)
    return show(
        objects.Repository,
        view.record,
        namespace=namespace,
        namespace_type=view.namespace_kind,
        name=name,
        short_description=characters.shown(view.record.description),
        long_description=characters.shown_lines(view.readme),
        long_description_html=view.readme_html,
        visibility="public" if view.record.is_public else "private",
        access_level=level_text(view.allowed),
    )


def split_name(text: str) -> tuple[str, str]:
    """Return the namespace of a repository's name, empty for a name of one part, and the rest."""
    namespace, slash, name = text.partition("/")
    return (namespace, name) if slash else ("", namespace)


def parse(kind: type[T], body: msgspec.Struct, /, **values: Any) -> T:
    """Return a record of a kind from a body or a query: `values`, then the fields of the same name.
    A field that the client left out is None.
    """
    for name in set(signature(kind).parameters) & set(body.__struct_fields__) - set(values):
        values[name] = given(getattr(body, name))
    return kind(**values)


def given(value: T | msgspec.UnsetType) -> T | None:
    """Return a field of a change; None if the client left it out."""
    return None if isinstance(value, msgspec.UnsetType) else value


def level_text(rights: Action) -> str:
    """Return the highest level that these rights include; `none` without rights."""
    level = level_of(rights)
    return "none" if level is Level.NONE else level.text


def credential(found: Credential) -> objects.Credential:
    """Return a stored token; its secret is empty unless it was just created."""
    use = found.last_use
    return show(
        objects.Credential,
        found.token,
        user=found.sign_in_name,
        scopes=[
            objects.Scope(bound.repository, tokens.action_names(bound.actions))
            for bound in found.token.bounds
        ],
        last_used_at="" if use is None else rfc3339(use.at),
        last_used_from="" if use is None else use.remote,
        token=found.text,
    )

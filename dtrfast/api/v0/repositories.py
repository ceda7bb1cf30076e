"""Repositories: what is said of them, and their tags and manifests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain, takewhile
from typing import Any

import msgspec

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import Columns, DatedQuery, PageQuery, scanned, take
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import Conflict, Denied, NameInvalid
from dtrfast.identity import access, accounts, grants, teams
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import ownership, readmes, referrers, removal, repositories, tags
from dtrfast.registry.ownership import Ownership
from dtrfast.registry.pages import Bounded
from dtrfast.registry.permits import Action
from dtrfast.registry.readmes import Rendering
from dtrfast.registry.records import TagRecord
from dtrfast.times import rfc3339

operations = Operations("repositories")

_REPOSITORY = "/repositories/{namespace}/{repository}"
_REFERRERS_MAX = 100
_NAME_LENGTH_MAX = 255  # of a repository


def name_in(call: ApiCall) -> RepositoryName:
    """The repository in the path. Raises `RepositoryUnknown`."""
    return views.repository_name(call.path["namespace"], call.path["repository"])


def require(call: ApiCall, transaction: ReadTransaction, action: Action) -> RepositoryName:
    """The repository in the path, for callers who may see it and do that there.

    One that is not there is a 404 for all actions; none of them makes it.
    """
    name = name_in(call)
    permits = call.permits
    permits.check(transaction, Action.PULL, name)
    repositories.get(transaction, name)
    permits.check(transaction, action, name)
    return name


def shown(
    call: ApiCall,
    transaction: ReadTransaction,
    name: RepositoryName,
    *,
    with_readme: bool = False,
) -> objects.Repository | None:
    """The repository as the caller sees it; None if it is not there."""
    record = repositories.record(transaction, name)
    if record is None:
        return None
    rights = call.permits.verdict(transaction, name).allowed
    return views.repository(transaction, name, record, rights, with_readme=with_readme)


def visible(call: ApiCall, transaction: ReadTransaction, after: str = "") -> Iterator[str]:
    """Names of the repositories that the caller may see, holding something or not."""
    start = after.encode("ascii", "replace")
    names = access.visible_to_caller(transaction, call.permits, start, with_empty=True)
    return (name.decode() for name in names)


class RepositoriesQuery(DatedQuery, frozen=True, rename="camel", kw_only=True):
    """`owned`: those of namespaces that the caller administers."""

    owned: bool = False


@operations.add(
    "GET",
    "/repositories",
    answer=objects.Repositories,
    query=RepositoriesQuery,
    audience="everyone",
)
def list_repositories(call: ApiCall) -> objects.Repositories:
    """List the repositories that the caller may see."""
    query: RepositoriesQuery = call.query
    with call.identity.engine.read() as transaction:
        names = visible(call, transaction, query.first)
        if query.owned:
            names = _owned(call, transaction, names)
        return _page(call, transaction, names)


def _owned(call: ApiCall, transaction: ReadTransaction, names: Iterator[str]) -> Iterator[str]:
    owned = call.standing(transaction).owned
    own = {a.name for a in (accounts.find_id(transaction, n) for n in owned) if a is not None}
    return (name for name in names if RepositoryName(name).owner in own)


def _page(
    call: ApiCall, transaction: ReadTransaction, names: Iterator[str]
) -> objects.Repositories:
    """A page of names that come in order and begin after `query.first`."""
    columns: Columns[str] = {
        "name": lambda name: name,
        "created": lambda name: _created_at(transaction, name),
    }
    source = Bounded(names)
    page, more = scanned(source, call.query, columns)
    # What a user in many teams may do costs a look at each team.
    kept = Bounded(page, are_dear=True)
    found = [shown(call, transaction, RepositoryName(name)) for name in kept]
    if kept.is_cut:
        more = kept.rest[0] if call.query.is_by_name else str(call.query.number + len(found))
    entries = [repository for repository in found if repository is not None]
    is_exact = call.query.is_by_name or not source.is_cut
    return objects.Repositories(repositories=entries, next_page_start=more, is_exact=is_exact)


def _created_at(transaction: ReadTransaction, name: str) -> int:
    record = repositories.record(transaction, RepositoryName(name))
    return 0 if record is None else record.created_at


@operations.add(
    "GET",
    "/repositories/{namespace}",
    answer=objects.Repositories,
    query=DatedQuery,
    refusals=(404,),
    audience="everyone",
)
def list_repositories_of_namespace(call: ApiCall) -> objects.Repositories:
    """List the repositories of a namespace that the caller may see.

    An account has the repository of its own name as well, which has the namespace `_` in addresses.
    Names of accounts are for users: others get an empty list for a name that no account has.
    """
    namespace = call.path["namespace"]
    query: DatedQuery = call.query
    with call.identity.engine.read() as transaction:
        if namespace == views.ROOT:
            names = visible(call, transaction, query.first)
            return _page(call, transaction, (name for name in names if "/" not in name))
        seen = any(True for _ in _visible_of(call, transaction, namespace, ""))
        if not seen and call.is_user:
            accounts.get(transaction, namespace)
        return _page(call, transaction, _visible_of(call, transaction, namespace, query.first))


def _visible_of(
    call: ApiCall, transaction: ReadTransaction, owner: str, after: str
) -> Iterator[str]:
    """The repository of an account's own name, then those below it. Between the two lie those of
    accounts such as `alice-1`, which are not looked at.
    """
    if len(owner) > _NAME_LENGTH_MAX:
        return iter(())
    before, prefix = PageQuery(start=owner).after, f"{owner}/"
    own = visible(call, transaction, max(after, before))
    below = visible(call, transaction, max(after, prefix))
    return chain(
        takewhile(lambda name: name == owner, own),
        takewhile(lambda name: name.startswith(prefix), below),
    )


@operations.add(
    "POST",
    "/repositories/{namespace}",
    answer=objects.Repository,
    status=201,
    body=objects.NewRepository,
    refusals=(400, 404, 409),
)
def create_repository(call: ApiCall) -> objects.Repository:
    """Make a repository."""
    body: objects.NewRepository = call.body
    rendering = None
    if body.long_description:
        with call.identity.engine.read() as transaction:
            _new_name(transaction, call)
        rendering = readmes.render(body.long_description)
    made = call.identity.engine.write(partial(_create, call=call, rendering=rendering))
    call.note("repository.create", f"{made.namespace}/{made.name}".lstrip("/"))
    return made


def _new_name(transaction: ReadTransaction, call: ApiCall) -> RepositoryName:
    """The name of a repository that the caller may make."""
    body: objects.NewRepository = call.body
    namespace = call.path["namespace"]
    text = body.name if namespace == views.ROOT else f"{namespace}/{body.name}"
    name = RepositoryName.parse(text)
    if namespace == views.ROOT and "/" in body.name:
        raise NameInvalid("give the namespace in place of _: it is what stands before the slash")
    # An administrator may begin a namespace that is no account's.
    if namespace != views.ROOT and not call.standing(transaction).is_admin:
        accounts.get(transaction, namespace)
    _require_namespace_admin(call, transaction, name)
    if repositories.find(transaction, name) is not None:
        raise Conflict(f"there is a repository {name} already")
    return name


def _create(
    transaction: WriteTransaction, call: ApiCall, rendering: Rendering | None
) -> objects.Repository:
    body: objects.NewRepository = call.body
    name = _new_name(transaction, call)
    repositories.create(
        transaction,
        name,
        call.author,
        is_public=body.visibility == "public",
        description=body.short_description,
    )
    if body.long_description:
        repositories.update(
            transaction, name, call.author, readme=body.long_description, rendering=rendering
        )
    made = shown(call, transaction, name, with_readme=True)
    assert made is not None
    return made


class RepositoryQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`rendered`: with the README as safe HTML, too. It is empty while the server has not rendered
    the text, and for a text that takes too long to render.
    """

    rendered: bool = False


@operations.add(
    "GET",
    _REPOSITORY,
    answer=objects.Repository,
    query=RepositoryQuery,
    refusals=(404,),
    audience="everyone",
)
def get_repository(call: ApiCall) -> objects.Repository:
    """Show a repository, with its README."""
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        found = shown(call, transaction, name, with_readme=True)
        assert found is not None
        if not call.query.rendered:
            return found
        html = readmes.html(transaction, repositories.get(transaction, name))
        return msgspec.structs.replace(found, long_description_html=html)


@operations.add(
    "PATCH",
    _REPOSITORY,
    answer=objects.Repository,
    body=objects.RepositoryChange,
    refusals=(400, 404),
)
def update_repository(call: ApiCall) -> objects.Repository:
    """Change a repository's description, README or visibility."""
    body: objects.RepositoryChange = call.body
    given = {
        "description": body.short_description,
        "readme": body.long_description,
        "is_public": _is_public(body.visibility),
    }
    changes: dict[str, Any] = {
        name: value for name, value in given.items() if value is not msgspec.UNSET
    }
    if body.long_description:
        with call.identity.engine.read() as transaction:
            require(call, transaction, Action.ADMIN)
        changes["rendering"] = readmes.render(body.long_description)

    def change(transaction: WriteTransaction) -> objects.Repository:
        name = require(call, transaction, Action.ADMIN)
        repositories.update(transaction, name, call.author, **changes)
        found = shown(call, transaction, name, with_readme=True)
        assert found is not None
        return found

    changed = call.identity.engine.write(change)
    detail = {"visibility": changed.visibility} if "is_public" in changes else {}
    call.note("repository.update", name_in(call).text, detail=dict(detail))
    return changed


def _is_public(visibility: str | msgspec.UnsetType) -> bool | msgspec.UnsetType:
    return visibility if isinstance(visibility, msgspec.UnsetType) else visibility == "public"


@operations.add("DELETE", _REPOSITORY, refusals=(404,))
def delete_repository(call: ApiCall) -> None:
    """Delete a repository with all that is in it; it can be restored from the trash."""
    name = name_in(call)

    def change(transaction: WriteTransaction) -> Ownership:
        require(call, transaction, Action.PULL)
        _require_namespace_admin(call, transaction, name)
        about = ownership.find(transaction, name)
        removal.delete(transaction, name, call.author)
        return about

    about = call.identity.engine.write(change)
    call.note("repository.delete", name.text, about=about)


def _require_namespace_admin(
    call: ApiCall, transaction: ReadTransaction, name: RepositoryName
) -> None:
    """Making and deleting is for who administers the namespace, not one repository of it."""
    standing = call.standing(transaction)
    namespace = access.namespace_of(transaction, name)
    if namespace is None:
        call.require_admin(transaction)
    elif Action.ADMIN not in access.rights_in_namespace(transaction, standing, namespace):
        raise Denied(f"only who administers {namespace.name} may make or delete its repositories")


# ---- what is in them -------------------------------------------------------------------------
@operations.add(
    "GET",
    f"{_REPOSITORY}/tags",
    answer=objects.Tags,
    query=PageQuery,
    refusals=(404,),
    audience="everyone",
)
def list_tags(call: ApiCall) -> objects.Tags:
    """List the tags of a repository."""
    query: PageQuery = call.query
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        number = repositories.get(transaction, name)
        rows = tags.rows(transaction, number, query.after)
        page, more = take(rows, query, lambda row: row[0])
        found = [_tag(call, tag, TagRecord.decode(data)) for tag, data in page]
        return objects.Tags(name=name.text, tags=found, next_page_start=more)


def _tag(call: ApiCall, name: str, record: TagRecord) -> objects.Tag:
    return objects.Tag(
        name=name,
        digest=str(record.digest),
        set_at=rfc3339(record.set_at),
        set_by=call.shown_name(record.set_by),
    )


@operations.add(
    "GET",
    f"{_REPOSITORY}/tags/{{tag}}/trust",
    answer=objects.Trusted,
    refusals=(404, 400),
    audience="everyone",
)
def get_tag_trust(call: ApiCall) -> objects.Trusted:
    """Show what vouches for a tag: the manifests that have it as their subject."""
    tag = Tag.parse(call.path["tag"])
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        number = repositories.get(transaction, name)
        record = tags.get(transaction, number, name, tag)
        found = referrers.digests_of(transaction, number, record.digest, _REFERRERS_MAX)
        return objects.Trusted(
            name=tag.text, digest=str(record.digest), referrers=[str(digest) for digest in found]
        )


@operations.add(
    "GET",
    "/accounts/{name}/sharedRepositories",
    answer=objects.Repositories,
    query=DatedQuery,
    refusals=(404,),
)
def list_shared_repositories(call: ApiCall) -> objects.Repositories:
    """List the repositories that others granted a user, directly or through a team.

    `accessLevel` is the user's, whoever asks.
    """
    with call.identity.engine.read() as transaction:
        user = accounts.get(transaction, call.path["name"], "user")
        call.require_self(transaction, user)
        grantees = [user.id, *(m.team_id for m in teams.memberships(transaction, user.id))]
        granted = (place for one in grantees for place, _ in grants.of_grantee(transaction, one))
        places = Bounded(dict.fromkeys(Bounded(granted)))
        found = Bounded(name for place in places for name in _names_at(transaction, place))
        names = sorted({n for n in found if RepositoryName(n).owner != user.name})
        page = _page(call, transaction, (n for n in names if n > call.query.first))
        page = msgspec.structs.replace(page, is_exact=page.is_exact and not found.is_cut)
        theirs = access.standing_of(transaction, user)
        levels = [_with_level(transaction, theirs, one) for one in page.repositories]
        return msgspec.structs.replace(page, repositories=levels)


def _with_level(
    transaction: ReadTransaction, standing: access.Standing, repository: objects.Repository
) -> objects.Repository:
    """With what somebody of this standing may do, who need not be who asks."""
    full = f"{repository.namespace}/{repository.name}".lstrip("/")
    rights = access.rights(transaction, standing, RepositoryName(full))
    return msgspec.structs.replace(repository, access_level=views.level_text(rights))


def _names_at(transaction: ReadTransaction, place: grants.GrantPlace) -> Iterator[str]:
    if not grants.is_namespace(place):
        name = repositories.name_of(transaction, place.id)
        if name is not None:
            yield name.text
        return
    account = accounts.find_id(transaction, place.id)
    if account is not None:
        yield from repositories.names_of(transaction, account.name)

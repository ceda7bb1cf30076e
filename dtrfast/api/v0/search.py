"""Search over accounts and repositories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import PageQuery
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.api.v0.repositories import shown, visible
from dtrfast.identity import accounts
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories, tags
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.pages import Bounded
from dtrfast.registry.permits import Action

operations = Operations("search")

# CPU time for each of the names of accounts, those of repositories, and tags.
_SECONDS_MAX = 0.02
_AUTOCOMPLETE_MAX = 10


class SearchQuery(PageQuery, frozen=True, rename="camel", kw_only=True):
    """`query` is a part of a name; `namespace` keeps to the repositories of one account."""

    query: str = ""
    include_repositories: bool = True
    include_accounts: bool = True
    include_tags: bool = False
    namespace: str = ""


def _search(call: ApiCall, transaction: ReadTransaction, count: int) -> objects.SearchResults:
    query: SearchQuery = call.query
    wanted = query.query.strip().lower()
    people: list[objects.Account] = []
    is_exact = True
    # Names of accounts are for users.
    if query.include_accounts and call.is_user:
        standing = call.standing(transaction)
        scanned = Bounded(accounts.scan(transaction), _SECONDS_MAX)
        matching = (a for a in scanned if wanted in a.name or wanted in a.full_name.lower())
        people = [views.account(a, standing) for a in islice(matching, count)]
        is_exact = not scanned.is_cut
    found: list[objects.Repository] = []
    if query.include_repositories:
        names = Bounded(visible(call, transaction), _SECONDS_MAX)
        owner = query.namespace
        mine = (n for n in names if wanted in n and (not owner or RepositoryName(n).owner == owner))
        some = Bounded(islice(mine, count), _SECONDS_MAX, are_dear=True)
        shown_all = (shown(call, transaction, RepositoryName(name)) for name in some)
        found = [repository for repository in shown_all if repository is not None]
        is_exact = is_exact and not names.is_cut and not some.is_cut
    hits: list[objects.TagResult] = []
    if query.include_tags and wanted:
        rows = Bounded(_tag_rows(call, transaction, wanted), _SECONDS_MAX)
        hits = list(islice(_tags(call, transaction, wanted, rows), count))
        is_exact = is_exact and not rows.is_cut
    return objects.SearchResults(
        account_results=people, repository_results=found, tag_results=hits, is_exact=is_exact
    )


def _tag_rows(
    call: ApiCall, transaction: ReadTransaction, wanted: str
) -> Iterator[tuple[RepositoryId, str] | None]:
    """Tags, those of the newest repositories first; `app:v1` looks in repositories with `app` in
    their name. None stands for a repository that was passed over.
    """
    place, _, _ = wanted.rpartition(":")
    if not place:
        yield from tags.newest(transaction)
        return
    for name in visible(call, transaction):
        number = repositories.find(transaction, RepositoryName(name)) if place in name else None
        yield None
        if number is not None:
            yield from ((number, tag) for tag in tags.names(transaction, number))


def _tags(
    call: ApiCall,
    transaction: ReadTransaction,
    wanted: str,
    rows: Iterable[tuple[RepositoryId, str] | None],
) -> Iterator[objects.TagResult]:
    """Those of the tags with a text in their name that the caller may see."""
    _, _, part = wanted.rpartition(":")
    names: dict[RepositoryId, str | None] = {}
    for row in rows:
        if row is None or part not in row[1].lower():
            continue
        number, tag = row
        if number not in names:
            names[number] = _visible_name(call, transaction, number)
        name = names[number]
        if name is not None:
            yield objects.TagResult(repository=name, tag=tag)


def _visible_name(
    call: ApiCall, transaction: ReadTransaction, repository: RepositoryId
) -> str | None:
    name = repositories.name_of(transaction, repository)
    if name is None:
        return None
    return name.text if call.permits.may(transaction, Action.PULL, name) else None


@operations.add(
    "GET", "/index/search", answer=objects.SearchResults, query=SearchQuery, audience="everyone"
)
def search(call: ApiCall) -> objects.SearchResults:
    """Search accounts and repositories by a part of their names."""
    with call.identity.engine.read() as transaction:
        return _search(call, transaction, call.query.count)


@operations.add(
    "GET",
    "/index/autocomplete",
    answer=objects.SearchResults,
    query=SearchQuery,
    audience="everyone",
)
def autocomplete(call: ApiCall) -> objects.SearchResults:
    """Search for what somebody is typing: the first few matches."""
    with call.identity.engine.read() as transaction:
        return _search(call, transaction, min(_AUTOCOMPLETE_MAX, call.query.count))


@operations.add("POST", "/index/reindex")
def reindex(call: ApiCall) -> None:
    """Do nothing: the names that are searched are those of the registry itself."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)

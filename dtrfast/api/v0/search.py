"""Search over accounts and repositories."""

from __future__ import annotations

from itertools import islice

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.operation import ApiCall, Operations, PageQuery
from dtrfast.api.v0.repositories import shown, visible
from dtrfast.identity import accounts
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.names import RepositoryName

operations = Operations("search")

# Names are read one after the other: so many take about a quarter of a second.
_NAMES_MAX = 200_000
_AUTOCOMPLETE_MAX = 10


class SearchQuery(PageQuery, frozen=True, rename="camel", kw_only=True):
    """`query` is a part of a name; `namespace` keeps to the repositories of one account."""

    query: str = ""
    include_repositories: bool = True
    include_accounts: bool = True
    namespace: str = ""


def _search(call: ApiCall, transaction: ReadTransaction, count: int) -> objects.SearchResults:
    query: SearchQuery = call.query
    wanted = query.query.strip().lower()
    people: list[objects.Account] = []
    if query.include_accounts and call.caller.kind != "anonymous":
        call.standing(transaction)
        scanned = islice(accounts.scan(transaction), _NAMES_MAX)
        matching = (a for a in scanned if wanted in a.name or wanted in a.full_name.lower())
        people = [views.account(a) for a in islice(matching, count)]
    found: list[objects.Repository] = []
    if query.include_repositories:
        prefix = f"{query.namespace}/" if query.namespace else ""
        names = islice(visible(call, transaction), _NAMES_MAX)
        mine = (n for n in names if wanted in n and n.startswith(prefix))
        shown_all = (shown(call, transaction, RepositoryName(n)) for n in islice(mine, count))
        found = [repository for repository in shown_all if repository is not None]
    return objects.SearchResults(account_results=people, repository_results=found)


@operations.add("GET", "/index/search", answer=objects.SearchResults, query=SearchQuery)
def search(call: ApiCall) -> objects.SearchResults:
    """Search accounts and repositories by a part of their names."""
    with call.identity.engine.read() as transaction:
        return _search(call, transaction, call.query.count)


@operations.add("GET", "/index/autocomplete", answer=objects.SearchResults, query=SearchQuery)
def autocomplete(call: ApiCall) -> objects.SearchResults:
    """Search for what somebody is typing: the first few matches."""
    with call.identity.engine.read() as transaction:
        return _search(call, transaction, min(_AUTOCOMPLETE_MAX, call.query.count))


@operations.add("POST", "/index/reindex")
def reindex(call: ApiCall) -> None:
    """Do nothing: the names that are searched are those of the registry itself."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)

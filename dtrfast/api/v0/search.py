"""Operations that search accounts, repositories and tags."""

from __future__ import annotations

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import PageQuery
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity.account_management import AccountManagement
from dtrfast.identity.account_views import AccountView
from dtrfast.identity.checks import Checks
from dtrfast.registry.listing import Listing
from dtrfast.registry.management import RepositoryView
from dtrfast.registry.search import TagMatch

operations = Operations("search")

_AUTOCOMPLETE_MAX = 10


class SearchQuery(PageQuery, frozen=True, rename="camel", kw_only=True):
    """`query` is a part of a name. `namespace` limits the search to repositories of one account."""

    query: str = ""
    include_repositories: bool = True
    include_accounts: bool = True
    include_tags: bool = False
    namespace: str = ""


def _search(call: ApiCall, count: int) -> objects.SearchResults:
    query: SearchQuery = call.query
    part = query.query.strip().lower()
    people: Listing[AccountView] = Listing()
    if query.include_accounts and call.permits.is_user:
        people = call.use(AccountManagement).search(part, count)
    found: Listing[RepositoryView] = Listing()
    if query.include_repositories:
        found = call.registry.search.repositories(part, count, query.namespace)
    tags: Listing[TagMatch] = Listing()
    if query.include_tags and part:
        tags = call.registry.search.tags(part, count)
    return objects.SearchResults(
        account_results=[views.account(one) for one in people.entries],
        repository_results=[views.repository(one) for one in found.entries],
        tag_results=[
            objects.TagResult(repository=one.repository.text, tag=one.tag) for one in tags.entries
        ],
        is_exact=people.is_exact and found.is_exact and tags.is_exact,
    )


@operations.add("GET", "/index/search", audience="everyone")
def search(call: ApiCall, query: SearchQuery) -> objects.SearchResults:
    """Search accounts and repositories by a part of their names."""
    return _search(call, query.count)


@operations.add("GET", "/index/autocomplete", audience="everyone")
def autocomplete(call: ApiCall, query: SearchQuery) -> objects.SearchResults:
    """Search while a user types: the first few matches."""
    return _search(call, min(_AUTOCOMPLETE_MAX, query.count))


@operations.add("POST", "/index/reindex")
def reindex(call: ApiCall) -> None:
    """Do nothing: a search reads the names of the registry itself."""
    call.use(Checks).require_admin()

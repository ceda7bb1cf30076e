"""Search: suggestions while the user types, and a page of results."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.api.v0 import objects
from dtrfast.api.v0.search import search
from dtrfast.console.formatting import account_url, repository_url
from dtrfast.console.page import PageRequest, View
from dtrfast.console.repository_names import full_name

_SUGGESTED_MAX = 8
_HITS_MAX = 100


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result and its address."""

    kind: str
    name: str
    url: str
    more: str = ""


def show(page: PageRequest) -> View:
    """Show what has the text of the query in its name."""
    text = page.query.get("q", "").strip()
    if not text:
        hits: list[Hit] = []
    else:
        query = {
            "query": text,
            "limit": _SUGGESTED_MAX if page.is_fragment else _HITS_MAX,
            "includeTags": "true",
        }
        hits = hits_of(page.ask(search, query=query))
    if page.is_fragment:
        return View("fragments/suggestions.html", {"hits": hits[: 2 * _SUGGESTED_MAX], "q": text})
    return View("search.html", {"hits": hits, "q": text})


def hits_of(found: objects.SearchResults) -> list[Hit]:
    """Return the search results: repositories first, since users mostly look for them."""
    return [
        *(
            Hit("repository", full_name(r), repository_url(full_name(r)), r.short_description)
            for r in found.repository_results
        ),
        *(
            Hit(a.type, a.name, account_url(a.name, a.type), a.full_name)
            for a in found.account_results
        ),
        *(
            Hit("tag", f"{t.repository}:{t.tag}", repository_url(t.repository, "tags", t.tag))
            for t in found.tag_results
        ),
    ]

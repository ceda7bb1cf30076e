"""Search: suggestions while one types, and a page with what was found."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.api.v0 import objects
from dtrfast.api.v0 import search as operations
from dtrfast.console.page import Page, View
from dtrfast.console.pages.repositories import full_name
from dtrfast.console.texts import account_url, repository_url

_SUGGESTED_MAX = 8
_FOUND_MAX = 100


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found, and where it is."""

    kind: str
    name: str
    url: str
    more: str = ""


def show(page: Page) -> View:
    """What has a text in its name."""
    text = page.query.get("q", "").strip()
    if not text:
        hits: list[Hit] = []
    else:
        query = {
            "query": text,
            "limit": _SUGGESTED_MAX if page.is_fragment else _FOUND_MAX,
            "includeTags": "true",
        }
        hits = hits_of(page.ask(operations.search, query=query))
    if page.is_fragment:
        return View("fragments/suggestions.html", {"hits": hits[: 2 * _SUGGESTED_MAX], "q": text})
    return View("search.html", {"hits": hits, "q": text})


def hits_of(found: objects.SearchResults) -> list[Hit]:
    """Repositories first: they are what most people look for."""
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

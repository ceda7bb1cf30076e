"""Requests that only the CPU walk sends: the same operations, with the largest possible results."""

from __future__ import annotations

from tests.walks.requests import REQUESTS, Request

_APP = {"namespace": "acme", "repository": "app"}
_ACME = {"name": "acme"}
# The longest page of a list.
_LONGEST = {"limit": "1000"}
_NOTHING = "zzzz"
_MONTH_SECONDS = "2592000"
_TAGS_AT_ONCE = ",".join(f"t{number:05}" for number in range(150))


_LARGE_TAGS = [f"a{number}" for number in range(1, 24)]
_LARGE_AT_ONCE = ",".join(_LARGE_TAGS)
# Images of 26,000 layers.
_MANY_TAGS = [f"many{number}" for number in range(6)]
_MANY_AT_ONCE = ",".join(_MANY_TAGS)


def _long(operation: str, case: str, path: dict[str, str] | None = None, **query: str) -> Request:
    return Request(operation, path or {}, {**_LONGEST, **query}, case=case)


HEAVY: tuple[Request, ...] = (
    _long("list_accounts", "newest", sort="-created"),
    _long("list_accounts", "filter", filter=_NOTHING),
    _long("list_members", "long", _ACME),
    _long("list_team_members", "long", {**_ACME, "team": "readers"}),
    _long("list_repositories", "newest", sort="-created"),
    _long("list_repositories_of_namespace", "long", {"namespace": "acme"}),
    _long("list_tags", "long", _APP),
    _long("list_user_access", "by_level", _APP, sort="-level"),
    _long("list_images", "long", _APP),
    _long("list_images", "newest", _APP, sort="-pushed"),
    _long("list_images", "versions", _APP, sort="-version"),
    _long("list_images", "folded", _APP, sort="-pushed", folded="true"),
    _long("list_images", "filter", _APP, filter=_NOTHING),
    _long("list_manifests", "long", _APP),
    _long("list_manifests", "newest", _APP, sort="-pushed"),
    _long("list_manifests", "untagged", _APP, untagged="true"),
    Request("get_image", {**_APP, "reference": "index"}, case="index"),
    Request("get_manifest_usage", {**_APP, "reference": "index"}, case="index"),
    Request("delete_manifest", {**_APP, "reference": "$index"}, case="index"),
    Request("preview_deletion", _APP, {"references": "index"}, case="index"),
    Request("preview_deletion", _APP, {"references": _TAGS_AT_ONCE}, case="many"),
    Request("delete_references", _APP, body={"references": ["$index"]}, case="index"),
    Request("preview_deletion", _APP, {"references": _LARGE_AT_ONCE}, case="large"),
    Request("delete_references", _APP, body={"references": _LARGE_TAGS}, case="large_tags"),
    *(
        Request(operation, {**_APP, "reference": reference}, case=reference)
        for operation in ("get_image", "get_manifest_usage")
        for reference in ("wide", "told", "old", "many0")
    ),
    Request("preview_deletion", _APP, {"references": _MANY_AT_ONCE}, case="many_layers"),
    Request("delete_references", _APP, body={"references": _MANY_TAGS}, case="many_layers"),
    Request("delete_manifest", {**_APP, "reference": "$many"}, case="many_layers"),
    Request("compare_images", _APP, {"from": "many0", "to": "many1"}, case="many_layers"),
    Request("compare_images", _APP, {"from": "index", "to": "index"}, case="indexes"),
    Request("compare_images", _APP, {"from": "old", "to": "told"}, case="old"),
    Request("preview_deletion", _APP, {"references": "wide"}, case="wide"),
    _long("list_images", "page", _APP, start="a"),
    _long("list_repositories", "filter", filter=_NOTHING),
    _long("list_tags", "end", _APP, start="t19000"),
    Request("autocomplete", query={"query": _NOTHING, "includeTags": "true"}, case="nothing"),
    Request("search", query={"query": "service:" + _NOTHING, "includeTags": "true"}, case="colon"),
    Request("search", query={"query": _NOTHING * 2_000}, case="long"),
    Request("search", query={"query": _NOTHING, "includeTags": "true"}, case="nothing"),
    Request("search", query={"query": "app:t", "includeTags": "true"}, case="tags"),
    _long("list_events", "text", text=_NOTHING),
    _long("list_repository_events", "text", _APP, text=_NOTHING),
    _long("list_logs", "text", text=_NOTHING),
    Request("get_storage", query={"trash": "true"}, case="trash"),
    _long("get_repository_trash", "newest", _APP, sort="-deleted"),
    Request(
        "get_metrics_history", query={"seconds": _MONTH_SECONDS, "points": "1000"}, case="long"
    ),
)


def _one_of_each() -> tuple[Request, ...]:
    """Return the catalog's first request of each operation, preferably one about another user."""
    found: dict[str, Request] = {}
    for request in sorted(REQUESTS, key=lambda one: one.case == "self"):
        found.setdefault(request.operation, request)
    return tuple(found.values())


ALL: tuple[Request, ...] = (*_one_of_each(), *HEAVY)

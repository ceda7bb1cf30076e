"""A tag's page, a manifest's page, two images side by side, and deleting chosen tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dtrfast.api.v0 import images, storage, trash
from dtrfast.console.page import Page, PageFunction, View
from dtrfast.console.pages.repositories import base
from dtrfast.errors import SettingsInvalid

# A page that asks for each what it would free; who wants more uses the API.
_CHOSEN_MAX = 100


def show(page: Page) -> View:
    """What a tag or a digest points at."""
    reference = page.path["reference"]
    values = base(page, "tags")
    image = page.ask(images.get_image, reference=reference, **values["pieces"])
    history = None
    if ":" not in reference:
        history = page.ask(trash.get_tag_history, tag=reference, **values["pieces"])
    return View(
        "repository/image.html",
        {
            **values,
            "reference": reference,
            "is_tag": ":" not in reference,
            "image": image,
            "history": history.states if history else [],
            "biggest": max((layer.size for layer in image.layers), default=0) or 1,
        },
    )


def show_usage(page: Page) -> View:
    """How much room it takes; measured when somebody looks."""
    values = base(page, "tags")
    usage = page.ask(
        storage.get_manifest_usage, reference=page.path["reference"], **values["pieces"]
    )
    return View("fragments/usage.html", {"usage": usage})


def compare(page: Page) -> View:
    """Two images of a repository."""
    values = base(page, "tags")
    chosen = page.lists.get("tag", [])
    before, after = page.query.get("from", ""), page.query.get("to", "")
    if len(chosen) == 2:
        before, after = _in_order(page, values, chosen)
    if not before or not after:
        raise SettingsInvalid("choose two tags to compare")
    query = {"from": before, "to": after, "platform": page.query.get("platform", "")}
    found = page.ask(images.compare_images, query=query, **values["pieces"])
    return View(
        "repository/compare.html", {**values, "before": before, "after": after, "found": found}
    )


def _in_order(page: Page, values: dict[str, Any], chosen: list[str]) -> tuple[str, str]:
    """Two tags, the older one first."""
    times = [page.ask(images.get_image, reference=tag, **values["pieces"]).set_at for tag in chosen]
    return (chosen[0], chosen[1]) if times[0] <= times[1] else (chosen[1], chosen[0])


@dataclass(frozen=True, slots=True)
class Chosen:
    """A tag that is to be deleted, and what goes with its image."""

    tag: str
    digest: str
    others: list[str]
    freed: int


def confirm_delete(page: Page) -> View:
    """What deleting the chosen tags would free."""
    values = base(page, "tags")
    wanted = page.lists.get("tag", [])
    if len(wanted) > _CHOSEN_MAX:
        raise SettingsInvalid(f"choose {_CHOSEN_MAX} tags at most")
    chosen = [_chosen(page, values, tag) for tag in wanted]
    freed = {one.digest: one.freed for one in chosen}
    return View(
        "repository/delete_tags.html",
        {**values, "chosen": chosen, "images": list(freed), "freed": sum(freed.values())},
    )


def _chosen(page: Page, values: dict[str, Any], tag: str) -> Chosen:
    image = page.ask(images.get_image, reference=tag, **values["pieces"])
    usage = page.ask(storage.get_manifest_usage, reference=image.digest, **values["pieces"])
    others = [name for name in image.tags if name != tag]
    return Chosen(tag, image.digest, others, usage.freed_bytes)


_BASE = "/repositories/{name:path}/-"
PAGES: dict[str, PageFunction] = {
    f"{_BASE}/compare": compare,
    f"{_BASE}/delete-tags": confirm_delete,
    f"{_BASE}/tags/{{reference}}": show,
    f"{_BASE}/tags/{{reference}}/usage": show_usage,
    f"{_BASE}/manifests/{{reference}}": show,
    f"{_BASE}/manifests/{{reference}}/usage": show_usage,
}

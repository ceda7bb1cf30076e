"""Pages of images: a tag or a manifest, a comparison, untagged images, and a deletion."""

from __future__ import annotations

from dtrfast.api.v0 import images, storage, trash
from dtrfast.console import pulling
from dtrfast.console.page import PageFunction, PageRequest, View
from dtrfast.console.pages.repositories import base, pull_box, usage_view
from dtrfast.errors import SettingsInvalid

# As many as the API deletes at once.
_CHOSEN_MAX = 150


def show(page: PageRequest) -> View:
    """Show the image of a tag or a digest."""
    reference = page.path["reference"]
    values = base(page, "tags")
    image = page.ask(images.get_image, reference=reference, **values["pieces"])
    is_tag = ":" not in reference
    history = None
    if is_tag and values["may_push"]:
        history = page.ask(trash.get_tag_history, tag=reference, **values["pieces"])
    return View(
        "repository/image.html",
        {
            **values,
            "reference": reference,
            "is_tag": is_tag,
            "image": image,
            "platforms": [one for one in image.platforms if one.kind != "attestation"],
            "attestations": [one for one in image.platforms if one.kind == "attestation"],
            "history": history.states if history else [],
            "biggest": max((layer.size for layer in image.layers), default=0) or 1,
            "pull": pull_box(page, values, image.kind, image.digest, reference if is_tag else ""),
        },
        cookies=pulling.cookies_of(page),
    )


def show_usage(page: PageRequest) -> View:
    """Measure and show the disk usage of an image."""
    values = base(page, "tags")
    reference = page.path["reference"]
    usage = page.ask(storage.get_manifest_usage, reference=reference, **values["pieces"])
    return usage_view(page, values, usage, reference)


def compare(page: PageRequest) -> View:
    """Show the differences between two images of a repository.

    Two selected tags are compared in the order in which they were set; equal times by name.
    """
    values = base(page, "tags")
    chosen = page.lists.get("tag", [])
    before, after = page.query.get("from", ""), page.query.get("to", "")
    if len(chosen) == 2:
        times = {
            tag: page.ask(images.get_image, reference=tag, **values["pieces"]).set_at
            for tag in chosen
        }
        before, after = sorted(chosen, key=lambda tag: (times[tag], tag))
    if not before or not after:
        raise SettingsInvalid(f"select exactly two tags to compare: you selected {len(chosen)}")
    query = {"from": before, "to": after, "platform": page.query.get("platform", "")}
    found = page.ask(images.compare_images, query=query, **values["pieces"])
    return View(
        "repository/compare.html", {**values, "before": before, "after": after, "found": found}
    )


def confirm_delete(page: PageRequest) -> View:
    """Show the effect of deleting the selected tags or images, and ask for a confirmation."""
    values = base(page, "tags", needs="push")
    tags, digests = page.lists.get("tag", []), page.lists.get("digest", [])
    wanted = [*tags, *digests]
    if len(wanted) > _CHOSEN_MAX:
        raise SettingsInvalid(f"select {_CHOSEN_MAX} at most: you selected {len(wanted)}")
    preview = None
    if wanted:
        query = {"references": ",".join(wanted)}
        preview = page.ask(images.preview_deletion, query=query, **values["pieces"])
    return View("repository/delete_tags.html", {**values, "tags": tags, "preview": preview})


def show_untagged(page: PageRequest) -> View:
    """List images without a tag that no index names, and whose subject (if any) is missing."""
    values = base(page, "tags")
    listing = page.listing("-pushed")
    query = {"untagged": "true", **listing.query()}
    found = page.ask(images.list_manifests, query=query, **values["pieces"])
    return View(
        "repository/untagged.html",
        {
            **values,
            "listing": listing,
            "found": found,
            "rows": found.manifests,
            "next_start": found.next_page_start,
        },
    )


_BASE = "/repositories/{name:path}/-"
PAGES: dict[str, PageFunction] = {
    f"{_BASE}/compare": compare,
    f"{_BASE}/delete-tags": confirm_delete,
    f"{_BASE}/untagged": show_untagged,
    f"{_BASE}/tags/{{reference}}": show,
    f"{_BASE}/tags/{{reference}}/usage": show_usage,
    f"{_BASE}/manifests/{{reference}}": show,
    f"{_BASE}/manifests/{{reference}}/usage": show_usage,
}

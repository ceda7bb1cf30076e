"""Undo: the operation of the management API that takes a change back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dtrfast.api.v0 import trash
from dtrfast.console.page import PageRequest
from dtrfast.oci.names import ROOT

_TRASHED_LISTED_MAX = 1000


class Undo(msgspec.Struct, frozen=True):
    """An operation and the pieces of its path. A list of values stands for one call each."""

    operation: str
    path: dict[str, str | list[str]]


def undo_deletion(page: PageRequest, paths: Sequence[Mapping[str, str]], answer: Any) -> Undo:
    """Return the undo of a deletion of tags and images: its run is restored as a whole."""
    return Undo("restore_deletion", {**paths[-1], "run": answer.run})


def undo_manifests(page: PageRequest, paths: Sequence[Mapping[str, str]], answer: Any) -> Undo:
    """Return the undo of deletions of manifests: all by digest, or else all by tag."""
    references = [path["reference"] for path in paths]
    place = {name: paths[0][name] for name in ("namespace", "repository")}
    if all(":" in reference for reference in references):
        return Undo("restore_manifest", {**place, "reference": references})
    return Undo("restore_tag", {**place, "tag": references})


def undo_repository(
    page: PageRequest, paths: Sequence[Mapping[str, str]], answer: Any
) -> Undo | None:
    """Return the undo of a deletion of a repository; None if the user cannot see it in the trash.

    The trash may hold several repositories of one name. The undo restores the last of them.
    """
    found = page.glance(trash.list_trashed_repositories, query={"limit": _TRASHED_LISTED_MAX})
    namespace, name = paths[-1]["namespace"], paths[-1]["repository"]
    wanted = ("" if namespace == ROOT else namespace, name)
    ids = [r.id for r in (found.repositories if found else ()) if (r.namespace, r.name) == wanted]
    return Undo("restore_repository", {"id": ids[-1]}) if ids else None

"""Names of repositories: as one text, and as the pieces of an operation's path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtrfast.api.v0 import objects
from dtrfast.oci.names import ROOT


def full_name(repository: objects.Repository) -> str:
    """Return the name with its namespace; a repository without a namespace has one part."""
    return f"{repository.namespace}/{repository.name}".lstrip("/")


def name_in(path: Mapping[str, str]) -> str:
    """Return the full name of the repository in the pieces of an operation's path."""
    namespace = "" if path["namespace"] == ROOT else f"{path['namespace']}/"
    return namespace + path["repository"]


def pieces(name: str) -> dict[str, Any]:
    """Return a full name as the pieces of an operation's path."""
    owner, slash, rest = name.partition("/")
    if slash:
        return {"namespace": owner, "repository": rest}
    return {"namespace": ROOT, "repository": owner}

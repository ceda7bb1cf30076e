"""What the management API sends and takes of storage and the trash."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dtrfast.api.v0.objects import Sent, Taken


class Usage(Sent, frozen=True, kw_only=True):
    """Sizes in bytes. `logical`: what a client that has nothing would pull. `stored`: what lies on
    disk for it; `unique` of that is needed by nothing else, `shared` is. `freed`: what deleting it
    frees, once that is out of the trash: of an index, with the images that nothing else names (as a
    deletion takes them); of a tag, with its image when it is the only one, else nothing. The
    numbers hold for the change of that number.
    `isAtMost`: `unique` and `freed` leave out what is shared with what the caller may not see.
    `isPart`: there is more than one request looks at, so that the numbers are those of a part.
    `isExact` is false then, and where something changed meanwhile.
    """

    name: str
    change_number: int
    is_exact: bool
    is_at_most: bool = False
    is_part: bool = False
    manifests: int
    blobs: int
    logical_bytes: int
    stored_bytes: int
    unique_bytes: int
    shared_bytes: int
    freed_bytes: int


class Usages(Sent, frozen=True, kw_only=True):
    usages: list[Usage]
    next_page_start: str = ""


class Storage(Sent, frozen=True, kw_only=True):
    """The whole. `freed` counts since the store was made; emptying the trash would free `trash`.
    `path` is the data directory, and `fileSystem` the kind of the file system that holds it.
    `isTrashPart`: there is more in the trash than one request measures: `trash` is at least that.
    """

    path: str = ""
    file_system: str = ""

    disk_bytes: int
    disk_free_bytes: int
    reserve_bytes: int
    logical_bytes: int
    stored_bytes: int
    shared_bytes: int
    trash_bytes: int
    is_trash_part: bool = False
    trash_things: int
    freed_bytes: int
    repositories: int
    manifests: int
    tags: int
    blobs: int
    chunks: int
    packs: int
    damaged_blobs: int
    damaged_chunks: int
    exposures: list[str]


class Damage(Sent, frozen=True, kw_only=True):
    subject: str
    found_at: str
    reason: str


class Damages(Sent, frozen=True, kw_only=True):
    damages: list[Damage]
    next_page_start: str = ""


class TagState(Sent, frozen=True, kw_only=True):
    """What a tag points at, or pointed at: then `endedAt`, `endedBy` and `ending` say how it ended.
    `isRestorable`: its manifest is there, or in the trash.
    """

    digest: str
    set_at: str
    set_by: str
    ended_at: str = ""
    ended_by: str = ""
    ending: str = ""
    trash_until: str = ""
    is_restorable: bool = True


class TagHistory(Sent, frozen=True, kw_only=True):
    """The present state, if there is one, then earlier ones, the latest first."""

    name: str
    states: list[TagState]


class TrashedManifest(Sent, frozen=True, kw_only=True):
    digest: str
    media_type: str
    tags: list[str]
    deleted_at: str
    deleted_by: str
    trash_until: str
    run: str = ""


class TrashedTag(Sent, frozen=True, kw_only=True):
    name: str
    digest: str
    deleted_at: str
    deleted_by: str
    trash_until: str


class RepositoryTrash(Sent, frozen=True, kw_only=True):
    """What was deleted in a repository. The first page has both, unless one kind is asked for;
    `nextPageStart` is of the kind that was asked for, else of the manifests.
    """

    manifests: list[TrashedManifest]
    tags: list[TrashedTag]
    next_page_start: str = ""


class TrashedRepository(Sent, frozen=True, kw_only=True):
    """A deleted repository. `changesOwner`: the account that it was deleted from is gone, or has
    another name; restored under its name, the repository is another account's, or the registry's.
    """

    id: str
    namespace: str
    name: str
    deleted_at: str
    deleted_by: str
    trash_until: str
    changes_owner: bool = False


class TrashedRepositories(Sent, frozen=True, kw_only=True):
    repositories: list[TrashedRepository]
    next_page_start: str = ""


class TagRestore(Taken, frozen=True, kw_only=True):
    """Which earlier state; if no digest is given, the latest."""

    digest: Annotated[str, Meta(max_length=255)] = ""


class RepositoryRestore(Taken, frozen=True, kw_only=True):
    """Under which name, NAMESPACE/NAME; if none is given, its own."""

    name: Annotated[str, Meta(max_length=255)] = ""


class RunRestore(Taken, frozen=True, kw_only=True):
    """`start` is the `nextStart` of an answer before."""

    run: Annotated[str, Meta(min_length=1, max_length=255)]
    start: Annotated[str, Meta(max_length=255)] = ""


class Restored(Sent, frozen=True, kw_only=True):
    """`tagsTaken` point at something else by now, and still do."""

    digest: str
    tags: list[str]
    tags_taken: list[str]


class RunRestored(Sent, frozen=True, kw_only=True):
    """The number of manifests that came back. `nextStart`: ask again with it, as one request
    restores only so much; empty at the end.
    """

    count: int
    next_start: str

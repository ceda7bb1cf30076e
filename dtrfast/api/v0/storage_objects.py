"""Objects that the management API sends and takes about storage and the trash."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dtrfast.api.v0.objects import ApiObject, BodyObject, ListPage


class Usage(ApiObject, frozen=True, kw_only=True):
    """Sizes in bytes. A client that has nothing would pull `logicalBytes`. `storedBytes` are on
    disk: `uniqueBytes`, which nothing else needs, and `sharedBytes`. Deleting it frees
    `freedBytes`, once it has left the trash. For an index they include the images that nothing
    else names. For a tag they are those of its image, or 0 if the image has another tag. The
    numbers hold for the state after `changeNumber`.

    `isAtMost`: `uniqueBytes` and `freedBytes` are upper bounds, since the caller may not see all
    repositories. `isPart`: it is too much for one request, so the numbers are those of a part.
    `isExact` is false then, and if something changed meanwhile.
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


class Usages(ListPage, frozen=True, kw_only=True):
    """`isExact` is false if there are more repositories than one request sorts. Then some are
    missing.
    """

    usages: list[Usage]
    is_exact: bool = True


class Storage(ApiObject, frozen=True, kw_only=True):
    """The whole registry. `logicalBytes` is the size of all images: each blob counts in each
    repository that has it. `storedBytes` are on disk. `sharedBytes` are the difference, by cause:
    `equalBlobsBytes`, since several repositories have the same blob; `equalChunksBytes`, since
    blobs have equal chunks; and `compressionBytes`. `overheadBytes` add to those on disk: copies
    of recipes, and deleted content that is not reclaimed yet.

    `freedBytes` counts since the store was made. Emptying the trash would free `trashBytes`.
    `reserveBytes` is the reserve that counts: that of the settings, but at most `reserveBytesMax`.
    `path` is the data directory, and `fileSystem` the kind of its file system.
    `isTrashPart`: the trash is too large for one request, and holds more than `trashBytes`.
    """

    path: str = ""
    file_system: str = ""

    disk_bytes: int
    disk_free_bytes: int
    reserve_bytes: int
    reserve_bytes_max: int
    logical_bytes: int
    stored_bytes: int
    shared_bytes: int
    equal_blobs_bytes: int
    equal_chunks_bytes: int
    compression_bytes: int
    overhead_bytes: int
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


class Damage(ApiObject, frozen=True, kw_only=True):
    subject: str
    found_at: str
    reason: str


class Damages(ListPage, frozen=True, kw_only=True):
    damages: list[Damage]


class TagState(ApiObject, frozen=True, kw_only=True):
    """The present state of a tag, or a past one, which has `endedAt`, `endedBy` and `ending`.
    `isRestorable`: its manifest exists, or is in the trash.
    """

    digest: str
    set_at: str
    set_by: str
    ended_at: str = ""
    ended_by: str = ""
    ending: str = ""
    trash_until: str = ""
    is_restorable: bool = True


class TagHistory(ApiObject, frozen=True, kw_only=True):
    """The present state of a tag, if it exists, then past states, the latest first."""

    name: str
    states: list[TagState]


class TrashedManifest(ApiObject, frozen=True, kw_only=True):
    digest: str
    media_type: str
    tags: list[str]
    deleted_at: str
    deleted_by: str
    trash_until: str
    run: str = ""


class TrashedTag(ApiObject, frozen=True, kw_only=True):
    name: str
    digest: str
    deleted_at: str
    deleted_by: str
    trash_until: str


class RepositoryTrash(ListPage, frozen=True, kw_only=True):
    """The trash of a repository. The first page has both kinds, unless one is requested.
    `nextPageStart` belongs to the requested kind, else to the manifests.
    """

    manifests: list[TrashedManifest]
    tags: list[TrashedTag]


class TrashedRepository(ApiObject, frozen=True, kw_only=True):
    """A deleted repository. `changesOwner`: the account that it was deleted from does not exist any
    more, or has another name. Restored under its own name, the repository would belong to another
    account, or to the registry.
    """

    id: str
    namespace: str
    name: str
    deleted_at: str
    deleted_by: str
    trash_until: str
    changes_owner: bool = False


class TrashedRepositories(ListPage, frozen=True, kw_only=True):
    repositories: list[TrashedRepository]


class TagRestore(BodyObject, frozen=True, kw_only=True):
    """The digest of an earlier state; without one, the latest state is restored."""

    digest: Annotated[str, Meta(max_length=255)] = ""


class RepositoryRestore(BodyObject, frozen=True, kw_only=True):
    """The name to restore it under, NAMESPACE/NAME; without one, its own."""

    name: Annotated[str, Meta(max_length=255)] = ""


class RunRestore(BodyObject, frozen=True, kw_only=True):
    """`start` is the `nextStart` of an earlier answer."""

    run: Annotated[str, Meta(min_length=1, max_length=255)]
    start: Annotated[str, Meta(max_length=255)] = ""


class ManifestRestoration(ApiObject, frozen=True, kw_only=True):
    """A manifest that came back, and its tags. `tagsTaken` have another image by now."""

    digest: str
    tags: list[str]
    tags_taken: list[str]

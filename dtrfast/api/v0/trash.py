"""Operations on the trash: histories of tags, lists of deleted objects, and restorations."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dtrfast.api.v0 import objects, storage_objects, views
from dtrfast.api.v0.lists import ListQuery
from dtrfast.api.v0.operation import REPOSITORY, ApiCall, Operations
from dtrfast.api.v0.repositories import tag_object
from dtrfast.identity.repository_trash import RepositoryTrash, TrashedRepository
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.restoring import Restoration
from dtrfast.registry.trash_management import RunRestoration, TrashReference

operations = Operations("trash")

_RESTORED_MAX = 200


# ---- tags ------------------------------------------------------------------------------------
@operations.add("GET", f"{REPOSITORY}/tags/{{tag}}/history", audience="bounded")
def get_tag_history(call: ApiCall) -> storage_objects.TagHistory:
    """Show the present and the past states of a tag, with their authors and times."""
    tag = Tag.parse(call.path["tag"])
    found = call.registry.trash.history(call.repository, tag)
    states = [views.show(storage_objects.TagState, one, one.past) for one in found.past]
    if found.present is not None:
        states.insert(0, views.show(storage_objects.TagState, found.present))
    return storage_objects.TagHistory(name=tag.text, states=states)


@operations.add("POST", f"{REPOSITORY}/tags/{{tag}}/restore", refusals=(409,))
def restore_tag(call: ApiCall, body: storage_objects.TagRestore) -> objects.Tag:
    """Restore an earlier state of a tag, and if necessary its manifest from the trash."""
    name = call.repository
    tag = Tag.parse(call.path["tag"])
    digest = Digest.parse(body.digest) if body.digest else None
    found = tag_object(call, call.registry.trash.restore_tag(name, tag, digest))
    call.note("tag.restore", name.text, {"tag": found.name, "digest": found.digest})
    return found


# ---- manifests -------------------------------------------------------------------------------
class RepositoryTrashQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """`filter`: a part of a tag or a digest. The name of a manifest is its digest."""

    kind: Literal["", "manifests", "tags"] = ""
    sort: Literal["name", "-name", "deleted", "-deleted"] = "name"


@operations.add("GET", f"{REPOSITORY}/trash", audience="bounded")
def get_repository_trash(
    call: ApiCall, query: RepositoryTrashQuery
) -> storage_objects.RepositoryTrash:
    """List the deleted manifests and tags of a repository that can be restored."""
    found = call.registry.trash.page(call.repository, query.request, query.kind)
    return storage_objects.RepositoryTrash(
        manifests=[
            views.show(storage_objects.TrashedManifest, one, one.record, one.record.manifest)
            for one in found.manifests.entries
        ],
        tags=[views.show(storage_objects.TrashedTag, one, one.past) for one in found.tags.entries],
        next_page_start=found.next_start,
    )


@operations.add("POST", f"{REPOSITORY}/manifests/{{reference}}/restore", refusals=(409,))
def restore_manifest(call: ApiCall) -> storage_objects.ManifestRestoration:
    """Restore a manifest from the trash, with those of its tags that are free."""
    name = call.repository
    digest = Digest.parse(call.path["reference"])
    found = call.registry.trash.restore_manifest(name, digest)
    _note(call, name, TrashReference(digest))
    return views.show(storage_objects.ManifestRestoration, found, digest=str(digest))


def _note(call: ApiCall, name: RepositoryName, one: TrashReference) -> None:
    if one.tag is None:
        call.note("manifest.restore", name.text, {"digest": str(one.digest)})
    else:
        call.note("tag.restore", name.text, {"tag": one.tag.text, "digest": str(one.digest)})


class RestorationRequest(objects.BodyObject, frozen=True, kw_only=True):
    """Images by their digests, with their tags; tags as `TAG@DIGEST`."""

    references: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=300)]],
        Meta(min_length=1, max_length=_RESTORED_MAX),
    ]


@operations.add("POST", f"{REPOSITORY}/trash/restore", refusals=(409,))
def restore_references(call: ApiCall, body: RestorationRequest) -> Restoration:
    """Restore tags and images from the trash, up to the first that cannot be restored."""
    references = [TrashReference.parse(text) for text in dict.fromkeys(body.references)]
    name = call.repository
    return call.registry.trash.restore(name, references, lambda one: _note(call, name, one))


@operations.add("POST", "/trash/restoreRun", refusals=(404,))
def restore_run(call: ApiCall, body: storage_objects.RunRestore) -> RunRestoration:
    """Restore the manifests that one run of a policy deleted."""
    found = call.registry.trash.restore_run(body.run, body.start)
    call.note("run.restore", body.run, {"count": str(found.count)})
    return found


# ---- repositories ----------------------------------------------------------------------------
class TrashQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    sort: Literal["name", "-name", "deleted", "-deleted"] = "deleted"


@operations.add("GET", "/trash")
def list_trashed_repositories(
    call: ApiCall, query: TrashQuery
) -> storage_objects.TrashedRepositories:
    """List deleted repositories of the namespaces that the caller administers."""
    page = call.use(RepositoryTrash).page(query.request)
    return views.page(
        storage_objects.TrashedRepositories, page, "repositories", _trashed_repository
    )


def _trashed_repository(one: TrashedRepository) -> storage_objects.TrashedRepository:
    namespace, name = views.split_name(one.record.name)
    kind = storage_objects.TrashedRepository
    return views.show(kind, one.record, one, namespace=namespace, name=name)


@operations.add("POST", "/trash/{id}/restore", refusals=(409,))
def restore_repository(
    call: ApiCall, body: storage_objects.RepositoryRestore
) -> objects.Repository:
    """Restore a deleted repository, with its content and its grants."""
    number = int(call.path["id"]) if call.path["id"].isdecimal() else 0
    name = RepositoryName.parse(body.name) if body.name else None
    restored = call.use(RepositoryTrash).restore(number, name)
    call.note("repository.restore", restored.name.text)
    return views.repository(restored)

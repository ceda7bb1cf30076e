"""The trash: what was deleted, and how to get it back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from dtrfast.api.v0 import image_objects, objects, repositories, storage_objects
from dtrfast.api.v0.lists import Columns, ListQuery, scanned, whole
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity import trashed
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import deleted, deletion, history, policies, removal, restoring, tags
from dtrfast.registry import repositories as registry_repositories
from dtrfast.registry.deleted import DeletedManifest
from dtrfast.registry.history import Past
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.ownership import Claim
from dtrfast.registry.permits import Action
from dtrfast.registry.removal import DeletedRepository
from dtrfast.registry.restoring import Trash
from dtrfast.times import rfc3339

operations = Operations("trash")

_REPOSITORY = "/repositories/{namespace}/{repository}"
_STATES_MAX = 100


class _Until:
    """When something that was deleted then leaves the trash."""

    def __init__(self, transaction: ReadTransaction) -> None:
        self._seconds = int(policies.read(transaction).trash_days * policies.DAY_SECONDS)

    def __call__(self, deleted_at: int) -> str:
        return rfc3339(deleted_at + self._seconds)


def _trash(call: ApiCall) -> Trash:
    return call.registry.acting_for(call.permits).trash


# ---- tags ------------------------------------------------------------------------------------
@operations.add(
    "GET",
    f"{_REPOSITORY}/tags/{{tag}}/history",
    answer=storage_objects.TagHistory,
    refusals=(404, 400),
    audience="bounded",
)
def get_tag_history(call: ApiCall) -> storage_objects.TagHistory:
    """Show what a tag points at and pointed at, with who and when."""
    tag = Tag.parse(call.path["tag"])
    with call.identity.engine.read() as transaction:
        name = repositories.require(call, transaction, Action.PUSH)
        number = registry_repositories.get(transaction, name)
        until = _Until(transaction)
        claim = call.permits.claim(transaction, name)
        past = history.of_tag(transaction, number, tag, _STATES_MAX, claim)
        states = [_state(transaction, number, one, until, claim) for one in past]
        present = tags.resolve(transaction, number, tag)
    if present is not None:
        now = storage_objects.TagState(
            digest=str(present.digest), set_at=rfc3339(present.set_at), set_by=present.set_by
        )
        states.insert(0, now)
    return storage_objects.TagHistory(name=tag.text, states=states)


def _state(
    transaction: ReadTransaction, number: RepositoryId, past: Past, until: _Until, claim: Claim
) -> storage_objects.TagState:
    is_there = deletion.is_there(transaction, number, past.digest)
    return storage_objects.TagState(
        digest=str(past.digest),
        set_at=rfc3339(past.set_at),
        set_by=past.set_by,
        ended_at=rfc3339(past.ended_at),
        ended_by=past.ended_by,
        ending=past.ending,
        trash_until=until(past.ended_at),
        is_restorable=is_there or deleted.get(transaction, number, past.digest, claim) is not None,
    )


@operations.add(
    "POST",
    f"{_REPOSITORY}/tags/{{tag}}/restore",
    answer=objects.Tag,
    body=storage_objects.TagRestore,
    refusals=(404, 400, 409),
)
def restore_tag(call: ApiCall) -> objects.Tag:
    """Point a tag at an earlier state again; its manifest comes back from the trash if need be."""
    body: storage_objects.TagRestore = call.body
    tag = Tag.parse(call.path["tag"])
    digest = Digest.parse(body.digest) if body.digest else None
    name = repositories.name_in(call)
    found = _trash(call).restore_tag(name, tag, call.author, digest)
    call.note("tag.restore", name.text, detail={"tag": tag.text, "digest": str(found)})
    return objects.Tag(
        name=tag.text,
        digest=str(found),
        set_at=rfc3339(call.author.now),
        set_by=call.author.actor,
    )


# ---- manifests -------------------------------------------------------------------------------
class RepositoryTrashQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """`filter`: a part of a tag or a digest. The name of a manifest is its digest."""

    kind: Literal["", "manifests", "tags"] = ""
    sort: Literal["name", "-name", "deleted", "-deleted"] = "name"


_Manifest = tuple[Digest, DeletedManifest]
_MANIFESTS: Columns[_Manifest] = {
    "text": lambda row: " ".join((str(row[0]), *row[1].tags)),
    "name": lambda row: str(row[0]),
    "deleted": lambda row: row[1].deleted_at,
}
_TAGS: Columns[tuple[str, Past]] = {
    "text": lambda row: f"{row[0]} {row[1].digest}",
    "name": lambda row: row[0],
    "deleted": lambda row: row[1].ended_at,
}


@operations.add(
    "GET",
    f"{_REPOSITORY}/trash",
    answer=storage_objects.RepositoryTrash,
    query=RepositoryTrashQuery,
    refusals=(404, 400),
    audience="bounded",
)
def get_repository_trash(call: ApiCall) -> storage_objects.RepositoryTrash:
    """List what was deleted in a repository and can be restored."""
    query: RepositoryTrashQuery = call.query
    manifests: list[_Manifest] = []
    gone: list[tuple[str, Past]] = []
    more = ""
    with call.identity.engine.read() as transaction:
        name = repositories.require(call, transaction, Action.PUSH)
        number = registry_repositories.get(transaction, name)
        until = _Until(transaction)
        claim = call.permits.claim(transaction, name)
        if query.kind == "tags" or (not query.kind and not query.start):
            gone, more = whole(_deleted_tags(transaction, number, claim), query, _TAGS)
        if query.kind != "tags":
            first = Digest.parse(query.start) if query.start and query.is_by_name else None
            rows = deleted.of_repository(transaction, number, first, claim)
            manifests, more = scanned(rows, query, _MANIFESTS)
    return storage_objects.RepositoryTrash(
        manifests=[_trashed(digest, record, until) for digest, record in manifests],
        tags=[_trashed_tag(tag, past, until) for tag, past in gone],
        next_page_start=more,
    )


def _deleted_tags(
    transaction: ReadTransaction, number: RepositoryId, claim: Claim
) -> Iterator[tuple[str, Past]]:
    """Those that do not point there again."""
    for tag, past in history.deleted_tags(transaction, number, claim):
        present = tags.resolve(transaction, number, Tag(tag))
        if present is None or present.digest != past.digest:
            yield tag, past


def _trashed(
    digest: Digest, record: DeletedManifest, until: _Until
) -> storage_objects.TrashedManifest:
    return storage_objects.TrashedManifest(
        digest=str(digest),
        media_type=record.manifest.media_type,
        tags=list(record.tags),
        deleted_at=rfc3339(record.deleted_at),
        deleted_by=record.deleted_by,
        trash_until=until(record.deleted_at),
        run=record.run,
    )


def _trashed_tag(tag: str, past: Past, until: _Until) -> storage_objects.TrashedTag:
    return storage_objects.TrashedTag(
        name=tag,
        digest=str(past.digest),
        deleted_at=rfc3339(past.ended_at),
        deleted_by=past.ended_by,
        trash_until=until(past.ended_at),
    )


@operations.add(
    "POST",
    f"{_REPOSITORY}/manifests/{{reference}}/restore",
    answer=storage_objects.Restored,
    refusals=(404, 400, 409),
)
def restore_manifest(call: ApiCall) -> storage_objects.Restored:
    """Bring a manifest back from the trash, with those of its tags that are free."""
    name = repositories.name_in(call)
    digest = Digest.parse(call.path["reference"])
    found = _trash(call).restore_manifest(name, digest, call.author)
    call.note("manifest.restore", name.text, detail={"digest": str(digest)})
    return storage_objects.Restored(
        digest=str(digest), tags=list(found.tags), tags_taken=list(found.tags_taken)
    )


_RESTORED_MAX = 200


class Restoring(objects.Taken, frozen=True, kw_only=True):
    """Images by their digests, with their tags; tags as `TAG@DIGEST`."""

    references: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=300)]],
        Meta(min_length=1, max_length=_RESTORED_MAX),
    ]


@operations.add(
    "POST",
    f"{_REPOSITORY}/trash/restore",
    answer=image_objects.Restoration,
    body=Restoring,
    refusals=(404, 400, 409),
)
def restore_references(call: ApiCall) -> image_objects.Restoration:
    """Bring tags and images back from the trash, until one of them cannot be."""
    body: Restoring = call.body
    wanted = [_reference(text) for text in dict.fromkeys(body.references)]
    name = repositories.name_in(call)
    author, there = call.author, _trash(call)
    names: list[str] = []
    taken: list[str] = []
    left: list[str] = []
    steps_left = deletion.DELETION_STEPS_MAX
    count = 0
    for tag, digest in wanted:
        if steps_left <= 0:
            left.append(str(digest) if tag is None else f"{tag}@{digest}")
            continue
        steps_left -= restoring.RESTORE_STEPS
        if tag is not None:
            there.restore_tag(name, tag, author, digest)
            names.append(tag.text)
            call.note("tag.restore", name.text, detail={"tag": tag.text, "digest": str(digest)})
        else:
            found = there.restore_manifest(name, digest, author)
            names += found.tags
            taken += found.tags_taken
            steps_left -= found.parts
            count += 1
            call.note("manifest.restore", name.text, detail={"digest": str(digest)})
    return image_objects.Restoration(manifests=count, tags=names, tags_taken=taken, left=left)


def _reference(text: str) -> tuple[Tag | None, Digest]:
    tag, at, digest = text.rpartition("@")
    return Tag.parse(tag) if at else None, Digest.parse(digest)


@operations.add(
    "POST",
    "/trash/restoreRun",
    answer=storage_objects.RunRestored,
    body=storage_objects.RunRestore,
    refusals=(404, 400),
)
def restore_run(call: ApiCall) -> storage_objects.RunRestored:
    """Bring back the manifests that one run of a policy deleted."""
    body: storage_objects.RunRestore = call.body
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    found = _trash(call).restore_run(body.run, call.author, body.start)
    call.note("run.restore", body.run, detail={"count": str(found.count)})
    return storage_objects.RunRestored(count=found.count, next_start=found.next_start)


# ---- repositories ----------------------------------------------------------------------------
class TrashQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """For deleted repositories: they are few, and read as a whole."""

    sort: Literal["name", "-name", "deleted", "-deleted"] = "deleted"


_REPOSITORIES: Columns[DeletedRepository] = {
    "name": lambda one: one.name,
    "deleted": lambda one: one.deleted_at,
}


@operations.add("GET", "/trash", answer=storage_objects.TrashedRepositories, query=TrashQuery)
def list_trashed_repositories(call: ApiCall) -> storage_objects.TrashedRepositories:
    """List deleted repositories of the namespaces that the caller administers."""
    query: TrashQuery = call.query
    with call.identity.engine.read() as transaction:
        standing = call.standing(transaction)
        until = _Until(transaction)
        found = (
            one
            for one in removal.trashed(transaction)
            if trashed.may_restore(transaction, standing, one)
        )
        page, more = whole(found, query, _REPOSITORIES)
        changes = [trashed.changes_owner(transaction, one) for one in page]
    entries = [
        _trashed_repository(one, until, changes_owner=changing)
        for one, changing in zip(page, changes, strict=True)
    ]
    return storage_objects.TrashedRepositories(repositories=entries, next_page_start=more)


def _trashed_repository(
    one: DeletedRepository, until: _Until, *, changes_owner: bool
) -> storage_objects.TrashedRepository:
    namespace, slash, name = one.name.partition("/")
    return storage_objects.TrashedRepository(
        id=str(one.id),
        namespace=namespace if slash else "",
        name=name if slash else namespace,
        deleted_at=rfc3339(one.deleted_at),
        deleted_by=one.deleted_by,
        trash_until=until(one.deleted_at),
        changes_owner=changes_owner,
    )


@operations.add(
    "POST",
    "/trash/{id}/restore",
    answer=objects.Repository,
    body=storage_objects.RepositoryRestore,
    refusals=(404, 400, 409),
)
def restore_repository(call: ApiCall) -> objects.Repository:
    """Bring a deleted repository back, with all that was in it and who may use it."""
    body: storage_objects.RepositoryRestore = call.body
    number = int(call.path["id"]) if call.path["id"].isdecimal() else 0
    wanted = RepositoryName.parse(body.name) if body.name else None

    def change(transaction: WriteTransaction) -> objects.Repository:
        standing = call.standing(transaction)
        name = trashed.restore(transaction, standing, call.author, min(number, 1 << 62), wanted)
        shown = repositories.shown(call, transaction, name, with_readme=True)
        assert shown is not None
        return shown

    restored = call.identity.engine.write(change)
    call.note("repository.restore", f"{restored.namespace}/{restored.name}".lstrip("/"))
    return restored

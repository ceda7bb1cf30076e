"""Manifests of a repository: which there are, those without a tag, and deleting them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dtrfast.api.v0 import image_objects as objects
from dtrfast.api.v0.lists import MANIFESTS_LIMIT_MAX, Columns, ListQuery, scanned
from dtrfast.api.v0.objects import Taken
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.api.v0.repositories import name_in, require
from dtrfast.errors import ManifestUnknown, SettingsInvalid, Unsupported
from dtrfast.identity.events import Detail
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.digests import Digest, Reference, parse_reference
from dtrfast.oci.names import Tag
from dtrfast.registry import deletion, manifests, outlines, repositories, tags, untagged, usage
from dtrfast.registry.budget import Budget
from dtrfast.registry.configs import Configs
from dtrfast.registry.images import ABSENT, Images, Summary
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.pages import Bounded
from dtrfast.registry.permits import Action
from dtrfast.times import rfc3339

operations = Operations("images")

_REPOSITORY = "/repositories/{namespace}/{repository}"
# As many as fit into an address, as digests or as the longest tags: three pages of a list.
_REFERENCES_MAX = 150
_REFERENCES_LENGTH_MAX = 20_500
_REFERENCE_LENGTH_MAX = 160
# Rows of the index that a preview looks at, beside those that measuring takes.
_PREVIEW_STEPS = 6_000
_TAGS_MAX = 500
# What needs an image that is to be deleted, as far as anybody reads it.
_USES_MAX = 20


# ---- lists -------------------------------------------------------------------------------------
class ManifestsQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """`filter`: a part of the digest, which is the name. `untagged`: those that no tag, no index
    and no subject keeps.
    """

    untagged: bool = False
    sort: Literal["name", "-name", "pushed", "-pushed"] = "name"

    @property
    def count(self) -> int:
        return min(self.limit, MANIFESTS_LIMIT_MAX)


class _Row(msgspec.Struct, frozen=True, gc=False):
    """A manifest without its bytes: a list reads many before it sorts them."""

    digest: Digest
    media_type: str
    size: int
    pushed_at: int


_COLUMNS: Columns[_Row] = {
    "name": lambda row: str(row.digest),
    "pushed": lambda row: row.pushed_at,
}


@operations.add(
    "GET",
    f"{_REPOSITORY}/manifests",
    answer=objects.Manifests,
    query=ManifestsQuery,
    refusals=(404, 400),
    audience="everyone",
)
def list_manifests(call: ApiCall) -> objects.Manifests:
    """List the manifests of a repository, by digest; or those without a tag."""
    query: ManifestsQuery = call.query
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        number = repositories.get(transaction, name)
        first = Digest.parse(query.start) if query.start and query.is_by_name else None
        source = Bounded(_rows(transaction, number, first), are_dear=True)
        budget = Budget()
        rows = _untagged(transaction, number, source, budget) if query.untagged else source
        page, more = scanned(rows, query, _COLUMNS)
        if source.is_cut and not more and query.is_by_name and query.count:
            more = str(source.rest[0].digest)
        known = Images(transaction, number)
        listed = [
            (row, _names(transaction, number, row.digest), known.summary(row.digest) or ABSENT)
            for row in page
        ]
    configs = Configs(call.registry.acting_for(call.permits), name)
    found = [_manifest(configs, *one) for one in listed]
    is_exact = not budget.is_spent and (query.is_by_name or not source.is_cut)
    return objects.Manifests(manifests=found, next_page_start=more, is_exact=is_exact)


def _rows(
    transaction: ReadTransaction, number: RepositoryId, first: Digest | None
) -> Iterator[_Row]:
    for digest, stored in manifests.stored_from(transaction, number, first):
        yield _Row(digest, stored.media_type, len(stored.body), stored.pushed_at)


def _untagged(
    transaction: ReadTransaction, number: RepositoryId, rows: Iterable[_Row], budget: Budget
) -> Iterator[_Row]:
    """Those that nothing keeps. One whose subject the budget does not tell is left out."""
    for row in rows:
        if untagged.is_named(transaction, number, row.digest):
            continue
        found = outlines.look(transaction, number, row.digest, budget)
        if found is None or found.outline is None:
            continue
        subject = found.outline.subject_digest
        if subject is None or not deletion.is_there(transaction, number, subject):
            yield row


def _manifest(configs: Configs, row: _Row, names: list[str], summary: Summary) -> objects.Manifest:
    described = configs.describe(summary)
    return objects.Manifest(
        digest=str(row.digest),
        media_type=row.media_type,
        size=row.size,
        pushed_at=rfc3339(row.pushed_at),
        tags=names,
        kind=summary.kind,
        image_size=summary.size,
        platforms=described.platforms,
        fault=summary.fault,
        is_exact=described.is_exact,
    )


def _names(transaction: ReadTransaction, number: RepositoryId, digest: Digest) -> list[str]:
    return [tag.text for tag in islice(tags.tags_of(transaction, number, digest), _TAGS_MAX)]


# ---- one ---------------------------------------------------------------------------------------
@operations.add("DELETE", f"{_REPOSITORY}/manifests/{{reference}}", refusals=(404, 400, 405))
def delete_manifest(call: ApiCall) -> None:
    """Delete a tag, or a manifest by its digest with all its tags."""
    name = name_in(call)
    reference = parse_reference(call.path["reference"])
    _require_deletes(call)
    registry = call.registry.acting_for(call.permits)
    detail: Detail = {"reference": str(reference)}
    if isinstance(reference, Tag):
        registry.tags.delete(name, reference, call.author)
    else:
        detail["tags"] = " ".join(registry.manifests.delete(name, reference, call.author))
    call.note("delete", name.text, detail=_told(detail))


def _require_deletes(call: ApiCall) -> None:
    if not call.config.registry.delete:
        raise Unsupported("deletes are switched off by registry.delete")


def _told(detail: Detail) -> Detail:
    return {name: value for name, value in detail.items() if value}


# ---- many --------------------------------------------------------------------------------------
class DeletionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`references`: tags and digests, separated by commas."""

    references: Annotated[
        str, Meta(min_length=1, max_length=_REFERENCES_LENGTH_MAX, pattern="^[A-Za-z0-9_.:,-]+$")
    ]


@operations.add(
    "GET",
    f"{_REPOSITORY}/deletion",
    answer=objects.DeletionPreview,
    query=DeletionQuery,
    refusals=(404, 400),
    audience="bounded",
)
def preview_deletion(call: ApiCall) -> objects.DeletionPreview:
    """Show what deleting the images of some tags and digests takes along, breaks, and frees."""
    references = _references(call.query.references.split(","))
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        is_admin = call.is_admin(transaction)
        number = repositories.get(transaction, name)
        registry = call.registry.acting_for(call.permits)
        budget = Budget(steps_left=_PREVIEW_STEPS)
        known = Images(transaction, number, budget)
        chosen = [_choice(transaction, number, known, one) for one in references]
        digests = dict.fromkeys(Digest.parse(one.digest) for one in chosen)
        going = deletion.family(transaction, number, digests, budget)
        uses = _uses(transaction, number, digests, going)
        about = [one for digest in digests for one in known.about(digest)]
    measured = registry.measure(usage.of_deletion(name, digests, going), is_bounded=not is_admin)
    return objects.DeletionPreview(
        chosen=chosen,
        images=[str(digest) for digest in digests],
        companions=len(going) - len(digests),
        used_by=uses,
        referrers=[
            objects.DeletionReferrer(digest=one.digest, kind=one.kind)
            for one in about[:_USES_MAX]
            if Digest.parse(one.digest) not in going
        ],
        freed_bytes=measured.freed,
        is_at_most=not is_admin,
        is_exact=measured.is_exact and not budget.is_spent,
    )


def _references(texts: list[str]) -> list[Reference]:
    unique = dict.fromkeys(texts)
    if len(unique) > _REFERENCES_MAX:
        raise SettingsInvalid(f"references: give at most {_REFERENCES_MAX} of them")
    return [parse_reference(text) for text in unique]


def _choice(
    transaction: ReadTransaction, number: RepositoryId, known: Images, reference: Reference
) -> objects.DeletionChoice:
    digest: Digest | None = reference if isinstance(reference, Digest) else None
    if isinstance(reference, Tag):
        record = tags.resolve(transaction, number, reference)
        digest = None if record is None else record.digest
    summary = None if digest is None else known.summary(digest)
    if digest is None or summary is None:
        raise ManifestUnknown(f"there is no {reference} any more", detail=str(reference))
    others = [tag for tag in _names(transaction, number, digest) if tag != str(reference)]
    return objects.DeletionChoice(
        reference=str(reference),
        digest=str(digest),
        kind=summary.kind,
        size=summary.size,
        other_tags=others,
    )


def _uses(
    transaction: ReadTransaction,
    number: RepositoryId,
    digests: dict[Digest, None],
    going: dict[Digest, None],
) -> list[objects.ImageUse]:
    """Indexes that stay, and lose one of the images."""
    found: list[objects.ImageUse] = []
    for digest in digests:
        for user in deletion.users(transaction, number, digest, _USES_MAX + len(going)):
            if user not in going and len(found) < _USES_MAX:
                found.append(image_use(transaction, number, user, digest))
    return found


def image_use(
    transaction: ReadTransaction, number: RepositoryId, index: Digest, image: Digest
) -> objects.ImageUse:
    return objects.ImageUse(
        digest=str(index),
        tags=_names(transaction, number, index)[:_USES_MAX],
        image=str(image),
    )


class Deleting(Taken, frozen=True, kw_only=True):
    """Tags, which leave their images; and digests, which go with all their tags and with the images
    of an index that nothing else names.
    """

    references: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=_REFERENCE_LENGTH_MAX)]],
        Meta(min_length=1, max_length=_REFERENCES_MAX),
    ]


@operations.add(
    "POST",
    f"{_REPOSITORY}/deletion",
    answer=objects.Deletion,
    body=Deleting,
    refusals=(404, 400, 405),
)
def delete_references(call: ApiCall) -> objects.Deletion:
    """Delete tags and images together; one call brings them back."""
    name = name_in(call)
    body: Deleting = call.body
    references = _references(body.references)
    _require_deletes(call)
    author = call.author
    run = deletion.new_run(author.now)
    manifests: list[str] = []
    names: list[str] = []
    missing: list[str] = []
    left: list[str] = []
    steps_left = deletion.DELETION_STEPS_MAX
    for one in references:
        if steps_left <= 0:
            left.append(str(one))
            continue
        # The first goes whatever it costs, so that asking again comes to an end.
        steps_max = steps_left if manifests or names else None
        try:
            gone = deletion.delete(
                call.identity.engine, call.permits, name, one, author, run, steps_max
            )
        except ManifestUnknown:
            missing.append(str(one))
            continue
        if gone is None:
            left.append(str(one))
            continue
        steps_left -= gone.steps
        manifests += map(str, gone.manifests)
        names += gone.tags
        detail: Detail = {"reference": str(one), "run": run}
        if not isinstance(one, Tag):
            detail["tags"] = " ".join(gone.tags)
        call.note("delete", name.text, detail=_told(detail))
    if len(missing) == len(references):
        raise ManifestUnknown(f"there is no {missing[0]} in {name} any more", detail=missing[0])
    return objects.Deletion(run=run, manifests=manifests, tags=names, missing=missing, left=left)


@operations.add(
    "POST",
    f"{_REPOSITORY}/deletion/{{run}}/restore",
    answer=objects.Restoration,
    refusals=(404, 400),
)
def restore_deletion(call: ApiCall) -> objects.Restoration:
    """Bring back what one deletion put into the trash, with its tags."""
    name = name_in(call)
    run = call.path["run"]
    back = deletion.restore(call.identity.engine, call.permits, name, run, call.author)
    detail: Detail = {"run": run, "tags": " ".join(back.tags)}
    call.note("manifest.restore" if back.manifests else "tag.restore", name.text, detail=detail)
    return objects.Restoration(
        manifests=back.manifests, tags=list(back.tags), tags_taken=list(back.tags_taken), left=[]
    )

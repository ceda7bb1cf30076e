"""Storage: how much room things take, what is damaged, and the policies."""

from __future__ import annotations

from typing import Literal

import msgspec

from dtrfast.api.v0 import repositories, views
from dtrfast.api.v0 import storage_objects as objects
from dtrfast.api.v0.administration import read_settings, write_settings
from dtrfast.api.v0.lists import Columns, ListQuery, WholeQuery, scanned, whole
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import NameInvalid
from dtrfast.identity import access, accounts
from dtrfast.machine import mounts, privacy, space
from dtrfast.oci.digests import Digest, parse_reference
from dtrfast.registry import policies, statistics, usage
from dtrfast.registry.pages import LOOKED_AT_MAX
from dtrfast.registry.permits import Action
from dtrfast.registry.policies import StorageSettings
from dtrfast.registry.trash import count_of
from dtrfast.registry.usage import Ask, Numbers
from dtrfast.store.report import DamageReport
from dtrfast.times import rfc3339

operations = Operations("storage")

_REPOSITORY = "/repositories/{namespace}/{repository}"


@operations.add("GET", "/admin/settings/storage", answer=StorageSettings)
def get_storage_settings(call: ApiCall) -> StorageSettings:
    """Show how long things stay, and what housekeeping may take."""
    return read_settings(call, StorageSettings) or StorageSettings()


@operations.add(
    "PUT",
    "/admin/settings/storage",
    answer=StorageSettings,
    body=StorageSettings,
    refusals=(400,),
)
def put_storage_settings(call: ApiCall) -> StorageSettings:
    """Change the storage settings. What is left out gets its default; all of it counts at once."""
    document: StorageSettings = call.body
    write_settings(call, document, "storage")
    return document


class StorageQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`trash`: measure what the trash holds, at a cost in proportion to it."""

    trash: bool = False


@operations.add("GET", "/admin/storage", answer=objects.Storage, query=StorageQuery)
def get_storage(call: ApiCall) -> objects.Storage:
    """Show how much is stored, how much of it is shared, and what is free."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
        reserve = policies.read(transaction).reserve_bytes
        things = count_of(transaction)
        counts = statistics.read(transaction)
    held = call.store.statistics()
    trash = call.registry.measure(usage.of_trash) if call.query.trash else None
    data = call.config.store.data
    disk = space.measure_or_zero(data)
    return objects.Storage(
        path=str(data.absolute()),
        file_system=mounts.kind_of(data),
        disk_bytes=disk.usable_bytes,
        disk_free_bytes=disk.free_bytes,
        reserve_bytes=disk.reserve_bytes(reserve),
        logical_bytes=counts.linked_bytes,
        stored_bytes=held.stored_bytes,
        shared_bytes=counts.shared_bytes(held.stored_bytes),
        trash_bytes=0 if trash is None else trash.unique,
        is_trash_part=trash is not None and trash.is_part,
        trash_things=things,
        freed_bytes=held.freed_bytes,
        repositories=counts.repositories,
        manifests=counts.manifests,
        tags=counts.tags,
        blobs=held.blobs,
        chunks=held.chunks,
        packs=held.packs,
        damaged_blobs=held.damaged_blobs,
        damaged_chunks=held.damaged_chunks,
        exposures=privacy.exposures(data),
    )


class DamagesQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    """`filter` is a part of what is damaged: a digest, or a chunk."""

    sort: Literal["name", "-name", "found", "-found"] = "-found"


_DAMAGES: Columns[DamageReport] = {
    "name": lambda one: one.subject,
    "found": lambda one: one.found_at,
}


@operations.add("GET", "/admin/damages", answer=objects.Damages, query=DamagesQuery)
def list_damages(call: ApiCall) -> objects.Damages:
    """List what is known to be damaged; a push of the same content heals it."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    page, more = whole(call.store.damages(LOOKED_AT_MAX), call.query, _DAMAGES)
    return objects.Damages(
        damages=[
            objects.Damage(subject=d.subject, found_at=rfc3339(d.found_at), reason=d.reason)
            for d in page
        ],
        next_page_start=more,
    )


# ---- of one thing ------------------------------------------------------------------------------
@operations.add(
    "GET", f"{_REPOSITORY}/usage", answer=objects.Usage, refusals=(404,), audience="bounded"
)
def get_repository_usage(call: ApiCall) -> objects.Usage:
    """Measure how much room a repository takes."""
    name = repositories.name_in(call)
    return _measured(call, name.text, usage.of_repository(name), is_kept=True)


@operations.add(
    "GET",
    f"{_REPOSITORY}/manifests/{{reference}}/usage",
    answer=objects.Usage,
    refusals=(404, 400),
    audience="bounded",
)
def get_manifest_usage(call: ApiCall) -> objects.Usage:
    """Measure how much room a tag, or a manifest by its digest, takes.

    `freed` of an index counts those of its images that no tag and no other index names.
    """
    name = repositories.name_in(call)
    reference = parse_reference(call.path["reference"])
    separator = "@" if isinstance(reference, Digest) else ":"
    return _measured(call, f"{name}{separator}{reference}", usage.of_manifest(name, reference))


@operations.add(
    "GET",
    f"{_REPOSITORY}/blobs/{{digest}}/usage",
    answer=objects.Usage,
    refusals=(404, 400),
    audience="bounded",
)
def get_blob_usage(call: ApiCall) -> objects.Usage:
    """Measure how much room a blob takes."""
    name = repositories.name_in(call)
    digest = Digest.parse(call.path["digest"])
    # First, because `stat` renews the blob's link.
    _require_measurement(call)
    call.registry.acting_for(call.permits).blobs.stat(name, digest)
    return _measured(call, f"{name}@{digest}", usage.of_blob(name, digest))


def _require_measurement(call: ApiCall) -> None:
    with call.identity.engine.read() as transaction:
        repositories.require(call, transaction, Action.PULL)


def _measured(call: ApiCall, name: str, ask: Ask, *, is_kept: bool = False) -> objects.Usage:
    _require_measurement(call)
    return _usage_for(call, name, ask, is_kept=is_kept)


def _usage_for(call: ApiCall, name: str, ask: Ask, *, is_kept: bool) -> objects.Usage:
    """What is shared with what the caller may not see is told to administrators only."""
    with call.identity.engine.read() as transaction:
        is_admin = call.is_admin(transaction)
    registry = call.registry.acting_for(call.permits)
    numbers = registry.measure(ask, is_bounded=not is_admin)
    if is_kept and is_admin:
        numbers = _kept(call, name, numbers)
    return _usage(name, numbers, is_bounded=not is_admin)


def _kept(call: ApiCall, name: str, numbers: Numbers) -> Numbers:
    """Keep the numbers for lists; of a part, return those that the job "measure" kept, if any."""
    if not numbers.is_part:
        usage.keep(call.identity.engine, name, numbers)
        return numbers
    with call.identity.engine.read() as transaction:
        kept = usage.kept(transaction, name)
    if kept is None:
        return numbers
    is_exact = kept.is_exact and kept.change_number == numbers.change_number
    return msgspec.structs.replace(kept, is_exact=is_exact)


@operations.add(
    "GET",
    "/repositoryNamespaces/{namespace}/usage",
    answer=objects.Usage,
    refusals=(404, 400),
)
def get_namespace_usage(call: ApiCall) -> objects.Usage:
    """Measure how much room all repositories of a namespace take."""
    namespace = call.path["namespace"]
    if namespace == views.ROOT:
        raise NameInvalid("repositories without a namespace are measured one by one")
    with call.identity.engine.read() as transaction:
        standing = call.standing(transaction)
        account = accounts.get(transaction, namespace)
        if Action.ADMIN not in access.rights_in_namespace(transaction, standing, account):
            call.require_admin(transaction)
    return _usage_for(call, namespace, usage.of_namespace(namespace), is_kept=False)


class UsagesQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """By `freed`: what deleting the repository would free; by `stored`: what is on disk for it."""

    sort: Literal["name", "-name", "freed", "-freed", "stored", "-stored"] = "name"


_USAGES: Columns[tuple[str, Numbers]] = {
    "name": lambda row: row[0],
    "freed": lambda row: row[1].freed,
    "stored": lambda row: row[1].stored,
}


@operations.add("GET", "/admin/usage", answer=objects.Usages, query=UsagesQuery)
def list_usages(call: ApiCall) -> objects.Usages:
    """List repositories with the numbers that were measured last; each holds for its change."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
        names = repositories.visible(call, transaction, call.query.first)
        kept = ((name, usage.kept(transaction, name)) for name in names)
        known = ((name, numbers) for name, numbers in kept if numbers is not None)
        page, more = scanned(known, call.query, _USAGES)
    return objects.Usages(
        usages=[_usage(name, numbers) for name, numbers in page], next_page_start=more
    )


def _usage(name: str, numbers: Numbers, *, is_bounded: bool = False) -> objects.Usage:
    return objects.Usage(
        is_at_most=is_bounded,
        name=name,
        change_number=numbers.change_number,
        is_exact=numbers.is_exact,
        is_part=numbers.is_part,
        manifests=numbers.manifests,
        blobs=numbers.blobs,
        logical_bytes=numbers.logical,
        stored_bytes=numbers.stored,
        unique_bytes=numbers.unique,
        shared_bytes=numbers.shared,
        freed_bytes=numbers.freed,
    )

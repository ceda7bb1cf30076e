"""Operations on storage: its settings, disk usage, and damages."""

from __future__ import annotations

from functools import partial
from typing import Literal

import msgspec

from dtrfast.api.v0 import storage_objects, views
from dtrfast.api.v0.administration import write_settings
from dtrfast.api.v0.lists import ListQuery, WholeQuery
from dtrfast.api.v0.operation import REPOSITORY, ApiCall, Operations
from dtrfast.identity.checks import Checks
from dtrfast.identity.settings_documents import SettingsDocuments
from dtrfast.machine import mounts, privacy, space
from dtrfast.oci.digests import Digest, parse_reference
from dtrfast.registry import listing
from dtrfast.registry.listing import Columns
from dtrfast.registry.measurements import Measurement
from dtrfast.registry.pages import LOOKED_AT_MAX
from dtrfast.registry.policies import StorageSettings
from dtrfast.store.report import DamageReport

operations = Operations("storage")


@operations.add("GET", "/admin/settings/storage")
def get_storage_settings(call: ApiCall) -> StorageSettings:
    """Show the retention times, and the limits of housekeeping."""
    return call.use(SettingsDocuments).read(StorageSettings) or StorageSettings()


@operations.add("PUT", "/admin/settings/storage")
def put_storage_settings(call: ApiCall, body: StorageSettings) -> StorageSettings:
    """Change the storage settings, with immediate effect. Omitted fields get their defaults."""
    write_settings(call, body, "storage")
    return body


class StorageQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`trash`: also measure the trash, which takes longer the more it contains."""

    trash: bool = False


@operations.add("GET", "/admin/storage")
def get_storage(call: ApiCall, query: StorageQuery) -> storage_objects.Storage:
    """Show the stored, shared and free bytes, and the counts of objects."""
    summary = call.registry.measurements.summary(with_trash=query.trash)
    counts, held = summary.statistics, call.store.statistics()
    savings = held.savings(counts.linked_bytes)
    data = call.config.store.data
    disk = space.measure_or_zero(data)
    return views.show(
        storage_objects.Storage,
        summary,
        counts,
        held,
        savings,
        path=str(data.absolute()),
        file_system=mounts.kind_of(data),
        disk_bytes=disk.usable_bytes,
        disk_free_bytes=disk.free_bytes,
        reserve_bytes=disk.reserve_bytes(summary.reserve_bytes),
        reserve_bytes_max=disk.reserve_bytes_max,
        logical_bytes=counts.linked_bytes,
        shared_bytes=counts.shared_bytes(held.stored_bytes),
        exposures=privacy.exposures(data),
    )


class DamagesQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    """`filter` is a part of the damaged blob's digest, or of `chunk N`."""

    sort: Literal["name", "-name", "found", "-found"] = "-found"


_DAMAGES: Columns[DamageReport] = {
    "name": lambda one: one.subject,
    "found": lambda one: one.found_at,
}


@operations.add("GET", "/admin/damages")
def list_damages(call: ApiCall, query: DamagesQuery) -> storage_objects.Damages:
    """List the known damages. A push of the same content repairs them."""
    call.use(Checks).require_admin()
    page = listing.whole(call.store.damages(LOOKED_AT_MAX), query.request, _DAMAGES)
    return views.page(
        storage_objects.Damages, page, "damages", partial(views.show, storage_objects.Damage)
    )


# ---- measurements --------------------------------------------------------------------------
@operations.add("GET", f"{REPOSITORY}/usage", audience="bounded")
def get_repository_usage(call: ApiCall) -> storage_objects.Usage:
    """Measure the disk usage of a repository."""
    name = call.repository
    return _usage(name.text, call.registry.measurements.of_repository(name))


@operations.add("GET", f"{REPOSITORY}/manifests/{{reference}}/usage", audience="bounded")
def get_manifest_usage(call: ApiCall) -> storage_objects.Usage:
    """Measure the disk usage of a tag, or of a manifest by its digest.

    `freedBytes` of an index includes its images that no tag and no other index names.
    """
    name = call.repository
    reference = parse_reference(call.path["reference"])
    separator = "@" if isinstance(reference, Digest) else ":"
    measured = call.registry.measurements.of_manifest(name, reference)
    return _usage(f"{name}{separator}{reference}", measured)


@operations.add("GET", f"{REPOSITORY}/blobs/{{digest}}/usage", audience="bounded")
def get_blob_usage(call: ApiCall) -> storage_objects.Usage:
    """Measure the disk usage of a blob."""
    name = call.repository
    digest = Digest.parse(call.path["digest"])
    return _usage(f"{name}@{digest}", call.registry.measurements.of_blob(name, digest))


@operations.add("GET", "/repositoryNamespaces/{namespace}/usage")
def get_namespace_usage(call: ApiCall) -> storage_objects.Usage:
    """Measure the disk usage of all repositories of a namespace."""
    namespace = call.path["namespace"]
    return _usage(namespace, call.registry.measurements.of_namespace(namespace))


class UsagesQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """`freed`: the bytes that deleting the repository would free; `stored`: its bytes on disk."""

    sort: Literal["name", "-name", "freed", "-freed", "stored", "-stored"] = "name"


@operations.add("GET", "/admin/usage")
def list_usages(call: ApiCall, query: UsagesQuery) -> storage_objects.Usages:
    """List repositories with their last measured usage, each for its own `changeNumber`."""
    page = call.registry.measurements.page(query.request)
    return views.page(
        storage_objects.Usages,
        page,
        "usages",
        lambda one: _usage(one.name, Measurement(one.numbers)),
    )


def _usage(name: str, measured: Measurement) -> storage_objects.Usage:
    return views.show(
        storage_objects.Usage, measured.numbers, name=name, is_at_most=measured.is_bound
    )

"""end-12: referrers, the manifests whose subject is a given manifest."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp

from dtrfast.api.v2.call import Call
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import referrers_index
from dtrfast.oci.media_types import OCI_INDEX
from dtrfast.oci.pages import next_link


async def get(call: Call) -> ASGIApp:
    """Answer a page of the referrers of a manifest, as an image index."""
    subject = Digest.parse(call.reference)
    artifact_type = call.query.get("artifactType")
    last = call.query.get("last")
    after = None if last is None else Digest.parse(last)
    page = await call.run(call.registry.referrers.page, call.name, subject, artifact_type, after)
    # Clients expect a media type without parameters, and read the list right after a push.
    headers = {"content-type": OCI_INDEX, "cache-control": "no-cache"}
    filters = {}
    if artifact_type is not None:
        headers["oci-filters-applied"] = "artifactType"
        filters["artifactType"] = artifact_type
    if page.next_after is not None:
        path = call.path("referrers", str(subject))
        headers["link"] = next_link(path, last=str(page.next_after), count=None, filters=filters)
    return Response(referrers_index(page.descriptors), headers=headers)

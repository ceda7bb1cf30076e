"""The main requests of the distribution API (`/v2/`), about the large manifests of a city."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_MANIFEST
from tests.walks.city import City

_CONTENT = b"pushed by the walk" * 1000


@dataclass(frozen=True, slots=True)
class PullOrPush:
    """A request and the status of its success. With `begins` an upload is opened first, whose
    address replaces `LOCATION` in the URL.
    """

    name: str
    method: str
    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    begins: bool = False


def requests_of(city: City) -> tuple[PullOrPush, ...]:
    """Return the requests of a pull and a push, of lists, and of a deletion."""
    facts = city.scene.facts
    app, digest = "/v2/acme/app", Digest.of_bytes(_CONTENT)
    typed = {"content-type": OCI_MANIFEST}
    mount = f"/v2/acme/open/blobs/uploads/?mount={facts['blob']}&from=acme/app"
    return (
        PullOrPush("v2 base", "GET", "/v2/", 200),
        PullOrPush("v2 catalog", "GET", "/v2/_catalog?n=1000", 200),
        PullOrPush("v2 tags", "GET", f"{app}/tags/list?n=1000", 200),
        PullOrPush("v2 referrers", "GET", f"{app}/referrers/{facts['image']}", 200),
        PullOrPush("v2 manifest GET", "GET", f"{app}/manifests/v1", 200),
        PullOrPush("v2 manifest HEAD", "HEAD", f"{app}/manifests/v1", 200),
        *(
            PullOrPush(f"v2 manifest PUT: {name}", "PUT", f"{app}/manifests/new", 201, typed, body)
            for name, body in city.manifests.items()
        ),
        PullOrPush("v2 manifest DELETE", "DELETE", f"{app}/manifests/{facts['image']}", 202),
        PullOrPush("v2 index DELETE", "DELETE", f"{app}/manifests/{facts['index']}", 202),
        PullOrPush("v2 tag DELETE", "DELETE", f"{app}/manifests/v1", 202),
        PullOrPush("v2 blob GET", "GET", f"{app}/blobs/{facts['blob']}", 200),
        PullOrPush("v2 blob HEAD", "HEAD", f"{app}/blobs/{facts['blob']}", 200),
        PullOrPush("v2 mount", "POST", mount, 201),
        PullOrPush("v2 upload POST", "POST", f"{app}/blobs/uploads/", 202),
        PullOrPush(
            "v2 upload PUT", "PUT", f"LOCATION?digest={digest}", 201, content=_CONTENT, begins=True
        ),
    )

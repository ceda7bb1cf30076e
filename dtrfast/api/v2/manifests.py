"""end-3, end-7 and end-9: manifests by tag or digest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp

from dtrfast.api.answers import Answer
from dtrfast.api.v2.call import Call
from dtrfast.api.v2.conditional_requests import CACHE_FOREVER, conditions_of
from dtrfast.api.v2.request_body import read_whole
from dtrfast.errors import DigestInvalid, ManifestUnknown, QueryTooLong, TagInvalid
from dtrfast.identity.events import Detail
from dtrfast.oci.conditions import Conditions, entity_tag
from dtrfast.oci.digests import Digest, Reference, parse_reference
from dtrfast.oci.media_types import OCI_ARTIFACT_MANIFEST
from dtrfast.oci.names import Tag
from dtrfast.registry.holdings import FoundManifest
from dtrfast.registry.manifests import PushedManifest

TAGS_MAX = 100
_WARNINGS_BYTES_MAX = 4096


async def get(call: Call) -> ASGIApp:
    """Answer GET and HEAD of a manifest."""
    reference = _known_reference(call)
    found = await call.run(call.registry.manifests.get, call.name, reference)
    return answer_found(found, reference, conditions_of(call)).response()


def answer_found(found: FoundManifest, reference: Reference, conditions: Conditions) -> Answer:
    """Return the answer to a GET, and to a HEAD, which leaves out the body. Raises
    `PreconditionFailed`.
    """
    conditions.check_read(found.digest)
    digest = str(found.digest)
    headers = {
        "docker-content-digest": digest,
        "etag": entity_tag(digest),
        "cache-control": CACHE_FOREVER if isinstance(reference, Digest) else "no-cache",
    }
    if conditions.is_known(found.digest):
        return Answer(304, headers)
    headers["content-type"] = found.media_type
    headers["content-length"] = str(len(found.body))
    return Answer(200, headers, found.body)


async def put(call: Call) -> ASGIApp:
    """Push a manifest, by tag or by digest with further tags."""
    name, reference = call.name, parse_reference(call.reference)
    extra_tags = _extra_tags(call) if isinstance(reference, Digest) else ()
    body = await read_whole(call, call.context.config.registry.manifest_size_max)
    store = partial(
        call.registry.manifests.put,
        name,
        reference,
        body,
        extra_tags=extra_tags,
        conditions=conditions_of(call),
    )
    done, warnings = await call.run(_store, call, store)
    pushed: Detail = {"reference": str(reference), "digest": str(done.digest), "size": len(body)}
    call.note("push", pushed)
    headers = {
        "location": call.path("manifests", str(done.digest)),
        "docker-content-digest": str(done.digest),
        "content-length": "0",
    }
    if done.subject is not None:
        headers["oci-subject"] = str(done.subject)
    response = Response(status_code=201, headers=headers)
    for tag in extra_tags:
        response.headers.append("oci-tag", tag.text)
    _add_warnings(response.headers, warnings)
    return response


async def delete(call: Call) -> ASGIApp:
    """Delete a tag, or a manifest with all its tags."""
    name, reference, author = call.name, _known_reference(call), call.registry.author()
    conditions = conditions_of(call)
    detail: Detail = {"reference": str(reference)}
    if isinstance(reference, Tag):
        await call.run(call.registry.tags.delete, name, reference, author, conditions)
    else:
        tags = await call.run(call.registry.manifests.delete, name, reference, author, conditions)
        if tags:
            detail["tags"] = " ".join(tags)
    call.note("delete", detail)
    return Response(status_code=202, headers={"content-length": "0"})


def _known_reference(call: Call) -> Reference:
    """Return the reference of a call. Raises `ManifestUnknown` for a text that cannot be one:
    clients expect 404 for it.
    """
    try:
        return parse_reference(call.reference)
    except (TagInvalid, DigestInvalid) as error:
        raise ManifestUnknown(error.message, detail=call.reference) from error


def _extra_tags(call: Call) -> tuple[Tag, ...]:
    texts = call.query.getlist("tag")
    if len(texts) > TAGS_MAX:
        raise QueryTooLong(
            f"a push can set at most {TAGS_MAX} tags: set the others by further pushes"
        )
    return tuple(dict.fromkeys(Tag.parse(text) for text in texts))


def _store(call: Call, store: Callable[..., PushedManifest]) -> tuple[PushedManifest, list[str]]:
    """Store the manifest. Returns the result, and warnings for the client."""
    content_type = call.headers.get("content-type")
    done = store(content_type=content_type, author=call.registry.author())
    warnings = call.registry.warnings()
    if done.media_type == OCI_ARTIFACT_MANIFEST:
        warnings.append(f"OCI withdrew {OCI_ARTIFACT_MANIFEST}: use an image manifest")
    return done, warnings


def _add_warnings(headers: MutableHeaders, warnings: list[str]) -> None:
    """Add warnings to an answer, in the form that podman reads, and up to its limit of 4 KiB."""
    left = _WARNINGS_BYTES_MAX
    for text in warnings:
        value = '299 - "{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
        left -= len(value)
        if left >= 0:
            headers.append("warning", value)

"""Manifests: what the registry needs to know of the JSON that a client pushed.

The bytes themselves are opaque: they are stored and served as they came, and nothing here encodes a
manifest again. Unknown fields are left alone; what the registry acts on must be well formed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec

from dtrfast.errors import DigestInvalid, ManifestInvalid
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import (
    OCI_ARTIFACT_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Kind,
    is_foreign_type,
    manifest_kind,
    parse_media_type,
    schema1_refusal,
)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: its type, digest and size, and where else its bytes may be had."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        """Whether the content must be in the repository before the manifest is."""
        return not self.urls and not is_foreign_type(self.media_type)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest. Fields that its kind does not have are empty."""

    media_type: str
    kind: Kind
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: dict[str, str]

    def referenced_blobs(self) -> tuple[Digest, ...]:
        """Every blob it names, once each, including those that may be absent."""
        return _digests(self._content())

    def required_blobs(self) -> tuple[Digest, ...]:
        """The blobs that must be in the repository, once each."""
        return _digests(blob for blob in self._content() if blob.required)

    def children(self) -> tuple[Digest, ...]:
        """What an index lists, once each: manifests, but old build caches list blobs."""
        return _digests(self.manifests)

    def _content(self) -> tuple[Descriptor, ...]:
        config = () if self.config is None else (self.config,)
        return (*config, *self.layers, *self.blobs)


def parse_manifest(body: bytes, content_type: str | None) -> Manifest:
    """Understand a pushed manifest; `content_type` is the header, None when there is none."""
    document = _decode(body)
    if document.schemaVersion == 1:
        raise schema1_refusal()
    media_type = _media_type(document, content_type)
    kind = manifest_kind(media_type)
    _check_fields(document, kind)
    config = _descriptor(document.config, "config")
    return Manifest(
        media_type=media_type,
        kind=kind,
        config=config,
        layers=_descriptors(document.layers, "layers"),
        blobs=_descriptors(document.blobs, "blobs"),
        manifests=_descriptors(document.manifests, "manifests"),
        subject=_descriptor(document.subject, "subject"),
        artifact_type=document.artifactType or (config and config.media_type) or None,
        annotations=document.annotations or {},
    )


def referrer_descriptor(manifest: Manifest, digest: Digest, size: int) -> bytes:
    """The entry of a manifest in the referrers list of its subject, as JSON."""
    return _encoder.encode(
        _Referrer(
            mediaType=manifest.media_type,
            digest=str(digest),
            size=size,
            artifactType=manifest.artifact_type,
            annotations=manifest.annotations or None,
        )
    )


def referrers_index(descriptors: Iterable[bytes]) -> bytes:
    """An image index of entries made by `referrer_descriptor`, which go in as they are."""
    head = b'{"schemaVersion":2,"mediaType":"%s","manifests":[' % OCI_INDEX.encode()
    return head + b",".join(descriptors) + b"]}"


_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


# Fields are named as in JSON. A null stands for an absent field, because Go programs write it so.
class _DescriptorDocument(msgspec.Struct, frozen=True, gc=False):
    digest: str
    size: _Size
    mediaType: str | None = None
    urls: tuple[str, ...] | None = None


class _Document(msgspec.Struct, frozen=True):
    schemaVersion: int | None = None
    mediaType: str | None = None
    artifactType: str | None = None
    config: _DescriptorDocument | None = None
    layers: list[_DescriptorDocument] | None = None
    blobs: list[_DescriptorDocument] | None = None
    manifests: list[_DescriptorDocument] | None = None
    subject: _DescriptorDocument | None = None
    # Referrers lists repeat these, and one value that is not text would make a whole list
    # unreadable to Go clients.
    annotations: dict[str, str] | None = None


class _Referrer(msgspec.Struct, omit_defaults=True):
    mediaType: str
    digest: str
    size: int
    artifactType: str | None = None
    annotations: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(_Document)
_encoder = msgspec.json.Encoder()


def _decode(body: bytes) -> _Document:
    try:
        return _decoder.decode(body.removeprefix(_BYTE_ORDER_MARK))
    except msgspec.ValidationError as error:
        raise ManifestInvalid(f"the manifest does not follow its schema: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestInvalid(f"the manifest is not JSON: {error}") from error
    except RecursionError as error:
        raise ManifestInvalid("the manifest is nested too deeply: make it flatter") from error


def _media_type(document: _Document, content_type: str | None) -> str:
    """The header decides, then the body, then the fields that only one kind has."""
    written = parse_media_type(document.mediaType) if document.mediaType else None
    if content_type:
        announced = parse_media_type(content_type)
        if written is not None and written != announced:
            raise ManifestInvalid(
                f"the Content-Type is {announced} but the manifest's mediaType is {written}:"
                " send the same in both"
            )
        return announced
    return written or _guess(document)


def _guess(document: _Document) -> str:
    if document.manifests is not None:
        return OCI_INDEX
    if document.config is not None or document.layers is not None:
        return OCI_MANIFEST
    if document.blobs is not None:
        return OCI_ARTIFACT_MANIFEST
    raise ManifestInvalid("nothing says what the manifest is: send its type in Content-Type")


def _check_fields(document: _Document, kind: Kind) -> None:
    """One document must not read as two kinds: clients would disagree on what it names."""
    if document.schemaVersion not in (None, 2):
        raise ManifestInvalid("schemaVersion is not 2: use the OCI or Docker v2 format")
    named = {
        "image": document.config is not None or document.layers is not None,
        "index": document.manifests is not None,
        "artifact": document.blobs is not None,
    }
    strange = [other for other, present in named.items() if present and other != kind]
    if strange:
        raise ManifestInvalid(
            f"the manifest is sent as an {kind} but has fields of an {strange[0]}: remove them"
        )
    if kind == "image" and document.config is None:
        raise ManifestInvalid("an image manifest needs a config: refer to the empty one at least")


def _descriptors(documents: list[_DescriptorDocument] | None, field: str) -> tuple[Descriptor, ...]:
    return tuple(
        _build(document, f"{field}[{index}]") for index, document in enumerate(documents or ())
    )


def _descriptor(document: _DescriptorDocument | None, field: str) -> Descriptor | None:
    return None if document is None else _build(document, field)


def _build(document: _DescriptorDocument, field: str) -> Descriptor:
    try:
        digest = Digest.parse(document.digest)
    except DigestInvalid as error:
        raise ManifestInvalid(f"{field}: {error}") from error
    return Descriptor(document.mediaType or "", digest, document.size, document.urls or ())


def _digests(descriptors: Iterable[Descriptor]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(descriptor.digest for descriptor in descriptors))

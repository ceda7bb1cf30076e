"""Manifests: the values that the registry needs from the JSON that a client pushed.

The registry stores and serves the bytes of a manifest unchanged; nothing here encodes one again.
Unknown fields are ignored. A pushed manifest is refused if clients could not read its image-spec
fields. A stored manifest is read as far as possible, and its fault is kept.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import msgspec
from msgspec import UNSET

from dtrfast.errors import DigestInvalid, ManifestInvalid
from dtrfast.oci import documents
from dtrfast.oci.digests import Digest
from dtrfast.oci.documents import DescriptorDocument, Document, ParsedDocument, PlatformDocument
from dtrfast.oci.media_types import (
    FOREIGN_TYPES,
    KINDS,
    OCI_ARTIFACT_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Kind,
    manifest_kind,
    parse_media_type,
    schema1_refusal,
)

# Each descriptor costs every reader some microseconds and some rows. Images have fewer than 130
# layers; the largest known indexes have a few hundred images. Foreign layers with few fields cost
# less, because they are not looked up in the repository.
DESCRIPTORS_MAX = documents.ITEMS_MAX
CHEAP_DESCRIPTORS_MAX = 26_000
_SIZE_MAX = 2**63 - 1


class Descriptor(msgspec.Struct, frozen=True, gc=False):
    """A reference to content: its type, digest and size, and other addresses of its bytes."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] | None = None
    platform: PlatformDocument | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest. Fields that its kind does not have are empty.

    `fault` says why and where clients cannot read it. Only manifests that were stored under earlier
    rules have one. `is_type_guessed` is True if neither the header nor the body of the push names
    the media type.
    """

    media_type: str
    kind: Kind
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    annotations: dict[str, str]
    fault: str = ""
    is_type_guessed: bool = False

    def referenced_blobs(self) -> tuple[Digest, ...]:
        """Return all blobs that the manifest names, once each, even those that may be absent."""
        return _digests([blob.digest for blob in self._content()])

    def required_blobs(self) -> tuple[Digest, ...]:
        """Return the blobs that must be in the repository, once each. Blobs with other addresses
        and foreign layers may be absent.
        """
        return _digests(
            [
                blob.digest
                for blob in self._content()
                if not blob.urls and blob.media_type not in FOREIGN_TYPES
            ]
        )

    def children(self) -> tuple[Digest, ...]:
        """Return the entries of an index, once each. They are manifests, except that old build
        caches list blobs.
        """
        return _digests([entry.digest for entry in self.manifests])

    def _content(self) -> tuple[Descriptor, ...]:
        config = () if self.config is None else (self.config,)
        return (*config, *self.layers, *self.blobs)


def parse_manifest(body: bytes, content_type: str | None) -> Manifest:
    """Parse a pushed manifest. `content_type` is the header, None if it is absent.

    Raises `ManifestInvalid`, which names the field, if clients could not read the manifest.
    """
    reading = documents.read_pushed(body)
    document = reading.document
    lists = (document.layers or (), document.blobs or (), document.manifests or ())
    count = sum(map(len, lists)) + bool(document.config) + bool(document.subject)
    if count > DESCRIPTORS_MAX:
        is_cheap = count <= CHEAP_DESCRIPTORS_MAX and all(map(_is_cheap, document.layers or ()))
        if not is_cheap or document.blobs or document.manifests:
            most = CHEAP_DESCRIPTORS_MAX if count > CHEAP_DESCRIPTORS_MAX else DESCRIPTORS_MAX
            raise ManifestInvalid(
                f"the manifest has {count} descriptors, more than {most}: split it into several"
            )
    if document.schemaVersion == 1:
        raise schema1_refusal()
    if reading.fault:
        raise ManifestInvalid(reading.fault)
    if not reading.is_plain:
        documents.check_depth(body)
    media_type = _media_type(document, content_type)
    manifest = _build(reading, media_type, manifest_kind(media_type))
    if manifest.fault:
        raise ManifestInvalid(manifest.fault)
    if not content_type and not document.mediaType:
        return replace(manifest, is_type_guessed=True)
    return manifest


def read_manifest(body: bytes, media_type: str) -> Manifest:
    """Parse a stored manifest. Never raises: unreadable values are left out."""
    return _build(documents.read(body), media_type, KINDS.get(media_type, "artifact"))


def referrer_descriptor(manifest: Manifest, digest: Digest, size: int) -> bytes:
    """Return the JSON entry of a manifest in the referrers list of its subject."""
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
    """Return an image index of entries that `referrer_descriptor` made, unchanged."""
    head = b'{"schemaVersion":2,"mediaType":"%s","manifests":[' % OCI_INDEX.encode()
    return head + b",".join(descriptors) + b"]}"


class _Referrer(msgspec.Struct, omit_defaults=True):
    mediaType: str
    digest: str
    size: int
    artifactType: str | None = None
    annotations: dict[str, str] | None = None


_encoder = msgspec.json.Encoder()


def _media_type(document: Document, content_type: str | None) -> str:
    """Return the media type: from the header, else from the body, else guessed from the fields.

    Raises `ManifestInvalid` if header and body differ, or if the fields fit no kind.
    """
    written = parse_media_type(document.mediaType) if document.mediaType else None
    if content_type:
        announced = parse_media_type(content_type)
        if written is not None and written != announced:
            raise ManifestInvalid(
                f"the Content-Type is {announced} but the manifest's mediaType is {written}:"
                " send the same in both"
            )
        return announced
    if written:
        return written
    if document.manifests not in (None, UNSET):
        return OCI_INDEX
    if document.config not in (None, UNSET) or document.layers not in (None, UNSET):
        return OCI_MANIFEST
    if document.blobs is not None:
        return OCI_ARTIFACT_MANIFEST
    raise ManifestInvalid("the manifest's type is unknown: send its type in Content-Type")


def _is_cheap(one: DescriptorDocument) -> bool:
    """Return True for a descriptor that has few fields and needs no look-up."""
    return (
        one.mediaType in FOREIGN_TYPES
        and one.urls is None
        and one.annotations is None
        and one.platform is None
        and one.data is None
    )


def _build(reading: ParsedDocument, media_type: str, kind: Kind) -> Manifest:
    document = reading.document
    builder = _Builder()
    config = builder.descriptor(document.config or None, "config")
    return Manifest(
        media_type=media_type,
        kind=kind,
        config=config,
        layers=builder.descriptors(document.layers or None, "layers"),
        blobs=builder.descriptors(document.blobs, "blobs"),
        manifests=builder.descriptors(document.manifests or None, "manifests"),
        subject=builder.descriptor(document.subject, "subject"),
        artifact_type=document.artifactType or (config and config.media_type) or None,
        annotations=_texts_by_name(document.annotations) or {},
        fault=reading.fault or _fault_of_fields(document, kind) or builder.fault,
    )


def _fault_of_fields(document: Document, kind: Kind) -> str:
    """Return the fault of a document whose fields do not fit its kind; empty if there is none.

    A document must not fit two kinds, because clients would disagree on the content that it names.
    """
    if document.schemaVersion is None and kind != "artifact":
        return "schemaVersion is missing: clients need the number 2 there"
    if document.schemaVersion not in (None, 2):
        return "schemaVersion is not 2: use the OCI or Docker v2 format"
    # containerd counts a null as a present field.
    named = {
        "image": document.config is not UNSET or document.layers is not UNSET,
        "index": document.manifests is not UNSET,
        "artifact": document.blobs is not None,
    }
    strange = [other for other, present in named.items() if present and other != kind]
    if strange:
        there = [name for name in _FIELDS[strange[0]] if getattr(document, name) is not UNSET]
        fields = ", ".join(there)
        return (
            f"the manifest is sent as an {kind} but has fields of an {strange[0]}: remove {fields}"
        )
    if kind == "image" and not document.config:
        return "an image manifest needs a config: refer to the empty one at least"
    return ""


_FIELDS = {"image": ("config", "layers"), "index": ("manifests",), "artifact": ("blobs",)}


class _Builder:
    """Makes descriptors and keeps the first fault. A descriptor with an invalid digest or size is
    left out.
    """

    def __init__(self) -> None:
        self.fault = ""

    def descriptors(
        self, documents: Sequence[DescriptorDocument] | None, field: str
    ) -> tuple[Descriptor, ...]:
        valid = _valid_descriptors(documents or ())
        if valid is not None:
            return valid
        found = (
            self.descriptor(document, f"{field}[{index}]")
            for index, document in enumerate(documents or ())
        )
        return tuple(one for one in found if one is not None)

    def descriptor(self, document: DescriptorDocument | None, field: str) -> Descriptor | None:
        if document is None:
            return None
        text, size = document.digest, document.size
        if text is None or size is None:
            name = "digest" if text is None else "size"
            self._note(f"{field}.{name} is missing: a descriptor needs digest and size")
            return None
        if not 0 <= size <= _SIZE_MAX:
            self._note(f"{field}.size is not between 0 and 2^63 - 1: write the number of bytes")
            return None
        try:
            digest = Digest.parse(text)
        except DigestInvalid as error:
            self._note(f"{field}.digest: {error}")
            return None
        found = _described(document, digest, size)
        if document.data is not None:
            self._check_data(document.data, found, field)
        return found

    def _check_data(self, text: str, descriptor: Descriptor, path: str) -> None:
        """Note a fault if `data` is not the content of the descriptor.

        Some clients use the data in place of the blob and check its size and digest.
        """
        digest = descriptor.digest
        # As Go decodes it: line ends are ignored, and the padding is required.
        plain = text.replace("\r", "").replace("\n", "")
        try:
            data = binascii.a2b_base64(plain, strict_mode=True) if len(plain) % 4 == 0 else None
        except ValueError:  # binascii.Error, or letters outside ASCII
            data = None
        if data is None:
            self._note(f"{path}.data is not base64: use the standard alphabet, with padding")
        elif len(data) != descriptor.size or Digest.of_bytes(data, digest.algorithm) != digest:
            self._note(f"{path}.data is not the content of {digest}: leave it out or correct it")

    def _note(self, fault: str) -> None:
        self.fault = self.fault or fault


def _valid_descriptors(documents: Sequence[DescriptorDocument]) -> tuple[Descriptor, ...] | None:
    """Return the descriptors of documents; None if one has a fault or data.

    Nearly all manifests have neither. Checking all digests at once takes a third of the time.
    """
    texts, sizes = [], []
    for one in documents:
        size = one.size
        if one.digest is None or size is None or one.data is not None:
            return None
        if not 0 <= size <= _SIZE_MAX:
            return None
        texts.append(one.digest)
        sizes.append(size)
    digests = Digest.parse_many(texts)
    if digests is None:
        return None
    return tuple(map(_described, documents, digests, sizes))


def _described(document: DescriptorDocument, digest: Digest, size: int) -> Descriptor:
    urls = document.urls
    # A fast path: most descriptors have neither, and a manifest may have thousands.
    if urls is None and document.annotations is None:
        return Descriptor(document.mediaType or "", digest, size, (), None, document.platform)
    return Descriptor(
        document.mediaType or "",
        digest,
        size,
        tuple([url or "" for url in urls]) if urls else (),
        _texts_by_name(document.annotations),
        document.platform,
    )


def _texts_by_name(found: dict[str, str | None] | None) -> dict[str, str] | None:
    """Return the texts with "" for null, as Go reads it; None if there are no texts."""
    if not found:
        return None
    if None in found.values():
        return {name: text or "" for name, text in found.items()}
    return cast("dict[str, str]", found)


def _digests(digests: Iterable[Digest]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(digests))

"""Keys of the registry's tables, and the parts of a key that callers want back."""

from __future__ import annotations

from typing import NewType

from dtrfast.index.tables import NUMBER_SIZE, digest_key_size, number_key, number_of
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import NAME_LENGTH_MAX, TAG_LENGTH_MAX

RepositoryId = NewType("RepositoryId", int)
"""The number of a repository. No other repository ever gets it."""


def manifest_key(repository: RepositoryId, digest: Digest) -> bytes:
    return number_key(repository) + digest.key()


def manifest_in(key: bytes) -> tuple[RepositoryId, Digest]:
    """Return the repository and the digest in a key of MANIFESTS, MANIFESTS_DELETED or LINKS."""
    return RepositoryId(number_of(key)), digest_in(key)


def digest_in(key: bytes) -> Digest:
    """Return the digest in a key of MANIFESTS, MANIFESTS_DELETED or LINKS."""
    return Digest.from_key(key[NUMBER_SIZE:])


def noted_key(note: bytes) -> bytes:
    """Return the key of MANIFESTS or LINKS in a key of MANIFESTS_UNTAGGED or LINKS_UNREFERENCED."""
    return note[NUMBER_SIZE:]


def tag_key(repository: RepositoryId, tag: str) -> bytes:
    return number_key(repository) + tag.encode()


def tag_of(key: bytes) -> str:
    """Return the tag in a key of TAGS."""
    return key[NUMBER_SIZE:].decode()


def manifest_tag_key(repository: RepositoryId, digest: Digest, tag: str) -> bytes:
    return manifest_key(repository, digest) + tag.encode()


def referrer_key(repository: RepositoryId, subject: Digest, referrer: Digest) -> bytes:
    return manifest_key(repository, subject) + referrer.key()


def referrer_of(key: bytes) -> Digest:
    """Return the referrer in a key of REFERRERS."""
    return Digest.from_key(key[NUMBER_SIZE + digest_key_size(key[NUMBER_SIZE]) :])


def after_tag(repository: RepositoryId, last: str) -> bytes:
    """Return the key after which a page of tags begins. `last` is an unchecked text of the client.

    It is cut to one character more than a tag may have, so no tag lies between the cut and the
    whole text.
    """
    return number_key(repository) + _text_key(last)[: TAG_LENGTH_MAX + 1]


def before_manifest(repository: RepositoryId, first: Digest) -> bytes:
    """Return the key after which a page begins that may have `first` as its first manifest."""
    key = manifest_key(repository, first)
    return (int.from_bytes(key, "big") - 1).to_bytes(len(key), "big")


def after_name(last: str) -> bytes:
    """Return the key after which a page of repositories begins. `last` is an unchecked text."""
    return _text_key(last)[: NAME_LENGTH_MAX + 1]


def _text_key(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

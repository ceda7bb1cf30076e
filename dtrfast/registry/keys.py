"""Keys of the registry's tables, and the parts of a key that callers want back."""

from __future__ import annotations

from typing import NewType

from dtrfast.index.tables import NUMBER_SIZE, digest_key_size, number_key
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import NAME_LENGTH_MAX, TAG_LENGTH_MAX

RepositoryId = NewType("RepositoryId", int)
"""The number of a repository, which no other one ever gets."""


def manifest_key(repository: RepositoryId, digest: Digest) -> bytes:
    return number_key(repository) + digest.key()


def tag_key(repository: RepositoryId, tag: str) -> bytes:
    return number_key(repository) + tag.encode()


def tag_of(key: bytes) -> str:
    """The tag in a key of TAGS."""
    return key[NUMBER_SIZE:].decode()


def manifest_tag_key(repository: RepositoryId, digest: Digest, tag: str) -> bytes:
    return manifest_key(repository, digest) + tag.encode()


def referrer_key(repository: RepositoryId, subject: Digest, referrer: Digest) -> bytes:
    return manifest_key(repository, subject) + referrer.key()


def referrer_of(key: bytes) -> Digest:
    """The referrer in a key of REFERRERS."""
    return Digest.from_key(key[NUMBER_SIZE + digest_key_size(key[NUMBER_SIZE]) :])


def after_tag(repository: RepositoryId, last: str) -> bytes:
    """Where a page of tags begins. `last` is whatever the client sent.

    A tag is shorter than what is kept of `last` here, so cutting it moves no tag across it.
    """
    return number_key(repository) + _text_key(last)[: TAG_LENGTH_MAX + 1]


def before_manifest(repository: RepositoryId, first: Digest) -> bytes:
    """Where a page of manifests begins that has this one as its first."""
    key = manifest_key(repository, first)
    return (int.from_bytes(key, "big") - 1).to_bytes(len(key), "big")


def after_name(last: str) -> bytes:
    """Where a page of repositories begins."""
    return _text_key(last)[: NAME_LENGTH_MAX + 1]


def _text_key(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

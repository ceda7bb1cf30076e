"""Attachments of an image: manifests about it, such as signatures, SBOMs and attestations.

An image has them by their subject, by tags of cosign, and by the tag of a list of referrers, which
clients keep for registries without the referrers API.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import REFERRERS
from dtrfast.oci import images
from dtrfast.oci.digests import Digest
from dtrfast.registry import families, keys, outlines, tags
from dtrfast.registry.budget import Budget
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.outlines import Outline
from dtrfast.registry.records import TagRecord

_REFERRERS_MAX = 200
# Tags of attachments that one answer counts one by one, about 5 µs each.
_FOLDED_MAX = 2000
# Bytes of descriptors of referrers that one answer reads: about 10 ms.
_REFERRERS_SIZE_MAX = 1 << 20
# Bytes of small manifests that an answer parses to tell lists of referrers from other indexes, and
# bytes of outlines of large ones: about 5 ms each.
_PARSED_SIZE_MAX = 256 << 10
_OUTLINES_SIZE_MAX = 8 << 20
# The kind of the manifest that such a tag names.
_LIST = "list of referrers"
# The kinds that come first; all others follow by name.
_FIRST = ("signature", "SBOM", "attestation")


class ImageReferrer(msgspec.Struct, frozen=True, rename="camel"):
    """A manifest about an image. `tag` is the one that cosign or another client keeps it under."""

    digest: str
    kind: str
    artifact_type: str
    size: int
    annotations: dict[str, str]
    tag: str = ""


class _ReferrerRow(msgspec.Struct, frozen=True):
    artifactType: str | None = None
    size: int = 0
    annotations: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(_ReferrerRow)


class Attachments:
    """The attachments of a repository's images, in one snapshot. The caller has checked permits.

    Use new instances for each answer. One does a bounded amount of work, which `budget` counts.
    """

    def __init__(
        self,
        transaction: ReadTransaction,
        repository: RepositoryId,
        budget: Budget | None = None,
    ) -> None:
        self._transaction = transaction
        self._repository = repository
        self._size_left = _REFERRERS_SIZE_MAX
        self._budget = budget or Budget(_PARSED_SIZE_MAX, outline_bytes_left=_OUTLINES_SIZE_MAX)

    # ---- of images ---------------------------------------------------------------------------
    def of(self, subject: Digest) -> Iterator[ImageReferrer]:
        """Yield the attachments of an image: each tag, and each other manifest once."""
        seen = set()
        for one in self._by_subject(subject):
            seen.add(one.digest)
            yield one
        for tag, digest, _ in self._by_tags([subject]):
            outline = self._outline(digest)
            size = 0 if outline is None else outline.manifest_size
            seen.add(str(digest))
            yield ImageReferrer(str(digest), images.kind_of_tag(tag) or _LIST, "", size, {}, tag)
            for one in self._listed(tag, outline):  # its tag is the last
                if one.digest not in seen:
                    seen.add(one.digest)
                    yield one

    def kinds(self, subjects: Iterable[Digest]) -> dict[Digest, tuple[str, ...]]:
        """Return the kinds of the attachments of many images."""
        found = {one: {row.kind for row in self._by_subject(one)} for one in subjects}
        for tag, digest, subject in self._by_tags(found):
            kind = images.kind_of_tag(tag)
            if kind:
                found[subject].add(kind)
            else:
                found[subject] |= {one.kind for one in self._listed(tag, self._outline(digest))}
        return {subject: in_order(kinds) for subject, kinds in found.items()}

    def _by_subject(self, subject: Digest) -> Iterator[ImageReferrer]:
        prefix = keys.manifest_key(self._repository, subject)
        rows = self._transaction.scan(REFERRERS, prefix, limit=_REFERRERS_MAX)
        for key, data in rows:
            self._size_left -= len(data)
            if self._size_left < 0:
                self._budget.is_spent = True
                return
            row = _decoder.decode(data)
            annotations = row.annotations or {}
            kind = images.kind_of_referrer(row.artifactType or "", annotations)
            referrer = str(keys.referrer_of(key))
            yield ImageReferrer(referrer, kind, row.artifactType or "", row.size, annotations)

    def _by_tags(self, subjects: Iterable[Digest]) -> Iterator[tuple[str, Digest, Digest]]:
        """Yield the tags of attachments of some images, each with its digest and its subject."""
        wanted = {tag: one for one in subjects for tag in images.attachment_tags(one)}
        found = tags.records(self._transaction, self._repository, wanted)
        for tag, subject in wanted.items():
            if tag in found and self._is_attachment(tag, found[tag], subject):
                yield tag, found[tag].digest, subject

    def _listed(self, tag: str, outline: Outline | None) -> Iterator[ImageReferrer]:
        """Yield the entries of a list of referrers; for other tags nothing."""
        is_list = outline is not None and not images.kind_of_tag(tag)
        for entry in outline.listed[:_REFERRERS_MAX] if outline and is_list else ():
            one = self._outline(entry.digest) if self._budget.take() else None
            if one is not None:
                kind, size = one.kind, one.manifest_size
                yield ImageReferrer(str(entry.digest), kind, one.artifact_type, size, {})

    def _outline(self, digest: Digest) -> Outline | None:
        found = outlines.look(self._transaction, self._repository, digest, self._budget)
        return None if found is None else found.outline

    # ---- of lists of tags ----------------------------------------------------------------------
    def is_shown(self, row: tuple[str, bytes]) -> bool:
        """Return False for a tag that belongs to another image of the repository. A row is a tag
        with its encoded record.
        """
        tag, record = row
        subject = images.subject_of_tag(tag)
        if subject is None or not families.is_there(self._transaction, self._repository, subject):
            return True
        return not self._is_attachment(tag, TagRecord.decode(record), subject)

    def count_folded(self, rows: Iterable[tuple[str, bytes]]) -> int:
        """Return the number of rows that are not shown. Beyond the first `_FOLDED_MAX` tags of
        attachments, the names alone decide.
        """
        named = [row for row in rows if images.subject_of_tag(row[0]) is not None]
        looked_at = named[:_FOLDED_MAX]
        return len(named) - sum(1 for row in looked_at if self.is_shown(row))

    def _is_attachment(self, tag: str, record: TagRecord, subject: Digest) -> bool:
        """Return False for an image that has its own digest, or that of another, as its tag."""
        if images.kind_of_tag(tag):
            return record.digest != subject
        outline = self._outline(record.digest)
        return record.digest != subject and (outline is None or outline.is_index)


def in_order(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return kinds of attachments in the order of lists, each once."""
    given = set(kinds)
    return (*(kind for kind in _FIRST if kind in given), *sorted(given.difference(_FIRST)))

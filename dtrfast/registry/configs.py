"""Configs of images. They are blobs, so none is read inside a transaction.

The fields of a config that is missing or damaged are empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from dtrfast.errors import DtrfastError
from dtrfast.oci import images
from dtrfast.oci.digests import Digest
from dtrfast.oci.images import ImageConfig
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.blobs import Blobs
from dtrfast.registry.descriptions import Platform, Summary
from dtrfast.store.blobs import Segment

# Bytes of a config that is read. Most have a few kilobytes, and a page could not show a larger one.
_CONFIG_SIZE_MAX = 256 << 10
_PLATFORMS_KEPT = 16_384
# Configs that one answer reads, about 0.1 ms each, and their bytes, about 0.01 s a MiB.
_CONFIGS_READ_MAX = 300
_CONFIGS_SIZE_MAX = 2 << 20


@dataclass(frozen=True, slots=True)
class Description:
    """The part of a list's entry that depends on configs."""

    platforms: list[str]
    created: str
    is_exact: bool


class Configs:
    """The configs of a repository's images, for one answer, which reads a bounded number of them.
    `is_spent` is True once some were left out.
    """

    def __init__(self, blobs: Blobs, name: RepositoryName) -> None:
        self._blobs = blobs
        self._name = name
        self._reads_left = _CONFIGS_READ_MAX
        self._size_left = _CONFIGS_SIZE_MAX
        self.is_spent = False

    def describe(self, summary: Summary) -> Description:
        """Describe the part of a summary that its configs have. `is_exact` covers both."""
        spent_before, self.is_spent = self.is_spent, False
        platforms = self.platforms(summary.platforms)
        created = "" if summary.config is None else self._find(summary.config)[1]
        is_exact = summary.is_exact and (summary.config is not None or not self.is_spent)
        self.is_spent |= spent_before
        return Description(platforms, created, is_exact)

    def platforms(self, named: Iterable[Platform]) -> list[str]:
        """Return the names of platforms, each once."""
        names = (self._find(one)[0] if isinstance(one, Digest) else one for one in named)
        return list(dict.fromkeys(filter(None, names)))

    def read(self, digest: Digest | None) -> ImageConfig:
        """Return a config; an empty one if the blob is missing or damaged, or without a digest."""
        if digest is None:
            return ImageConfig()
        try:
            with self._blobs.open_range(self._name, digest) as reader:
                # The size in the manifest may be wrong, so that of the blob counts.
                if reader.stat.size > _CONFIG_SIZE_MAX:
                    return ImageConfig()
                self._size_left -= reader.stat.size
                return images.parse_config(b"".join(_bytes(segment) for segment in reader))
        except (DtrfastError, OSError):
            return ImageConfig()

    def _find(self, digest: Digest) -> tuple[str, str]:
        """Return the platform and the date of an image, as far as its config has them."""
        key = (self._name.text, digest)
        known = _platforms.get(key)
        if known is None:
            if self._reads_left <= 0 or self._size_left <= 0:
                self.is_spent = True
                return "", ""
            self._reads_left -= 1
            config = self.read(digest)
            length = images.PLATFORM_LENGTH_MAX
            known = config.platform[:length], config.created[:length]
            if len(_platforms) >= _PLATFORMS_KEPT:
                _platforms.clear()
            if config != ImageConfig():
                _platforms[key] = known
        return known


_platforms: dict[tuple[str, Digest], tuple[str, str]] = {}


def _bytes(segment: Segment) -> bytes:
    if isinstance(segment, bytes):
        return segment
    return os.pread(segment.descriptor, segment.length, segment.offset)

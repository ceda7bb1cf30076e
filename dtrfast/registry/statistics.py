"""How many things the registry holds, counted as they come and go: asking costs one look-up."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.index.counts import Counts
from dtrfast.index.tables import META


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """Counts. Repositories include those that hold nothing any more."""

    repositories: int = 0
    manifests: int = 0
    manifest_bytes: int = 0
    tags: int = 0
    links: int = 0
    linked_bytes: int = 0  # each blob counted in each repository: the logical bytes

    def shared_bytes(self, stored_bytes: int) -> int:
        """Logical bytes that need no disk because something else holds them."""
        return max(0, self.linked_bytes - stored_bytes)


_counts = Counts(META, b"registry_statistics", RegistryStatistics)
read = _counts.read
add = _counts.add

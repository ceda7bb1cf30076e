"""The work that one request may do in the index.

It is counted in steps, not in time, so equal requests get equal answers on every machine. Lists and
searches, whose entries cost little, are bounded by time: `pages.BoundedScan`.
"""

from __future__ import annotations

from dataclasses import dataclass

# Bytes of outlines that one request reads: about 20 ms.
_OUTLINE_BYTES_MAX = 32 << 20


@dataclass(slots=True)
class Budget:
    """The work that one request may still do.

    `bytes_left` are bytes of manifests that it parses. `steps_left` are rows of the index that it
    reads. `outline_bytes_left` are bytes of outlines; the largest manifests have outlines of 1 MiB.
    `is_spent` is True if something was left out because one of these was too small.
    """

    bytes_left: int = 1 << 20
    steps_left: int = 10_000
    is_spent: bool = False
    outline_bytes_left: int = _OUTLINE_BYTES_MAX

    def take(self, steps: int = 1) -> bool:
        """Take steps. Returns False, and takes none, if fewer are left."""
        if steps > self.steps_left:
            self.is_spent = True
            return False
        self.steps_left -= steps
        return True

    def parse(self, size: int) -> bool:
        """Take bytes of a manifest to parse. Returns False, and takes none, if fewer are left."""
        if size > self.bytes_left:
            self.is_spent = True
            return False
        self.bytes_left -= size
        return True


def unlimited() -> Budget:
    """Return a budget without bounds, for work outside of requests."""
    return Budget(1 << 62, 1 << 62, outline_bytes_left=1 << 62)

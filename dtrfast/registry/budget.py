"""The work that one request may do in the index.

It is counted in steps, not in time, so equal requests get equal answers on every machine. Lists and
searches, whose entries cost little, are bounded by time: `pages.Bounded`.
"""

from __future__ import annotations

from dataclasses import dataclass

# Outlines that one request reads: about 20 ms.
_OUTLINE_BYTES_MAX = 32 << 20


@dataclass(slots=True)
class Budget:
    """The work that one request may do: bytes of manifests that it parses, steps, which are rows of
    the index that it looks at, and bytes of outlines, of which a manifest near the limit has 1 MiB.
    `is_spent`: something was left out for want of one of these.
    """

    bytes_left: int = 1 << 20
    steps_left: int = 10_000
    is_spent: bool = False
    outline_bytes_left: int = _OUTLINE_BYTES_MAX

    def take(self, steps: int = 1) -> bool:
        """Take some steps; False if there are not so many left."""
        if steps > self.steps_left:
            self.is_spent = True
            return False
        self.steps_left -= steps
        return True

    def parse(self, size: int) -> bool:
        """Take bytes to be parsed; False if there are not so many left."""
        if size > self.bytes_left:
            self.is_spent = True
            return False
        self.bytes_left -= size
        return True


def unlimited() -> Budget:
    """The budget of work that is not for a request."""
    return Budget(1 << 62, 1 << 62, outline_bytes_left=1 << 62)

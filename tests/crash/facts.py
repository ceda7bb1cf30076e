"""The facts that a client was told, and may count on after a crash.

A *fact* is a kind, a key and a value: the blob of a repository, the digest of a tag, or the offset
of an upload. The workload marks a fact as tried before it changes it, and as known once the change
was acknowledged. After a crash a fact has the value that was last known, or one that was tried
since.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from tests.crash.recording import mark

Key = tuple[str, ...]
Value = str | int | None

ENDED = -1  # the offset of an upload that was committed or canceled


def mark_trying(kind: str, key: Key, value: Value) -> None:
    """Note that the fact is about to change. Only one thread changes a fact."""
    mark(json.dumps(["try", kind, key, value]))


def mark_known(kind: str, key: Key, value: Value) -> None:
    """Note that the change was acknowledged."""
    mark(json.dumps(["know", kind, key, value]))


class Facts:
    """All facts at one moment."""

    def __init__(self, marks: list[str]) -> None:
        self._possible: dict[str, dict[Key, list[Value]]] = defaultdict(dict)
        for text in marks:
            step, kind, key, value = json.loads(text)
            values = self._possible[kind].setdefault(tuple(key), [None])
            if step == "know":
                values.clear()
            values.append(value)

    def tell_of_death(self) -> None:
        """Take into account that the program was killed.

        An upload that was being changed may have ended by an error that its client never received.
        """
        for values in self._possible["upload"].values():
            if len(values) > 1:
                values.append(ENDED)

    def possible(self, kind: str, key: Key) -> list[Value]:
        """Return the values that the fact may have. None means that the thing does not exist."""
        return self._possible[kind].get(key, [None])

    def of_kind(self, kind: str) -> Iterator[tuple[Key, list[Value]]]:
        """Yield all facts of a kind with their possible values."""
        yield from self._possible[kind].items()

"""What a client was told, and so may count on after a crash.

A *fact* is a kind, a key and a value: the blob of a repository, where a tag points, how far an
upload has come. The workload marks a fact as tried before it changes it and as known once that was
acknowledged. After a crash a fact has the value last known, or one that was tried since.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from tests.crash.recording import mark

Key = tuple[str, ...]
Value = str | int | None

ENDED = -1  # the offset of an upload that was committed or cancelled


def trying(kind: str, key: Key, value: Value) -> None:
    """Note that the fact is being changed. Only one thread changes a fact."""
    mark(json.dumps(["try", kind, key, value]))


def known(kind: str, key: Key, value: Value) -> None:
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
        """The program was killed: an upload that was being changed may have ended, by an error of
        which its client could no more be told.
        """
        for values in self._possible["upload"].values():
            if len(values) > 1:
                values.append(ENDED)

    def possible(self, kind: str, key: Key) -> list[Value]:
        """The values that the fact may have; None stands for nothing being there."""
        return self._possible[kind].get(key, [None])

    def of_kind(self, kind: str) -> Iterator[tuple[Key, list[Value]]]:
        """All facts of a kind with their possible values."""
        yield from self._possible[kind].items()

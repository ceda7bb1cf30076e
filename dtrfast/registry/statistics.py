"""How many things the registry holds, counted as they come and go: asking costs one look-up."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import META

_KEY = b"registry_statistics"


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """Counts. Repositories include those that hold nothing any more."""

    repositories: int = 0
    manifests: int = 0
    manifest_bytes: int = 0
    tags: int = 0


_NAMES = tuple(field.name for field in fields(RegistryStatistics))
_LAYOUT = struct.Struct(f"<{len(_NAMES)}q")


def read(transaction: ReadTransaction) -> RegistryStatistics:
    data = transaction.get(META, _KEY)
    if data is None:
        return RegistryStatistics()
    # An older record is shorter: what it does not count is zero.
    return RegistryStatistics(*_LAYOUT.unpack(data.ljust(_LAYOUT.size, b"\0")[: _LAYOUT.size]))


def add(transaction: WriteTransaction, **changes: int) -> None:
    """Count: each keyword is a field and its difference."""
    now = read(transaction)
    values = [getattr(now, name) + changes.pop(name, 0) for name in _NAMES]
    assert not changes, f"no such counts: {changes}"
    transaction.put(META, _KEY, _LAYOUT.pack(*values))

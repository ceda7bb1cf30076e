"""The features of a store: parts of its format that older versions do not know. They decide which
versions may open it.

A version that does not know an *incompatible* feature cannot open the store. One that does not know
a *read-only compatible* feature cannot write to it. A *compatible* feature excludes no version.

A feature that came with the last upgrade is *unsealed* at first, and so is one that the version
before does not know. Until it is sealed, `rollback` can remove it, and the version before can open
the store again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

# Manifests and repositories in the trash keep their blobs: who does not know would free them.
TRASH = "trash"
# Who may do what is in the index: who does not know would serve everybody everything.
ACCOUNTS = "accounts"
# Packs hold copies of recipes, and lose chunks by compaction. Who does not know reads them.
PACK_RECIPES = "pack-recipes"

# Who holds what is apart from content: who does not know would not free what lost its last holder,
# and count links in another place.
HOLDINGS = "holdings"

_INCOMPATIBLE = frozenset({TRASH, ACCOUNTS, HOLDINGS})
# What the version before this one does not know.
_NEW = frozenset({HOLDINGS})
_COMPATIBLE = frozenset({PACK_RECIPES})


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a store, by name."""

    compatible: frozenset[str] = frozenset()
    read_only_compatible: frozenset[str] = frozenset()
    incompatible: frozenset[str] = frozenset()
    unsealed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, record: dict[str, Any]) -> Self:
        """What the file `format` says. Raises `KeyError`, `TypeError`."""
        features = record["features"]
        return cls(
            frozenset(features["compatible"]),
            frozenset(features["read_only_compatible"]),
            frozenset(features["incompatible"]),
            frozenset(record.get("unsealed", ())),
        )

    def record(self) -> dict[str, list[str]]:
        """As the file `format` has it."""
        return {
            "compatible": sorted(self.compatible),
            "read_only_compatible": sorted(self.read_only_compatible),
            "incompatible": sorted(self.incompatible),
        }

    def unknown(self) -> list[str]:
        """Those that keep this version away: it always writes."""
        return sorted((self.incompatible | self.read_only_compatible) - ALL.incompatible)

    @property
    def is_older(self) -> bool:
        """Whether a version before this one wrote it last."""
        return not self.incompatible >= ALL.incompatible

    @property
    def is_trash_new(self) -> bool:
        """True if the version before knows no trash."""
        return TRASH in self.unsealed

    @property
    def are_accounts_new(self) -> bool:
        """True if the version before knows no accounts."""
        return ACCOUNTS in self.unsealed

    def upgraded(self) -> Features:
        """With all that this version uses; what is new can be taken back."""
        new = ALL.incompatible - self.incompatible
        return Features(
            self.compatible | ALL.compatible,
            self.read_only_compatible,
            self.incompatible | ALL.incompatible,
            new,
        )

    def rolled_back(self) -> Features:
        """Without what is not sealed."""
        # What a version without recipes in packs would not keep.
        lost = _COMPATIBLE if TRASH in self.unsealed else frozenset()
        return Features(
            self.compatible - lost,
            self.read_only_compatible - self.unsealed,
            self.incompatible - self.unsealed,
        )

    def sealed(self) -> Features:
        return Features(self.compatible, self.read_only_compatible, self.incompatible)


# What this version uses.
ALL = Features(_COMPATIBLE, frozenset(), _INCOMPATIBLE, _NEW)

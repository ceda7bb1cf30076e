"""The features of a store: parts of its format that older versions do not know.

They decide which versions may open the store.

A version that does not know an *incompatible* feature cannot open the store. One that does not know
a *read-only compatible* feature cannot write to it. A *compatible* feature excludes no version.

A feature that came with the last upgrade is *unsealed* at first, and so is one that the version
before does not know. Until it is sealed, `rollback` can remove it, and the version before can open
the store again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

# Manifests and repositories in the trash keep their blobs. A version without the feature would free
# them.
TRASH = "trash"
# The index has access rights. A version without the feature would serve every repository to every
# client.
ACCOUNTS = "accounts"
# Packs hold copies of recipes, and lose chunks by compaction. Versions without the feature can read
# them.
PACK_RECIPES = "pack-recipes"

# Holdings are apart from content. A version without the feature would not free content that lost
# its last holder, and it counts links in another place.
HOLDINGS = "holdings"

# Layers are re-created from replay recipes. The first conversion adds the feature, and an expansion
# removes it: a version without it would not find the bytes of evicted layers.
TIER = "tier"

_INCOMPATIBLE = frozenset({TRASH, ACCOUNTS, HOLDINGS})
# Features that the version before this one does not know.
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
        """Return the features in a record of the file `format`. Raises `KeyError`, `TypeError`."""
        features = record["features"]
        return cls(
            frozenset(features["compatible"]),
            frozenset(features["read_only_compatible"]),
            frozenset(features["incompatible"]),
            frozenset(record.get("unsealed", ())),
        )

    def record(self) -> dict[str, list[str]]:
        """Return the record for the file `format`."""
        return {
            "compatible": sorted(self.compatible),
            "read_only_compatible": sorted(self.read_only_compatible),
            "incompatible": sorted(self.incompatible),
        }

    def unknown(self) -> list[str]:
        """Return the features that stop this version, which always writes, from opening it."""
        known = ALL.incompatible | {TIER}
        return sorted((self.incompatible | self.read_only_compatible) - known)

    @property
    def is_older(self) -> bool:
        """True if an older version was the last one to open the store for writing."""
        return not self.incompatible >= ALL.incompatible

    @property
    def has_tier(self) -> bool:
        """True if layers may have replay recipes."""
        return TIER in self.incompatible

    def with_tier(self, *, has: bool) -> Features:
        """Return these with the feature of the gzip tier, or without it."""
        added = self.incompatible | {TIER} if has else self.incompatible - {TIER}
        return Features(self.compatible, self.read_only_compatible, added, self.unsealed)

    @property
    def is_trash_new(self) -> bool:
        """True if the version before this one does not know the trash."""
        return TRASH in self.unsealed

    @property
    def are_accounts_new(self) -> bool:
        """True if the version before this one does not know accounts."""
        return ACCOUNTS in self.unsealed

    def upgraded(self) -> Features:
        """Return these with all features of this version; `rolled_back` can remove the new ones."""
        new = ALL.incompatible - self.incompatible
        return Features(
            self.compatible | ALL.compatible,
            self.read_only_compatible,
            self.incompatible | ALL.incompatible,
            new,
        )

    def rolled_back(self) -> Features:
        """Return these without the unsealed features."""
        # A version without the trash is one without recipes in packs, too: it would not keep them.
        lost = _COMPATIBLE if TRASH in self.unsealed else frozenset()
        return Features(
            self.compatible - lost,
            self.read_only_compatible - self.unsealed,
            self.incompatible - self.unsealed,
        )

    def sealed(self) -> Features:
        return Features(self.compatible, self.read_only_compatible, self.incompatible)


# The features of this version.
ALL = Features(_COMPATIBLE, frozenset(), _INCOMPATIBLE, _NEW)

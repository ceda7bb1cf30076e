"""What administrators decide about storage while the server runs: one document of the settings."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dtrfast.errors import Corrupt
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import SETTINGS
from dtrfast.store.limits import StoreLimits

NAME = b"storage"
DAY_SECONDS = 86_400

_LIMITS = StoreLimits()
_Rate = Annotated[int, Meta(ge=65_536, le=1 << 40)]
_Days = Annotated[float, Meta(ge=0, le=36_500)]


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How long things stay, and how much of the disk and its time housekeeping takes."""

    # How long what was deleted can be restored.
    trash_days: _Days = 14.0
    # After so many days without a tag a manifest is deleted, to the trash; 0: never.
    untagged_days: _Days = 0.0
    # What scrub reads in a second, and how often it reads everything; 0 days: never.
    scrub_bytes_per_second: _Rate = _LIMITS.scrub_bytes_per_second
    scrub_days: _Days = _LIMITS.scrub_days
    # Pushes are refused when less than this is free, so that deletes and reclaim still work; of a
    # small file system a twentieth.
    reserve_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = _LIMITS.reserve_bytes


def read(transaction: ReadTransaction) -> StorageSettings:
    """The settings, or their defaults."""
    data = transaction.get(SETTINGS, NAME)
    if data is None:
        return StorageSettings()
    try:
        return msgspec.json.decode(data, type=StorageSettings)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"the settings 'storage' cannot be read ({error})") from error


def read_limits(engine: Engine) -> StoreLimits:
    """The limits that the store has to keep to, at this moment."""
    with engine.read() as transaction:
        settings = read(transaction)
    return StoreLimits(
        scrub_bytes_per_second=settings.scrub_bytes_per_second,
        scrub_days=settings.scrub_days,
        reserve_bytes=settings.reserve_bytes,
    )

"""The storage settings, which administrators change while the server runs."""

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
    """The settings of trash, policies, scrub and the disk reserve, as one document."""

    # Days in which deleted things can be restored.
    trash_days: _Days = 14.0
    # Days without a tag after which a manifest is put into the trash; 0: never.
    untagged_days: _Days = 0.0
    # Bytes that scrub reads in a second, and days in which it reads everything once; 0 days: never.
    scrub_bytes_per_second: _Rate = _LIMITS.scrub_bytes_per_second
    scrub_days: _Days = _LIMITS.scrub_days
    # Pushes are refused when fewer bytes are free, so that deletes and reclaim still work. On a
    # small file system the reserve is a twentieth of it.
    reserve_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = _LIMITS.reserve_bytes


def read(transaction: ReadTransaction) -> StorageSettings:
    """Return the settings, or their defaults if they were never saved."""
    data = transaction.get(SETTINGS, NAME)
    if data is None:
        return StorageSettings()
    try:
        return msgspec.json.decode(data, type=StorageSettings)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"the settings 'storage' cannot be read ({error})") from error


def trash_seconds(transaction: ReadTransaction) -> int:
    """Return the seconds that things stay in the trash."""
    return int(read(transaction).trash_days * DAY_SECONDS)


def read_trash_days(engine: Engine) -> float:
    """Return for how many days deleted things can be restored, as set at this moment."""
    with engine.read() as transaction:
        return read(transaction).trash_days


def read_limits(engine: Engine) -> StoreLimits:
    """Return the present limits of the store."""
    with engine.read() as transaction:
        settings = read(transaction)
    return StoreLimits(
        scrub_bytes_per_second=settings.scrub_bytes_per_second,
        scrub_days=settings.scrub_days,
        reserve_bytes=settings.reserve_bytes,
    )

"""The first start of a registry with accounts: somebody has to be able to sign in."""

from __future__ import annotations

import sys
import time

from dtrfast.config import Config
from dtrfast.identity.callers import SYSTEM
from dtrfast.identity.events import Detail, Event, EventWriter
from dtrfast.identity.sign_in import first_admin
from dtrfast.machine.paths import Layout
from dtrfast.registry.writing import Author
from dtrfast.store.store import Store


def make_admin(store: Store, config: Config) -> str | None:
    """Make the first administrator where there are to be accounts and is none: the password."""
    if config.auth.mode == "none":
        return None
    now = int(time.time())
    password = first_admin(store.engine, Author(SYSTEM.actor, now))
    if password is not None:
        events = EventWriter(Layout(config.store.data).audit, config.log.audit_size_max)
        detail: Detail = {"type": "user", "admin": True}
        made = Event(now, "account.create", SYSTEM.actor, "", "ok", "admin", detail)
        events.add(made, by_admin=True)
        events.close()
    return password


def show_password(password: str) -> None:
    """On the terminal and not in the log, which others read and keep."""
    sys.stderr.write(
        f"\n  The first administrator is made. This is shown once:\n\n"
        f"    name      admin\n    password  {password}\n\n"
        f"  Sign in with it in a browser, at the address that follows, or with `docker login`.\n"
        f"  Lost it? `dtrfast user reset-password admin` makes another one.\n\n"
    )
    sys.stderr.flush()

"""The first start of a registry with accounts, which makes the first administrator."""

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
    """Make the first administrator and return the password.

    Return None if accounts are off, or if there is an account already.
    """
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
    """Write the password to the terminal. It must not be in the log, which others read and keep."""
    sys.stderr.write(
        f"\n  The first administrator was created. Its credentials are shown only once:\n\n"
        f"    name      admin\n    password  {password}\n\n"
        f"  Sign in with it in a browser, at the address below, or with `docker login`.\n"
        f"  If you lose it, `dtrfast user reset-password admin` makes a new one.\n\n"
    )
    sys.stderr.flush()

"""The first start of a registry with accounts: somebody has to be able to sign in."""

from __future__ import annotations

import sys
import time

from dtrfast.config import Config
from dtrfast.identity.sign_in import first_admin
from dtrfast.registry.writing import Author
from dtrfast.store.store import Store


def make_admin(store: Store, config: Config) -> str | None:
    """Make the first administrator where there are to be accounts and is none: the password."""
    if config.auth.mode == "none":
        return None
    return first_admin(store.engine, Author("system", int(time.time())))


def show_password(password: str) -> None:
    """On the terminal and not in the log, which others read and keep."""
    sys.stderr.write(
        f"\n  The first administrator is made. This is shown once:\n\n"
        f"    name      admin\n    password  {password}\n\n"
        f"  Sign in with it in a browser, at the address that follows, or with `docker login`.\n"
        f"  Lost it? `dtrfast user reset-password admin` makes another one.\n\n"
    )
    sys.stderr.flush()

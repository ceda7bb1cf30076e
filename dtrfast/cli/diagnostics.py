"""`dtrfast diagnostics`: everything that somebody who is to help has to know, in one archive."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dtrfast.api.v0.diagnostics import pack
from dtrfast.cli.accounts import At
from dtrfast.cli.connection import HERE, connect
from dtrfast.cli.output import say
from dtrfast.errors import StorageFailed


def _for_me(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def diagnostics(
    *,
    output: Annotated[
        Path | None, Parameter(help="Where to write the archive (./dtrfast-diagnostics-….tar.gz).")
    ] = None,
    at: At = HERE,
) -> None:
    """Collect versions, settings without secrets, metrics, log lines and the store's state."""
    name = time.strftime("dtrfast-diagnostics-%Y%m%d-%H%M%S")
    with connect(at) as api:
        document = api.call("GET", "admin", "diagnostics")
    path = output or Path(f"{name}.tar.gz")
    try:
        with open(path, "wb", opener=_for_me) as file:
            file.write(pack(document, name))
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written ({error.strerror})") from error
    say(f"wrote {path}; look through it before you send it: log lines have names and addresses")

"""`dtrfast diagnostics`: one archive with the facts that support needs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import connect
from dtrfast.cli.options import HERE
from dtrfast.cli.output import done
from dtrfast.errors import StorageFailed
from dtrfast.machine.archive import pack


def diagnostics(
    *,
    output: Annotated[
        Path | None,
        Parameter(help="The file to write (./dtrfast-diagnostics-….tar.gz)."),
    ] = None,
    at: At = HERE,
) -> None:
    """Collect versions, settings without secrets, metrics, log lines and the store's state."""
    name = time.strftime("dtrfast-diagnostics-%Y%m%d-%H%M%S")
    with connect(at) as api:
        document = api.call("GET", "admin", "diagnostics")
    path = output or Path(f"{name}.tar.gz")
    try:
        # No other user may read the file.
        with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(pack(document, name))
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written ({error.strerror})") from error
    text = f"wrote {path}; read it before you send it: log lines contain names and addresses"
    done(at, {"file": str(path)}, text)

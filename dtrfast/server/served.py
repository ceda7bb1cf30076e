"""What a worker serves: the application, and what its lanes need to answer without it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dtrfast.api.types import Context
from dtrfast.server.access_log import AccessWriter
from dtrfast.server.asgi import App


@dataclass(frozen=True, slots=True)
class Served:
    """`context` is what `app` answers from; None where there are to be no lanes."""

    app: App
    context: Context | None = None
    access: AccessWriter | None = None
    tidy: Callable[[], None] | None = None  # to be called some times a minute
    ending: threading.Event | None = None  # to be set when the process is asked to stop

"""The application that a worker serves, and the objects that its lanes need."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dtrfast.api.types import ApiContext
from dtrfast.server.access_log import AccessWriter
from dtrfast.server.asgi import App


@dataclass(frozen=True, slots=True)
class ServedApp:
    """The application that a worker serves. `context`: the objects behind it; None for no lanes."""

    app: App
    context: ApiContext | None = None
    access: AccessWriter | None = None
    tidy: Callable[[], None] | None = None  # the worker calls it every few seconds
    ending: threading.Event | None = None  # the worker sets it when it has to stop

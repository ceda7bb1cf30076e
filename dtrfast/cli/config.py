"""`dtrfast config`: show and check the settings."""

from __future__ import annotations

import os
import sys

import cyclopts

from dtrfast.cli.options import ConfigFile, Data, Json
from dtrfast.cli.output import finish, show_json
from dtrfast.config import load
from dtrfast.server import tls

app = cyclopts.App(name="config", help="Show and check the settings.")


@app.command
def show(*, config: ConfigFile = None, data: Data = None, json: Json = False) -> None:
    """Print all settings as a TOML file, each with the source of its value."""
    settings = load(config, os.environ, {"store.data": data})
    if not json:
        sys.stdout.write(settings.describe() + "\n")
        return
    show_json({one.name: {"value": one.value, "source": one.origin} for one in settings.settings()})


@app.command
def check(*, config: ConfigFile = None, data: Data = None, json: Json = False) -> None:
    """Check that a server would accept the settings."""
    expires = tls.check(load(config, os.environ, {"store.data": data}).server)
    document = {"isValid": True, "certificateExpires": expires or ""}
    finish(document, ["the settings are valid"], is_json=json)

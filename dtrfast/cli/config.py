"""`dtrfast config`: show and check the settings."""

from __future__ import annotations

import os
import sys

import cyclopts

from dtrfast.cli.options import ConfigFile, Data
from dtrfast.config import load
from dtrfast.server import tls

app = cyclopts.App(name="config", help="Show and check the settings.")


@app.command
def show(*, config: ConfigFile = None, data: Data = None) -> None:
    """Print all settings as a TOML file, each with the source of its value."""
    settings = load(config, os.environ, {"store.data": data})
    sys.stdout.write(settings.describe() + "\n")


@app.command
def check(*, config: ConfigFile = None, data: Data = None) -> None:
    """Check that a server would accept the settings."""
    tls.check(load(config, os.environ, {"store.data": data}).server)
    sys.stdout.write("the settings are valid\n")

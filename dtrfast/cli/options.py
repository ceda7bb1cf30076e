"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

ConfigFile = Annotated[
    Path | None, Parameter(name="--config", help="Settings, a TOML file (else DTRFAST_CONFIG).")
]
# As text: an empty path, such as an unset variable in a script, would be the current directory.
Data = Annotated[
    str | None, Parameter(name="--data", help="The directory that holds everything (./data).")
]

"""Options of several commands, and the parsing of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token

ConfigFile = Annotated[
    Path | None, Parameter(name="--config", help="The settings, a TOML file (else DTRFAST_CONFIG).")
]
# This is text, since an empty `Path`, as from an unset variable, would be the current directory.
Data = Annotated[
    str | None,
    Parameter(name="--data", help="The data directory, which holds everything (./data)."),
]

Json = Annotated[
    bool, Parameter(name="--json", help="Print the result as one JSON document.", negative="")
]
Wide = Annotated[
    bool,
    Parameter(name="--wide", help="Print whole tables on a narrow terminal, too.", negative=""),
]


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Options that select a registry, and the form of the output."""

    url: Annotated[
        str | None, Parameter(help="The registry's address, such as https://registry.example.")
    ] = None
    profile: Annotated[
        str | None,
        Parameter(help="A profile that `dtrfast login` made (else DTRFAST_PROFILE)."),
    ] = None
    token_file: Annotated[
        Path | None,
        Parameter(help="A file with a personal token (else the profile's, or DTRFAST_TOKEN)."),
    ] = None
    ca_file: Annotated[
        Path | None, Parameter(help="Certificate authorities to trust, a PEM file.")
    ] = None
    config: Annotated[
        Path | None, Parameter(help="The settings, a TOML file (else DTRFAST_CONFIG).")
    ] = None
    data: Annotated[
        str | None, Parameter(help="The data directory of a registry on this machine (./data).")
    ] = None
    json: Annotated[
        bool, Parameter(help="Print the API's answer as one JSON document.", negative="")
    ] = False
    wide: Wide = False


HERE = RegistryOptions()


def read_whole(kind: object, tokens: Sequence[Token]) -> int:
    """Parse a count. Raises ValueError for a fraction: rounded to 0, it often means "no limit"."""
    text = tokens[0].value
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is not a whole number such as 7")
    return int(text)


def read_amount(kind: object, tokens: Sequence[Token]) -> float:
    """Parse a finite number that is not negative. Raises ValueError."""
    text = tokens[0].value
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise ValueError(f"{text!r} is not a number such as 7 or 0.5")
    return amount


# Every option with a number uses one of these, because cyclopts rounds numbers and accepts nan.
WHOLE = Parameter(converter=read_whole)
AMOUNT = Parameter(converter=read_amount)

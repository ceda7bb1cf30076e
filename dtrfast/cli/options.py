"""Options of several commands, and the parsing of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

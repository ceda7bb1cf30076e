"""Options that several commands have, and how numbers are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token

ConfigFile = Annotated[
    Path | None, Parameter(name="--config", help="Settings, a TOML file (else DTRFAST_CONFIG).")
]
# As text: an empty path, such as an unset variable in a script, would be the current directory.
Data = Annotated[
    str | None, Parameter(name="--data", help="The directory that holds everything (./data).")
]


def read_whole(kind: object, tokens: Sequence[Token]) -> int:
    """A count. Raises ValueError for a part of one: rounded, 0.4 would be 0, which often means
    "no limit".
    """
    text = tokens[0].value
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is no whole number such as 7")
    return int(text)


def read_amount(kind: object, tokens: Sequence[Token]) -> float:
    """A finite number that is not negative. Raises ValueError."""
    text = tokens[0].value
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise ValueError(f"{text!r} is no number such as 7 or 0.5")
    return amount


# Every option that is a number has one of these: cyclopts rounds, and takes nan.
WHOLE = Parameter(converter=read_whole)
AMOUNT = Parameter(converter=read_amount)

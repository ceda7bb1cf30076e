"""Quantities in forms: sizes in MiB or GiB, and lengths of time in minutes or days.

The API has bytes and seconds. A form has a number and a unit: the field `body.reserveBytes`, and
beside it `unit.body.reserveBytes`. The unit of a field of the API follows from its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = re.compile(r"(?P<number>\d{1,18}(?:\.\d{0,12})?|\.\d{1,12})\s*(?P<unit>[A-Za-z]*)(?:/s)?")
# More digits behind the point are harder to read than a smaller unit.
_DIGITS_MAX = 2


@dataclass(frozen=True, slots=True)
class Scale:
    """The units of a quantity, the smallest first, with their sizes in the unit of the API.

    `usual` is the unit that a form shows for zero. `behind` follows a unit, as in `MiB/s`. `others`
    are units that users may type.
    """

    units: Mapping[str, int]
    usual: str
    behind: str
    others: Mapping[str, int]

    @property
    def options(self) -> list[tuple[str, str]]:
        """The units of a form, and their texts."""
        return [(unit, unit + self.behind) for unit in self.units]


_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_TYPED_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    unit[0]: size for unit, size in _BYTES.items() if unit != "B"
}
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}
_TYPED_SECONDS = {
    spelled: size
    for unit, size in _SECONDS.items()
    for spelled in (unit.removesuffix("s"), unit[0], {"s": "sec", "m": "min"}.get(unit[0], unit))
}
_SCALES = (
    ("BytesPerSecond", Scale(_BYTES, "MiB", "/s", _TYPED_BYTES)),
    ("Bytes", Scale(_BYTES, "GiB", "", _TYPED_BYTES)),
    ("Seconds", Scale(_SECONDS, "seconds", "", _TYPED_SECONDS)),
)


def scale_of(field: str) -> Scale | None:
    """Return the scale of a field of the API by its name; None if it is no such quantity."""
    return next((scale for ending, scale in _SCALES if field.endswith(ending)), None)


def split(value: float | str, scale: Scale) -> tuple[str, str]:
    """Return the number and the unit that `join` makes exactly this value of, in the largest unit
    that fits.
    """
    exact = Decimal(str(value))
    if not exact:
        return "0", scale.usual
    smallest = next(iter(scale.units))
    for unit, size in reversed(tuple(scale.units.items())):
        number = round(exact / size, _DIGITS_MAX)
        if number >= 1 and _rounded(number * size, scale) == exact:
            return _plain(number), unit
    return _plain(exact), smallest


def join(text: str, unit: str, scale: Scale) -> str:
    """Return a number and its unit as the API's number.

    A unit behind the number counts more than `unit`: `10 GiB`. Another text is returned as it is,
    and the API refuses it.
    """
    found = _NUMBER.fullmatch(text.strip())
    size = _size_of(found["unit"] or unit, scale) if found else None
    if found is None or size is None:
        return text
    return _plain(_rounded(Decimal(found["number"]) * size, scale))


def _rounded(number: Decimal, scale: Scale) -> Decimal:
    # No byte has parts. A time may have, but not more than a clock shows.
    return round(number, 0 if "B" in scale.units else 6)


def shown(field: str, text: str) -> str:
    """Return a value of a field with its unit; a value of another field as it is."""
    scale = scale_of(field)
    if scale is None or not re.fullmatch(r"\d{1,18}(\.\d{1,12})?", text):
        return text
    number, unit = split(text, scale)
    if number == "1" and "B" not in scale.units:
        unit = unit.removesuffix("s")
    return f"{number} {unit}{scale.behind}"


def _size_of(unit: str, scale: Scale) -> int | None:
    sizes = {name.lower(): size for name, size in {**scale.others, **scale.units}.items()}
    return sizes.get(unit.lower())


def _plain(number: Decimal | int) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

"""The colors of charts: readers who see fewer colors can tell the lines apart."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations

import pytest

_CSS = files("dtrfast.console").joinpath("static/console.css").read_text(encoding="utf-8")
# Colors as they are seen with a full deficiency: Machado, Oliveira and Fernandes, 2009, table 1.
_SIGHTS = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
# About 2.3 is just noticeable. Thin lines need far more.
_DISTANCE_MIN = 35
_CONTRAST_MIN = 3  # of graphics, by WCAG 1.4.11

Color = tuple[float, float, float]


def _colors(name: str, theme: str) -> str:
    found = re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\);", _CSS)
    assert found is not None, name
    text = found[1 if theme == "light" else 2]
    return "#" + "".join(2 * digit for digit in text[1:]) if len(text) == 4 else text


def _linear(color: str) -> Color:
    values = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return red, green, blue


def _luminance(color: Color) -> float:
    return 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]


def _contrast(color: str, other: str) -> float:
    low, high = sorted((_luminance(_linear(color)), _luminance(_linear(other))))
    return (high + 0.05) / (low + 0.05)


def _lab(color: str, sight: str) -> Color:
    rgb = _linear(color)
    red, green, blue = (
        min(1.0, max(0.0, sum(a * b for a, b in zip(row, rgb, strict=True))))
        for row in _SIGHTS[sight]
    )
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = _luminance((red, green, blue))
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _distance(color: str, other: str, sight: str) -> float:
    pairs = zip(_lab(color, sight), _lab(other, sight), strict=True)
    return float(sum((a - b) ** 2 for a, b in pairs) ** 0.5)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_of_charts_differ_for_every_sight(theme: str) -> None:
    lines = [_colors(f"chart-{number}", theme) for number in range(1, 5)]
    for color in lines:
        assert _contrast(color, _colors("card", theme)) >= _CONTRAST_MIN, color
    for sight in _SIGHTS:
        for color, other in combinations(lines, 2):
            assert _distance(color, other, sight) >= _DISTANCE_MIN, (sight, color, other)

"""The tables of docs/encoders.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from dtrfast.store.tier import recognition
from dtrfast.store.tier.encoding import ENCODERS
from dtrfast.store.tier.gzip_frame import parse_header
from dtrfast.store.tier.status import CLIENTS

TEXT = (Path(__file__).parents[3] / "docs" / "encoders.md").read_text(encoding="utf-8")
# The last bytes of a stream for which the table has no row of its own.
OTHER_END = "11 22 33 44 55 66"


def rows(first: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with `first`."""
    table = TEXT[TEXT.index(f"| {first} |") :].split("\n\n")[0]
    return [
        [cell.strip().replace("`", "") for cell in line.split("|")[1:-1]]
        for line in table.splitlines()[2:]
    ]


def test_the_clients_of_each_encoder() -> None:
    table = {int(cells[0]): cells[1:] for cells in rows("id")}
    assert {number: one.name for number, one in ENCODERS.items()} == {
        number: cells[0] for number, cells in table.items()
    }
    del table[0]
    assert {number: cells[2] for number, cells in table.items() if cells[2]} == CLIENTS


def test_the_candidates_of_each_header() -> None:
    table = rows("XFL, OS")
    assert len(table) == 7
    for systems, end, listed in table:
        if "level 9" in listed:
            continue  # no candidate is looked for
        for system in systems.split(", "):
            tail = bytes.fromhex(OTHER_END if end in ("any", "other") else end)
            header = parse_header(b"\x1f\x8b\x08\0" + bytes(4) + bytes.fromhex(system) + bytes(20))
            assert header is not None
            found = list(recognition.candidates(header, tail))
            assert found == [int(one) for one in re.findall(r"\d+", listed)], (system, end)

"""Coverage floors: a part below its floor fails, and its missing lines are listed."""

from __future__ import annotations

import json

import pytest

from tests.coverage_floors import (
    FLOORS,
    PartCoverage,
    complaints,
    parse_floors,
    parse_report,
    ranges,
    render_floors,
)


def report(**files: tuple[int, int, list[int], list[list[int]]]) -> bytes:
    """Return a report of files: lines, branches, and the lines and branches that are missing."""
    return json.dumps(
        {
            "files": {
                path.replace("__", "/") + ".py": {
                    "summary": {
                        "num_statements": lines,
                        "covered_lines": lines - len(missing_lines),
                        "num_branches": branches,
                        "covered_branches": branches - len(missing_branches),
                    },
                    "missing_lines": missing_lines,
                    "missing_branches": missing_branches,
                }
                for path, (lines, branches, missing_lines, missing_branches) in files.items()
            }
        }
    ).encode()


def part(data: bytes, floor: int | None) -> PartCoverage:
    """Return the only part of a report, which is `dtrfast/oci`."""
    (only,) = parse_report(data, {} if floor is None else {"dtrfast/oci": floor})
    return only


def test_a_part_is_a_folder_with_all_below_it_or_a_module() -> None:
    data = report(
        dtrfast__app=(10, 0, [1], []),
        dtrfast__api__body=(10, 0, [], []),
        dtrfast__api__v2__blobs=(10, 10, [1, 2, 3], [[1, 2], [5, 6]]),
        dtrfast__oci__init=(0, 0, [], []),
    )
    parts = {one.name: one for one in parse_report(data, {})}
    assert list(parts) == ["dtrfast/api", "dtrfast/app.py"], "an empty part has no figure"
    assert parts["dtrfast/app.py"].percent == 90
    assert parts["dtrfast/api"].percent == pytest.approx(100 * 25 / 30)


@pytest.mark.parametrize(("floor", "below"), [(94, False), (95, False), (96, True), (None, True)])
def test_a_part_fails_below_its_floor_and_without_one(floor: int | None, below: bool) -> None:
    one = part(report(dtrfast__oci__names=(15, 5, [3], [])), floor)
    assert one.is_below_floor is below
    assert bool(list(complaints(one))) is below


def test_a_part_below_its_floor_names_the_lines_to_test_worst_file_first() -> None:
    one = part(
        report(
            dtrfast__oci__digests=(50, 0, [], []),
            dtrfast__oci__names=(10, 4, [3], [[3, 4], [7, -1]]),
            dtrfast__oci__ranges=(10, 4, [1, 2, 3, 9], []),
        ),
        99,
    )
    assert list(complaints(one)) == [
        "dtrfast/oci is at 91.03 %, below its floor of 99 %; test these:",
        "  dtrfast/oci/ranges.py: 1-3, 9",
        "  dtrfast/oci/names.py: 3, 7->exit",
    ]


def test_lines_are_told_as_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([4]) == "4"
    assert ranges([1, 2, 4, 6, 7, 8]) == "1-2, 4, 6-8"


def test_a_floor_rises_to_a_whole_percent_and_never_falls() -> None:
    data = report(dtrfast__oci__names=(1000, 0, list(range(1, 36)), []))  # 96.5 %, less noise
    assert part(data, 90).floor_possible == 95
    assert part(data, None).floor_possible == 95
    assert part(data, 99).floor_possible == 99


def test_a_floor_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="floors without a part: dtrfast/gone"):
        parse_report(report(dtrfast__oci__names=(1, 0, [], [])), {"dtrfast/gone": 90})


def test_the_file_of_floors_has_the_form_that_the_command_writes() -> None:
    text = FLOORS.read_text(encoding="utf-8")
    assert render_floors(parse_floors(text)) == text


@pytest.mark.parametrize("name", ["oci", "index", "store", "identity"])
def test_the_floors_of_data_and_rights_are_at_least_95_percent(name: str) -> None:
    assert parse_floors(FLOORS.read_text(encoding="utf-8"))[f"dtrfast/{name}"] >= 95

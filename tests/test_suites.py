"""The suites themselves: the long tests, and the tests that one process runs in a row."""

from __future__ import annotations

from pathlib import Path

from tests import conftest

_TESTS = Path(__file__).parent


def test_the_tests_of_a_file_stay_together_and_those_with_containers_as_well() -> None:
    assert conftest.group_of("tests/oci/test_names.py::test_a[x::y]") == "tests/oci/test_names.py"
    assert conftest.group_of("tests/test_tidy.py::test_a") == "tests/test_tidy.py"
    assert conftest.group_of("tests/e2e/test_docker.py::test_a") == "e2e"
    assert conftest.group_of("tests/e2e/console/test_pages.py::test_a") == "e2e/console"


def test_the_longest_name_decides_what_is_long() -> None:
    assert conftest.is_long(_TESTS / "e2e" / "test_docker.py")
    assert conftest.is_long(_TESTS / "e2e" / "console" / "test_pages.py")
    assert not conftest.is_long(_TESTS / "e2e" / "test_small_image.py")
    assert not conftest.is_long(_TESTS / "oci" / "test_names.py")


def test_the_table_of_long_tests_names_what_is_there() -> None:
    assert [name for name in conftest.LONG if not (_TESTS / name).exists()] == []

"""The order of tags as versions."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtrfast.oci.versions import version_key

TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)


@pytest.mark.parametrize(
    "ascending",
    [
        "v1.9 v1.10 v1.11",
        # The precedence of https://semver.org/, item 11.
        "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11"
        " 1.0.0-rc.1 1.0.0 1.0.1",
        "1.10.0-rc.2 1.10.0-rc.10 1.10.0 1.10.0_build.1 1.10.1",
        "1.9 v1.9.1 1.9.2 v2 10 20.04",
        "1.2 1.10 2024-01-15 2024-02-01 edge latest main nightly-9 nightly-10",
        "release-1.9 release-1.10-rc1 release-1.10 release-2",
        # A hyphen in a name begins no pre-release.
        "feature feature-9 feature-12 feature-12-fix features latest latest-alpine",
        "3.12-alpine 3.12-slim 3.12 3.13-alpine",
        "v2-rc1 v2 v2_1",
        "A b C",
        "1.01 1.2 1.010",
    ],
)
def test_tags_are_in_the_order_of_versions(ascending: str) -> None:
    wanted = ascending.split()
    mixed = random.Random(7).sample(wanted, len(wanted))
    assert sorted(mixed, key=version_key) == wanted


@given(st.lists(TAG, min_size=2, max_size=20, unique=True))
def test_different_tags_have_different_places(tags: list[str]) -> None:
    assert len({version_key(tag) for tag in tags}) == len(tags)


@given(st.integers(0, 10**60), st.integers(0, 10**60), TAG)
def test_numbers_count_as_numbers(one: int, other: int, name: str) -> None:
    keys = [version_key(f"{name[:60]}.{number}") for number in (one, other)]
    assert (keys[0] < keys[1]) == (one < other)


def test_a_long_list_is_sorted_in_the_time_of_a_request() -> None:
    version_key.cache_clear()
    tags = [f"v{n // 1000}.{n // 10 % 100}.{n % 10}-rc.{n % 7}" for n in range(5000)]
    began = time.thread_time()
    sorted(tags, key=version_key)
    assert time.thread_time() - began < 0.2  # 10 times what an idle machine takes

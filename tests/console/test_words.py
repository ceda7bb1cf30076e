"""Sentences of the console about operations that were done."""

from __future__ import annotations

from dtrfast.api.v0.image_objects import Deletion, Restoration
from dtrfast.console import words


def test_names_are_told_in_one_order_whatever_the_page_showed_first() -> None:
    deletion = Deletion(
        run="1", manifests=[], tags=["v2", "v0", "v1"], missing=["b", "a"], left=["d", "c"]
    )
    assert words.told("acme/app", deletion) == (
        "Deleted 3 tags of acme/app: v0, v1, v2. No longer there: a, b."
        " Too much for one go, delete again: c, d."
    )
    restoration = Restoration(manifests=1, tags=["v1", "v0"], tags_taken=["z", "y"], left=[])
    assert words.told("acme/app", restoration) == (
        "Restored 1 image and 2 tags in acme/app: v0, v1. These tags point elsewhere by now: y, z."
    )
    many = [f"t{number}" for number in range(9, -1, -1)]
    told = words.told("a/b", Deletion(run="1", manifests=[], tags=many, missing=[], left=[]))
    assert told == "Deleted 10 tags of a/b: t0, t1, t2, t3, t4, t5, t6, t7 and 2 more."

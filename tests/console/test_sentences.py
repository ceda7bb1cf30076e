"""Sentences about operations that succeeded, and the names that they may use."""

from __future__ import annotations

from string import Formatter

import msgspec
import pytest

from dtrfast.api.v0.objects import AccountChange
from dtrfast.console import rendering, sentences
from dtrfast.console.confirmations import Confirmation
from dtrfast.console.operations import CONSOLE_OPERATIONS, ConsoleOperation
from dtrfast.registry.deletion import Deletion
from dtrfast.registry.restoring import Restoration


def test_names_are_told_in_one_order_whatever_the_page_showed_first() -> None:
    deletion = Deletion(
        run="1", manifests=(), tags=("v2", "v0", "v1"), missing=("b", "a"), left=("d", "c")
    )
    assert sentences.describe("acme/app", deletion) == (
        "Deleted 3 tags of acme/app: v0, v1, v2. No longer there: a, b."
        " Too many for one deletion, delete again: c, d."
    )
    restoration = Restoration(manifests=1, tags=("v1", "v0"), tags_taken=("z", "y"), left=())
    assert sentences.describe("acme/app", restoration) == (
        "Restored 1 image and 2 tags in acme/app: v0, v1."
        " These tags now point to other images: y, z."
    )
    many = tuple(f"t{number}" for number in range(9, -1, -1))
    deletion = Deletion(run="1", manifests=(), tags=many, missing=(), left=())
    assert sentences.describe("a/b", deletion) == (
        "Deleted 10 tags of a/b: t0, t1, t2, t3, t4, t5, t6, t7 and 2 more."
    )


def _names_in(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


@pytest.mark.parametrize("operation", CONSOLE_OPERATIONS.values(), ids=lambda one: one.id)
def test_texts_of_an_operation_name_what_is_known_of_it(operation: ConsoleOperation) -> None:
    pieces = _names_in(operation.api.path)
    known = pieces | {"made", "level"} | ({"repository"} & pieces)
    if isinstance(operation.done, str):
        assert _names_in(operation.done) <= known
    assert _names_in(operation.done_many) <= known | {"count"}
    if isinstance(operation.confirmation, Confirmation):
        assert operation.confirmation.filled(dict.fromkeys(pieces, "x")).button
    if operation.answer_template:
        assert rendering.environment().get_template(operation.answer_template)


def test_a_change_of_an_account_tells_its_role() -> None:
    update = CONSOLE_OPERATIONS["update_account"]
    for is_admin, sentence in (
        (msgspec.UNSET, "Saved the changes to nora."),
        (True, "nora is now a system administrator."),
        (False, "nora is no longer a system administrator."),
    ):
        assert update.sentence({"name": "nora"}, AccountChange(is_admin=is_admin)) == sentence


def test_many_calls_are_counted() -> None:
    tags = CONSOLE_OPERATIONS["restore_tag"]
    assert tags.sentence({"repository": "a/b"}, count=3) == "Restored 3 tags in a/b."
    trust = CONSOLE_OPERATIONS["create_team"]
    assert trust.sentence({"made": "devs"}, count=2) == "Created the team devs. (2 times)"

"""The differences of two documents, as the console and audit events show them."""

from __future__ import annotations

import msgspec

from dtrfast.identity.differences import compare, event_detail


class _Document(msgspec.Struct, rename="camel"):
    search_password: str = ""
    names: tuple[str, ...] = ()
    is_open: bool = False


def test_differences_are_told_by_field() -> None:
    found = compare(
        {"a": 1, "b": {"c": True}, "d": ["x"], "key": "old"},
        {"a": 1, "b": {"c": False}, "d": ["x", "y"], "key": "new"},
    )
    assert [(one.field, one.before, one.after) for one in found] == [
        ("b.c", "yes", "no"),
        ("key", "(hidden)", "(hidden)"),
        ("d.2", "", "y"),
    ]


def test_an_event_has_what_was_and_what_is_without_secrets() -> None:
    before = _Document("old secret", ("x" * 300,))
    after = _Document("new secret", ("y" * 300,), is_open=True)
    assert event_detail(before, after) == {
        "searchPassword": "(hidden) → (hidden)",
        "names.1": f"{'x' * 200} → {'y' * 200}",
        "isOpen": "no → yes",
    }
    assert event_detail(None, _Document(is_open=True)) == {"isOpen": "no → yes"}
    assert event_detail(after, after) == {}


def test_an_event_does_not_grow_with_a_document() -> None:
    detail = event_detail(_Document(), _Document(names=tuple(str(n) for n in range(80))))
    assert len(detail) == 51
    assert detail["more fields"] == 30

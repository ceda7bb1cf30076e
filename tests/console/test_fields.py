"""Fields that the API gains appear in forms and on pages without a change of the console."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dtrfast.api.v0 import objects, views
from dtrfast.console import fields
from dtrfast.console.page import BY_ID
from tests.api.managed.town import Town
from tests.console.browser import Browser

SETTINGS = "/repositories/acme/app/-/settings"


class _Change(objects.RepositoryChange, frozen=True, kw_only=True):
    homepage_url: objects.Text | msgspec.UnsetType = msgspec.UNSET
    is_archived: bool | msgspec.UnsetType = msgspec.UNSET
    keep_days: float = 1.5


class _Repository(objects.Repository, frozen=True, kw_only=True):
    homepage_url: str = "https://example.org/<app>"
    is_archived: bool = True
    keep_days: float = 14.0
    topics: list[str] = msgspec.field(default_factory=lambda: ["a", "b"])
    empty: list[str] = msgspec.field(default_factory=list)


def test_forms_have_the_fields_of_their_operation() -> None:
    found = {one.name: one for one in fields.form_fields("update_repository")}
    kinds = {one.name: one.kind for one in found.values()}
    wanted = {"shortDescription": "line", "visibility": "select", "longDescription": "area"}
    assert kinds.items() >= wanted.items()
    assert list(kinds)[-1] == "longDescription", "areas are last"
    assert dict(found["visibility"].options).keys() == {"private", "public"}
    (name, *_) = fields.form_fields("create_repository")
    assert (name.name, name.is_required) == ("name", True)


def test_a_new_field_of_a_repository_needs_no_change_here(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = views.repository

    def longer_view(*given: Any) -> _Repository:
        return msgspec.convert(view(*given), _Repository, from_attributes=True)

    update = BY_ID["update_repository"]
    monkeypatch.setitem(BY_ID, "update_repository", replace(update, body=_Change))
    monkeypatch.setattr(views, "repository", longer_view)
    owen = Browser(town, "owen")
    form = html.unescape(owen.get(SETTINGS).text)
    assert re.search(r"Homepage url\s*</label>", form)
    assert 'name="body.homepageUrl" type="text" value="https://example.org/<app>"' in form
    assert 'name="body.isArchived" value="true" checked' in form
    assert 'name="body.keepDays" type="text" value="14"' in form
    page = owen.get("/repositories/acme/app").text
    assert "<dt>Homepage url</dt>\n<dd>https://example.org/&lt;app&gt;</dd>" in page
    assert "<dt>Is archived</dt>\n<dd>yes</dd>" in page
    assert "<dt>Topics</dt>\n<dd>a, b</dd>" in page
    assert "Empty" not in page

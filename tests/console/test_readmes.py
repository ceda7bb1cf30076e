"""The editor of a README without scripts, and the page of the management API."""

from __future__ import annotations

import re

from tests.api.managed.town import Town
from tests.console.browser import Browser, forms_of

_APP = "/repositories/acme/app"
_PATH = {"path.namespace": ["acme"], "path.repository": ["app"]}


def test_a_preview_keeps_what_was_written(town: Town) -> None:
    owen = Browser(town, "owen")
    page = owen.get(f"{_APP}/-/settings").text
    (form,) = [one for one in forms_of(page) if one.operation == "update_repository"]
    written = {
        "body.longDescription": ["# Hello\n\n- [x] <b>done</b>"],
        "body.shortDescription": ["An application"],
    }
    assert 'formaction="/do/preview_readme"' in page
    seen = owen.act("preview_readme", {**form.fields, **written})
    assert seen.status_code == 200
    assert '<h3 id="readme-hello">' in seen.text
    assert '<label><input type="checkbox" disabled="" checked="">' in seen.text
    assert "<b>done</b>" not in seen.text
    # The page has the whole form again, so nothing that was written is lost.
    (again,) = [one for one in forms_of(seen.text) if one.operation == "update_repository"]
    assert again.fields["body.shortDescription"] == ["An application"]
    assert again.fields["body.visibility"] == form.fields["body.visibility"]
    assert "# Hello\n\n- [x] &lt;b&gt;done&lt;/b&gt;</textarea>" in seen.text
    assert "Hello" not in owen.get(_APP).text, "a preview saves nothing"
    # It still knows its page, and the fields as they were, so it undoes no edit of another user.
    assert again.fields["at"] == form.fields["at"]
    assert again.fields["seen"] == form.fields["seen"]
    town.api("ada", "PATCH", "repositories/acme/app", {"visibility": "public"})
    saved = {**again.fields, "body.longDescription": written["body.longDescription"]}
    assert owen.act("update_repository", saved).status_code == 303
    assert '<h3 id="readme-hello">' in owen.get(_APP).text
    assert town.api("owen", "GET", "repositories/acme/app")["visibility"] == "public"


def test_a_preview_needs_the_right_to_save(town: Town) -> None:
    fields = {**_PATH, "body.longDescription": ["a"]}
    assert Browser(town, "will").act("preview_readme", fields).status_code == 403
    assert Browser(town, "nora").act("preview_readme", fields).status_code == 404


def test_a_slow_readme_has_no_preview(town: Town) -> None:
    fields = {**_PATH, "body.longDescription": ["![" * 32_000]}
    answer = Browser(town, "owen").act("preview_readme", fields)
    assert answer.status_code == 200
    assert "takes too long to render" in answer.text


def test_the_api_page_has_the_frame_and_needs_no_session(town: Town) -> None:
    for who in ("", "owen"):
        browser = Browser(town, who)
        answer = browser.get("/api/docs")
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
        for part in ('<header class="top">', 'id="search"', "<footer>", "Management API</h1>"):
            assert part in answer.text
        assert "http://" not in answer.text
        # Changes need the token of the session.
        found = re.search('data-csrf="([^"]*)"', answer.text)
        assert found is not None
        assert found[1] == browser.csrf

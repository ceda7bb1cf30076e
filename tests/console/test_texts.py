"""Values as pages show them, forms as operations get them, and harmless READMEs."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from dtrfast import markdown
from dtrfast.console import flashes, formatting, forms
from dtrfast.console.undo import Undo
from dtrfast.errors import SettingsInvalid
from dtrfast.times import parse_rfc3339, rfc3339


def test_sizes_have_the_greatest_unit_that_fits() -> None:
    shown = [formatting.size(n) for n in (0, 1023, 1024, 1536, 150 << 20, 1 << 40, -2048)]
    assert shown == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "150 MiB", "1.0 TiB", "-2.0 KiB"]


def test_times_are_told_from_now() -> None:
    now = 1_800_000_000.0
    told = {
        0: "now",
        1: "1 second ago",
        59: "59 seconds ago",
        60: "1 minute ago",
        7200: "2 hours ago",
        86_400 * 3: "3 days ago",
        -3600: "in 1 hour",
    }
    for seconds, text in told.items():
        assert formatting.ago(rfc3339(now - seconds), now) == text
    assert formatting.ago(rfc3339(now - 86_400 * 400), now) == rfc3339(now - 86_400 * 400)[:10]
    assert formatting.ago("", now) == "never"


def test_all_times_have_one_form_with_the_zone_on_hover() -> None:
    time = "2026-01-31T23:59:59.123Z"
    whole = 'datetime="2026-01-31T23:59:59.123Z" title="2026-01-31 23:59:59 UTC"'
    now = parse_rfc3339(time) + 300
    shown = formatting.when(time, now=now)
    assert shown == f"<time {whole}>5 minutes ago</time>"
    shown = formatting.when(time, "exact")
    assert shown == f'<time {whole} data-form="exact">2026-01-31 23:59:59 UTC</time>'
    shown = formatting.when(time, "log")
    assert shown == f'<time {whole} data-form="log">2026-01-31 23:59:59.123</time>'
    # The date of a config may have another zone, and may be no date.
    assert whole in formatting.when("2026-02-01T01:59:59.123+02:00")
    assert formatting.when("<b>") == "<b>"
    assert not isinstance(formatting.when("<b>"), Markup)
    assert formatting.field_time("2026-01-31T23:59:59+01:00") == "2026-01-31T22:59"
    assert formatting.field_time("yesterday") == ""


def test_addresses_hold_any_name() -> None:
    assert formatting.repository_url("a/b/c") == "/repositories/a/b/c"
    assert formatting.repository_url("a/b", "tags", "v1") == "/repositories/a/b/-/tags/v1"
    assert formatting.account_url("a+b", "user") == "/users/a%2Bb"


def test_forms_become_documents() -> None:
    data = (
        b"path.name=acme&body.name=x&body.isAdmin=false&body.isAdmin=true&body.scopes.0.repository=a"
        b"&body.scopes.0.actions%5B%5D=pull&body.scopes.0.actions%5B%5D=push"
        b"&body.scopes.1.repository=&body.text=a%0D%0Ab"
    )
    form = forms.parse(data)
    assert forms.paths_in(form) == [{"name": "acme"}]
    assert forms.body_in(form) == {
        "name": "x",
        "isAdmin": "true",
        "scopes": [{"repository": "a", "actions": ["pull", "push"]}],
        "text": "a\nb",
    }


def test_a_piece_that_is_given_many_times_makes_many_calls() -> None:
    form = forms.parse(b"path.a=1&path.b=x&path.b=y")
    assert forms.paths_in(form) == [{"a": "1", "b": "x"}, {"a": "1", "b": "y"}]
    with pytest.raises(SettingsInvalid):
        forms.paths_in(forms.parse(b"path.a=1&path.a=2&path.b=x&path.b=y&path.b=z"))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff=1",
        b"&".join(b"a%d=1" % n for n in range(6000)),
    ],
)
def test_what_no_browser_sends_is_refused(data: bytes) -> None:
    with pytest.raises(SettingsInvalid):
        forms.parse(data)


@pytest.mark.parametrize("data", [b"body.a=1&body.a.b=2", b"body.a.b.c.d.e.f.g.h=1"])
def test_forms_that_contradict_themselves_are_refused(data: bytes) -> None:
    with pytest.raises(SettingsInvalid):
        forms.body_in(forms.parse(data))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "[a](vbscript:x)",
        "<img src=x onerror=alert(1)>",
        "![a](javascript:alert(1))",
        "![a](https://tracker.example/pixel.png)",
        "<svg/onload=alert(1)>",
        "<a href='javascript:alert(1)'>a</a>",
        "[a]: javascript:alert(1)\n\n[a]",
        "<style>*{display:none}</style>",
        "<form action=https://evil.example><input></form>",
        "`<script>`\n\n    <script>alert(1)</script>",
        "[a](https://a.example 'x\" onmouseover=\"alert(1)')",
    ],
)
def test_readmes_run_and_load_nothing(text: str) -> None:
    html = markdown.to_html(text).lower()
    for bad in ("<script", "<img", "<svg", "<style", "<form", "<input", "<iframe", ' onerror="'):
        assert bad not in html
    assert 'href="javascript' not in html
    assert 'href="data' not in html
    assert 'onmouseover="' not in html


def test_readmes_keep_their_structure_below_the_page_s_own() -> None:
    html = markdown.to_html("# One\n\n## Two\n\n| a |\n|---|\n| b |\n\n- c\n\n`d` ~~e~~")
    one, two = '<h3 id="readme-one">One<', '<h4 id="readme-two">Two<'
    for part in (one, two, "<td>b</td>", "<li>c</li>", "<code>d</code>", "<s>e</s>"):
        assert part in html
    assert 'rel="noopener noreferrer nofollow"' in markdown.to_html("[a](https://a.example)")


def test_readmes_have_tasks() -> None:
    box = '<label><input type="checkbox" disabled="">'
    done = '<label><input type="checkbox" disabled="" checked="">'
    for text, part in (
        ("- [ ] a *b*", f"<li>{box} a <em>b</em></label></li>"),
        ("1. [x] a", f"<li>{done} a</label></li>"),
        ("- [X] **a**", f"<li>{done} <strong>a</strong></label></li>"),
        ("- [ ] a\n\n  b", f"<p>{box} a</label></p>\n<p>b</p>"),
        ("- a\n  - [x] b", f"<li>{done} b</label></li>"),
        ("- [ ]", "<li>[ ]</li>"),
        ("- [y] a", "<li>[y] a</li>"),
        ("- a\n\n  [x] b", "<p>[x] b</p>"),
        ("[x] a", "<p>[x] a</p>"),
        ("- [x] a\n\n[x]: /b", '<li><a href="/b"'),
    ):
        assert part in markdown.to_html(text), text


def test_bare_addresses_in_readmes_are_links() -> None:
    for text, address in (
        ("https://a.example/b_c_d?e=f#g", "https://a.example/b_c_d?e=f#g"),
        ("see http://a.example.", "http://a.example"),
        ("(http://a.example/b_(c))!", "http://a.example/b_(c)"),
        ("**http://a.example**", "http://a.example"),
        ("www.a.example, too", "http://www.a.example"),
        ("| a |\n|---|\n| http://a.example |", "http://a.example"),
    ):
        html = markdown.to_html(text)
        assert html.count("<a ") == 1, html
        assert f'<a href="{address}" rel="noopener noreferrer nofollow">' in html
    for text in ("`http://a.example`", "javascript:a()", "http://", "xhttp://a", "a@www.b.example"):
        assert "<a " not in markdown.to_html(text), text
    # The text of a link is no second link.
    assert markdown.to_html("[http://a.example](http://b.example)").count("<a ") == 1


def test_headings_of_readmes_can_be_named_by_links() -> None:
    html = markdown.to_html("# Add `it` now!\n\n# Search\n\n# Search\n\n[a](#search-1)")
    assert '<h3 id="readme-add-it-now">' in html
    assert '<h3 id="readme-search">' in html, "the field for searching has the id `search`"
    assert '<h3 id="readme-search-1">' in html
    assert '<a href="#readme-search-1" rel="noopener noreferrer nofollow">a</a>' in html
    assert 'aria-label="Link to Add it now!"' in html


def test_a_notice_survives_its_cookie() -> None:
    flash = flashes.Flash("Deleted 3 tags from acme/ä.", Undo("restore_tag", {"a": ["1", "2"]}))

    class _Page:
        class client:
            is_secure = True

    header = flashes.cookie(flash, _Page(), "Deleted 3 tags.")  # type: ignore[arg-type]
    assert "HttpOnly" in header
    assert "Secure" in header
    assert flashes.read(header.partition("=")[2].partition(";")[0]) == flash
    forged = flashes.Flash("Deleted.", Undo("delete_repository", {}))
    header = flashes.cookie(forged, _Page(), "Deleted 3 tags.")  # type: ignore[arg-type]
    assert flashes.read(header.partition("=")[2].partition(";")[0]) is None
    assert flashes.read("nonsense") is None


def test_rows_without_their_key_do_not_count() -> None:
    data = (
        b"key=scopes.repository&body.scopes.0.repository=&body.scopes.0.actions%5B%5D=pull"
        b"&body.scopes.1.repository=acme/app&body.scopes.1.actions%5B%5D=push"
    )
    kept = [{"repository": "acme/app", "actions": ["push"]}]
    assert forms.body_in(forms.parse(data)) == {"scopes": kept}
    # Without the key the row stays, and the API refuses the checked box without a repository.
    plain = forms.body_in(forms.parse(data.replace(b"key=", b"other=")))
    assert plain["scopes"] == [{"repository": "", "actions": ["pull"]}, *kept]
    empty = forms.parse(b"key=scopes.repository&body.scopes.0.repository=&body.name=x")
    assert forms.body_in(empty) == {"scopes": [], "name": "x"}


def test_fields_for_one_of_the_buttons_are_for_that_alone() -> None:
    form = forms.parse(b"body.a=1&only.try_it.password=2")
    assert forms.body_in(form, "put_it") == {"a": "1"}
    assert forms.body_in(form, "try_it") == {"a": "1", "password": "2"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("web", "web"), ("acme/web", "web"), (" acme/a/b ", "a/b"), ("acme/acme/web", "acme/web")],
)
def test_a_repository_may_be_typed_with_its_namespace(typed: str, meant: str) -> None:
    form = {"path.namespace": ["acme"], "path.repository": [typed], "typed": ["repository"]}
    assert forms.paths_in(form) == [{"namespace": "acme", "repository": meant}]
    del form["typed"]
    assert forms.paths_in(form) == [{"namespace": "acme", "repository": typed}]

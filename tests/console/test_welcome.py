"""The start page of each role, and the first steps."""

from __future__ import annotations

import re

import pytest

from dtrfast.config import AuthConfig, Config, ServerConfig
from dtrfast.console.pages import welcome
from tests.api.managed.town import Town, in_memory
from tests.console.browser import Browser, forms_of

_TAKEN = "docker push registry/nora/hello:v1"


def _dismissed(visitor: Browser) -> str:
    """Dismiss the first steps; returns the cookie that remembers it."""
    answer = visitor.post("/welcome/dismiss", {"csrf": [visitor.csrf]})
    assert answer.headers["location"] == "/"
    cookies = answer.headers.get_list("set-cookie")
    return next(one for one in cookies if one.startswith("dtrfast_welcome=")).partition(";")[0]


def test_the_start_page_is_of_its_user(town: Town) -> None:
    assert Browser(town).get("/").headers["location"] == "/repositories"
    assert Browser(town, "admin").get("/").headers["location"] == "/dashboard"
    nora = Browser(town, "nora")
    assert nora.get("/").headers["location"] == "/welcome"
    page = nora.get("/", cookie=_dismissed(nora)).text
    assert "You have no repositories yet." in page
    assert "ask its owner for access" in page
    rita = Browser(town, "rita").get("/").text
    assert ">acme/app</a>" in rita
    assert "acme/open" not in rita  # everybody sees it, so it is not hers
    assert rita.index("Shared with me") < rita.index("You have no repositories yet.")
    assert re.search(r'href="/organizations/acme">acme</a>\s*<span[^>]*>member<', rita)
    owen = Browser(town, "owen").get("/").text
    assert owen.index("My repositories</h2>") < owen.index(">acme/secret</a>")
    # A user with a dismissal of another user in the same browser is led to the first steps.
    town.add_users("olga")
    again = Browser(town, "olga").get("/", cookie=_dismissed(nora))
    assert again.headers["location"] == "/welcome"


def test_a_registry_without_an_image_begins_with_the_first_steps(town: Town) -> None:
    for name in ("app", "secret", "open"):
        town.api("owen", "DELETE", f"repositories/acme/{name}", status=204)
    admin = Browser(town, "admin")
    assert admin.get("/").headers["location"] == "/welcome"
    assert admin.get("/", cookie=_dismissed(admin)).headers["location"] == "/dashboard"
    assert Browser(town).get("/").headers["location"] == "/sign-in"


def test_no_command_overwrites_an_image(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    nora = Browser(town, "nora")
    text = nora.get("/welcome").text
    assert _TAKEN in text
    assert "docker rmi" not in text  # the image is not here yet
    # A repository without an image gets it: pushes may not be allowed to create others.
    town.api("nora", "POST", "repositories/nora", {"name": "mine"}, 201)
    assert "docker push registry/nora/mine:v1" in nora.get("/welcome").text
    town.push("nora/hello", b"hello", who="nora")
    text = nora.get("/welcome").text
    assert "<strong>nora/hello:v1</strong>" in text
    assert "docker push" not in text
    # The tags may be more than one request reads. Then the name is a new one.
    monkeypatch.setattr(welcome, "_newest_tag", lambda page, name: None)
    text = nora.get("/welcome").text
    assert _TAKEN not in text
    assert re.search(r"docker push registry/nora/hello-\d{8}-\d{6}:v1", text)


def test_a_push_to_a_repository_of_others_counts_for_the_user_who_pushed(town: Town) -> None:
    town.push("acme/app", b"more", who="owen", tag="v2")
    for name in ("will", "rita"):
        assert f"docker push registry/{name}/hello:v1" in Browser(town, name).get("/welcome").text
    town.clock.advance(1)
    town.push("acme/app", b"newest", who="will", tag="v3")
    text = Browser(town, "will").get("/welcome").text
    assert "<strong>acme/app:v3</strong>" in text
    # He may not give others access to it.
    assert "ask one of them" in text
    assert "grant_user_access" not in [form.operation for form in forms_of(text)]
    owen = Browser(town, "owen").get("/welcome").text
    assert "grant_user_access" in [form.operation for form in forms_of(owen)]
    assert Browser(town).get("/welcome").headers["location"].startswith("/sign-in")


def test_commands_are_those_of_this_server() -> None:
    for external, shown in (
        ("http://registry.example:5000", '"insecure-registries": ["registry.example:5000"]'),
        ("https://registry.example", "openssl s_client -showcerts -connect registry.example:443"),
        ("https://registry.example:5000", "/etc/docker/certs.d/registry.example:5000/ca.crt"),
        ("https://[2001:db8::1]", "-connect [2001:db8::1]:443"),
        ("http://127.0.0.1:5000", "reaches <code>127.0.0.1:5000</code> as it is"),
    ):
        server = ServerConfig(external_url=external)
        with in_memory(config=Config(server=server, auth=AuthConfig(mode="none"))) as town:
            text = Browser(town).get("/welcome").text.replace("&#34;", '"')
            assert shown in text, external
            assert ("insecure" in text) == external.startswith("http://registry"), external


def test_without_accounts_the_first_steps_need_no_other_user() -> None:
    server = ServerConfig(external_url="http://registry")
    with in_memory(config=Config(server=server, auth=AuthConfig(mode="none"))) as town:
        visitor = Browser(town)
        page = visitor.get("/repositories").text
        assert page.rpartition("<footer>")[2].count('href="/welcome"') == 1
        text = visitor.get("/welcome").text
        assert "arrived" in text  # the town has images
        assert "docker push" not in text
        assert "docker login" not in text
        assert "Let another user pull it" not in text
        # A dismissal needs no session, but it has to come from this site.
        assert _dismissed(visitor) == "dtrfast_welcome=-"
        evil = visitor.post("/welcome/dismiss", {}, origin="https://evil.example")
        assert evil.status_code == 403


def test_the_sign_in_leads_back(town: Town) -> None:
    visitor = Browser(town)
    page = visitor.get("/repositories/acme/open?x=1&y=2").text
    assert 'class="sign-in" href="/sign-in?next=/repositories/acme/open%3Fx%3D1%26y%3D2"' in page
    assert 'class="sign-in" href="/sign-in"' in visitor.get("/sign-in").text
    # The form of a new repository is for users.
    answer = visitor.get("/repositories?new=repository")
    assert answer.headers["location"] == "/sign-in?next=%2Frepositories%3Fnew%3Drepository"


def test_the_menu_fits_the_role(town: Town) -> None:
    for name, entries in (
        ("", ["/repositories"]),
        ("nora", ["/", "/repositories", "/organizations"]),
        (
            "admin",
            ["/dashboard", "/repositories", "/organizations", "/users", "/settings", "/logs"],
        ),
    ):
        page = Browser(town, name).get("/repositories").text
        menu = page.partition('<nav aria-label="Main">')[2].partition("</nav>")[0]
        assert re.findall(r'<a href="([^"]*)"', menu) == entries, name


def test_an_empty_list_names_the_next_step_for_who_may_take_it(town: Town) -> None:
    town.api("admin", "POST", "accounts", {"name": "void", "type": "organization"}, 201)
    town.api("admin", "PUT", "accounts/void/teams/owners/members/owen")
    town.api("owen", "POST", "accounts/void/teams", {"name": "readers"}, 201)
    town.api("owen", "PUT", "accounts/void/teams/readers/members/rita")
    for path, owner, member in (
        ("/organizations/void", "New repository", "ask one of them"),
        ("/organizations/void/teams?filter=zz", "Clear the filter", "Clear the filter"),
        ("/organizations/void/members?filter=zz", "Clear the filter", "Clear the filter"),
        (
            "/organizations/void/teams/readers?access-filter=zz",
            "Clear the filter",
            "Clear the filter",
        ),
    ):
        for who, text in (("owen", owner), ("rita", member)):
            page = Browser(town, who).get(path).text
            assert text in page.partition('class="tabs"')[2], (path, who)
            assert who == "owen" or "data-opens" not in page, (path, who)
    robots = Browser(town, "owen").get("/organizations/void/robots").text
    card = robots.partition('class="card empty"')[2].partition("</div>")[0]
    assert "No robots yet." in card
    assert 'href="/organizations/void/robots?new=robot"' in card

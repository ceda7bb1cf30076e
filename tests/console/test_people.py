"""Pages of users and organizations: lists, and forms for the users who may send them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from dtrfast.identity import accounts
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.names import AccountName
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town, in_memory
from tests.console.browser import Browser, Form, forms_of, text_of

# Page, user, the list's prefix, an entry, and a column to sort by.
LISTS = [
    ("/users", "admin", "", ">nora</a>", "name"),
    ("/organizations", "nora", "", ">acme</a>", "created"),
    ("/organizations/acme", "owen", "", ">acme/app</a>", "created"),
    ("/organizations/acme/teams", "rita", "", ">readers</a>", "name"),
    ("/organizations/acme/members", "rita", "", "rita\n", "name"),
    ("/organizations/acme/robots", "owen", "", ">ci</th>", "used"),
    ("/organizations/acme/teams/readers", "owen", "", ">rita</th>", "name"),
    ("/organizations/acme/teams/readers", "owen", "access-", ">acme/app</a>", "level"),
    ("/users/will/tokens", "will", "", ">laptop</th>", "expires"),
    ("/users/will/sessions", "will", "", "this session", "remote"),
    ("/users/owen/repositories", "owen", "", ">owen/own</a>", "created"),
    ("/users/will/repositories", "will", "shared-", ">acme/app</a>", "name"),
    ("/repositories", "owen", "", ">acme/app</a>", "created"),
    ("/repositories?tab=mine", "owen", "", ">acme/app</a>", "created"),
    ("/repositories?tab=shared", "will", "", ">acme/app</a>", "created"),
    ("/repositories/acme/app/-/permissions", "ada", "teams-", ">readers</th>", "level"),
    ("/repositories/acme/app/-/permissions", "ada", "users-", ">will</th>", "level"),
    ("/repositories/acme/app/-/permissions", "ada", "trusts-", ">main-branch</th>", "name"),
]


@pytest.fixture(scope="module")
def full() -> Iterator[Town]:
    """A town with an entry in every list; the tests that share it change nothing."""
    with in_memory() as town:
        town.api("owen", "POST", "repositories/owen", {"name": "own"}, 201)
        town.api("will", "POST", "accounts/will/tokens", {"name": "laptop"}, 201)
        scopes = [{"repository": "acme/*", "actions": ["pull"]}]
        town.api("owen", "POST", "accounts/acme/robots", {"name": "ci", "scopes": scopes}, 201)
        town.api(
            "owen", "PUT", "repositories/acme/app/userAccess/will", {"accessLevel": "read-only"}
        )
        issuer = {"name": "gitlab", "url": "https://gitlab.example", "audience": "registry"}
        town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [issuer]})
        trust = {"issuer": "gitlab", "claims": {"sub": "main"}}
        town.api("owen", "PUT", "repositories/acme/app/trusts/main-branch", trust)
        yield town


@pytest.mark.parametrize(("path", "who", "of", "entry", "column"), LISTS)
def test_every_list_has_a_filter_and_an_order(
    full: Town, path: str, who: str, of: str, entry: str, column: str
) -> None:
    browser = Browser(full, who)
    page = browser.get(path).text
    assert entry in page
    assert f'name="{of}filter"' in page
    assert re.search(rf"[?;]{of}sort=-?{column}", page)
    joint = "&" if "?" in path else "?"
    none = browser.get(f"{path}{joint}{of}filter=no-such-thing").text
    assert entry not in none
    assert f'name="{of}filter"' in none
    ordered = browser.get(f"{path}{joint}{of}sort=-{column}").text
    assert entry in ordered
    assert 'aria-sort="descending"' in ordered


def test_members_are_shown_with_their_teams(town: Town) -> None:
    town.api("owen", "PUT", "accounts/acme/teams/writers/members/rita")
    page = Browser(town, "rita").get("/organizations/acme/members").text
    row = page.partition("rita\n")[2].partition("</tr>")[0]
    assert re.findall(r"/teams/(\w+)", row) == ["readers", "writers"]


def test_the_list_of_organizations_says_what_one_is_in_each(town: Town) -> None:
    for name, role in (("owen", "owner"), ("rita", "member"), ("nora", "not a member")):
        page = Browser(town, name).get("/organizations").text
        row = page[page.index(">acme</a>") :]
        cell = re.search(r'data-label="Your role">(.*?)</td>', row, re.DOTALL)
        assert cell is not None
        assert re.sub(r"<[^>]*>", "", cell[1]).strip() == role


def test_repositories_are_offered_to_be_made_where_one_may(town: Town) -> None:
    for name, offered in (("owen", ["owen", "acme"]), ("rita", ["rita"])):
        page = Browser(town, name).get("/repositories").text
        names = page[page.index('<datalist id="namespaces">') :].partition("</datalist>")[0]
        assert re.findall(r'value="([^"]*)"', names) == offered


# ---- forms -------------------------------------------------------------------------------------
def _form(page: str, operation: str, number: int = 0) -> Form:
    return [form for form in forms_of(page) if form.operation == operation][number]


def test_users_are_imported_from_a_file(town: Town) -> None:
    admin = Browser(town, "admin")
    form = _form(admin.get("/users").text, "import_accounts")
    fields = {**form.fields, "body.csv": ["grace,,Grace,no\r\nnora"]}
    answer = admin.act("import_accounts", fields)
    assert "1 user was created" in answer.text
    assert "nora" in answer.text
    assert ">grace</a>" in admin.get("/users").text
    refused = admin.act("import_accounts", {**fields, "body.csv": ["a b"]})
    assert refused.status_code == 400
    assert "Line 1" in refused.text


def test_one_user_after_another(town: Town) -> None:
    admin = Browser(town, "admin")
    next_one = {"body.name": ["grace"], "next": ["/users/{name}", "/users?new=user"]}
    done = admin.act("create_account", next_one)
    assert done.headers["location"] == "/users?new=user"
    page = admin.get("/users?new=user").text
    assert re.search(r"<dialog[^>]* open>(?:(?!</dialog>).)*New user", page, re.DOTALL)


def test_an_administrator_sees_the_access_of_the_user(town: Town) -> None:
    page = Browser(town, "admin").get("/users/rita/repositories").text
    row = page.partition(">acme/app</a>")[2].partition("</tr>")[0]
    assert "Access of rita" in page
    assert "read-only" in row
    assert "Your access" in Browser(town, "rita").get("/users/rita/repositories").text


def test_what_is_not_known_is_not_told(town: Town) -> None:
    assert "not in an organization" in Browser(town, "nora").get("/users/nora").text
    assert "not in an organization" not in Browser(town, "nora").get("/users/rita").text


def test_all_other_sessions_end_and_this_one_stays(town: Town) -> None:
    others = [Browser(town, "nora") for _ in range(3)]
    nora = Browser(town, "nora")
    page = nora.get("/users/nora/sessions").text
    every = next(f for f in forms_of(page) if len(f.fields.get("path.session", ())) == 3)
    done = nora.act("delete_session", every.fields)
    assert done.status_code == 303
    told = done.headers["set-cookie"].partition(";")[0]
    assert "Ended 3 sessions." in nora.get("/users/nora/sessions", cookie=told).text
    assert all(other.get("/users/nora/sessions").status_code == 303 for other in others)


def test_users_of_the_directory_are_a_list(town: Town) -> None:
    new = NewAccount(AccountName("dirk"), directory_id="uuid-1")
    town.engine.write(lambda t: accounts.create(t, Author("system", town.clock()), new))
    admin = Browser(town, "admin")
    page = admin.get("/users?source=ldap").text
    assert ">dirk</a>" in page
    assert ">nora</a>" not in page
    assert ">dirk</a>" not in admin.get("/users?source=local").text


def test_a_robot_may_have_an_empty_first_row(town: Town) -> None:
    owen = Browser(town, "owen")
    form = _form(owen.get("/organizations/acme/robots").text, "create_robot")
    fields = {**form.fields, "body.name": ["ci"], "body.scopes.0.repository": [""]}
    fields |= {"body.scopes.1.repository": ["acme/app"], "body.scopes.1.actions[]": ["pull"]}
    assert "shown once" in owen.act("create_robot", fields).text
    (robot,) = town.api("owen", "GET", "accounts/acme/robots")["credentials"]
    assert robot["scopes"] == [{"repository": "acme/app", "actions": ["pull"]}]


def test_a_box_that_is_ticked_for_no_repository_makes_no_token_of_everything(town: Town) -> None:
    will = Browser(town, "will")
    form = _form(will.get("/users/will/tokens").text, "create_token")
    fields = {**form.fields, "body.name": ["x"], "body.scopes.0.actions[]": ["pull"]}
    assert will.act("create_token", fields).status_code == 400
    assert town.api("will", "GET", "accounts/will/tokens")["credentials"] == []


def test_every_box_of_a_scope_has_its_own_label(town: Town) -> None:
    page = Browser(town, "owen").get("/organizations/acme/robots").text
    labels = re.findall(r"<label>\s*<input type=\"checkbox\".*?</label>", page, re.DOTALL)
    heard = [" ".join(re.sub("<[^>]*>", "", label).split()) for label in labels]
    assert len(set(heard)) == 9
    assert "push in repository 2" in heard


def test_a_repository_is_added_to_a_team_by_either_name(town: Town) -> None:
    owen = Browser(town, "owen")
    here = "/organizations/acme/teams/readers"
    page = owen.get(here).text
    assert '<option value="secret">' in page
    assert '<option value="nora">' in page
    form = next(
        f for f in forms_of(page) if f.operation == "grant_team_access" and "typed" in f.fields
    )
    for name in ("acme/secret", "open"):
        assert owen.act("grant_team_access", {**form.fields, "path.repository": [name]})
    found = town.api("owen", "GET", "accounts/acme/teams/readers/repositoryAccess")
    names = [one["repository"]["name"] for one in found["repositoryAccessList"]]
    assert names == ["app", "open", "secret"]
    make = _form(page, "create_repository")
    # It is the dialog of other pages.
    assert {"body.shortDescription", "body.visibility"} <= set(make.fields)
    ids = re.findall(r'<[^>]* id="([^"]*)"', page)
    assert sorted(ids) == sorted(set(ids)), "each label has one control"
    done = owen.act("create_repository", {**make.fields, "body.name": ["fresh"]})
    assert done.headers["location"] == f"{here}?new=access&add=acme/fresh"
    assert 'value="acme/fresh"' in owen.get(done.headers["location"]).text


def test_forms_are_for_whoever_may_send_them(town: Town) -> None:
    for who, path in (("nora", "/organizations/acme/settings"), ("rita", "/organizations/acme")):
        assert not [
            form
            for form in forms_of(Browser(town, who).get(path).text)
            if form.action.startswith("/do/")
        ]
    assert Browser(town, "nora").get("/organizations/acme/settings").status_code == 403
    assert "import_accounts" not in Browser(town, "nora").get("/users").text


def test_why_a_list_is_empty(town: Town) -> None:
    nora = Browser(town, "nora")
    page = html.unescape(nora.get("/organizations?filter=zzz").text)
    assert "No organization has this in its name: “zzz”." in page
    assert "No tokens yet." in nora.get("/users/nora/tokens").text
    trash = Browser(town, "owen").get("/repositories/acme/app/-/trash").text
    assert "Deleted tags and images stay here for some days." in trash


def test_pages_tell_users_neither_who_administers_nor_who_is_inactive(town: Town) -> None:
    town.api("admin", "PUT", "accounts/rita/deactivate")
    paths = ("/users", "/users/admin", "/users/rita", "/search?q=ad", "/search?q=rita")
    for path in paths:
        page = Browser(town, "nora").get(path).text
        for word in (">administrator<", "disabled", "cannot sign in", "System administrator"):
            assert word not in page, (path, word)
    admin = "".join(Browser(town, "admin").get(path).text for path in paths)
    for word in (">administrator<", ">disabled<", "sign-in disabled"):
        assert word in admin, word


def test_a_form_of_a_deleted_organization_is_shown_with_the_labels_that_it_had(town: Town) -> None:
    owen = Browser(town, "owen")
    fields = {
        "path.name": ["gone"],
        "body.name": ["ci"],
        "body.scopes.0.repository": ["gone/app"],
        "body.scopes.0.actions[]": ["pull"],
        "at": ["/organizations/gone/robots"],
    }
    refused = owen.act("create_robot", fields)
    assert refused.status_code == 404
    text = text_of(refused.text)
    assert "Scope 1: Repository gone/app" in text
    assert "Scope 1: Permissions pull" in text
